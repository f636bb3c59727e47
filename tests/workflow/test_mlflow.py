"""What the pipeline leaves in MLflow's default store, and what becomes of it when that changes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.project import Outcome, Project

JS = "results/tiny/js/seed-1"


def asked(database: Path, query: str) -> list[tuple]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def test_one_run_each_in_the_default_store(made: tuple[Project, Outcome]) -> None:
    folder = made[0].folder
    runs = asked(folder / "mlflow.db", "select name, status, lifecycle_stage from runs order by name")
    assert runs == [(name, "FINISHED", "active") for name in ("comparison", "js", "moe")]
    # relative, so that they move with the project
    places = asked(folder / "mlflow.db", "select name, artifact_location from experiments")
    assert set(places) == {("Default", "mlruns/0"), ("tiny", "mlruns"), ("comparison", "mlruns")}
    place = json.loads((folder / JS / "mlflow.json").read_bytes())
    assert place["tracking_uri"] == "sqlite:///mlflow.db"
    address = "http://127.0.0.1:5000/#/experiments/{}/runs?viewStateShareKey=headline"
    (number,) = asked(folder / "mlflow.db", "select experiment_id from experiments where name = 'tiny'")[0]
    assert f"tiny: headline metrics {address.format(number)}" in made[1].output


def test_what_mlflow_has_no_more_is_logged_again(project: Project) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    client.delete_run(json.loads((project.folder / JS / "mlflow.json").read_bytes())["run_id"])
    before = project.contents()
    looked = project.snakemake("--dry-run")
    assert f"{JS}/tracking.record.json: to be made again (its MLflow run was deleted)" in looked.output
    assert project.contents() == before
    assert project.snakemake().jobs == {"logging js, seed 1, to MLflow"}
    assert "Nothing to be done" in project.snakemake().output

    (project.folder / "mlflow.db").unlink()
    outcome = project.snakemake()
    assert outcome.output.count("to be made again (mlflow.db is not there)") == 3
    assert outcome.jobs == {
        *(f"logging {run}, seed 1, to MLflow" for run in ("js", "moe")),
        "logging the comparison and the report to MLflow",
    }
    runs = "select name from runs where lifecycle_stage = 'active' order by name"
    assert asked(project.folder / "mlflow.db", runs) == [("comparison",), ("js",), ("moe",)]

    elsewhere = project.snakemake("--dry-run", MLFLOW_TRACKING_URI="sqlite:///other.db")
    assert elsewhere.output.count("to be made again (is not logged to sqlite:///other.db)") == 3


@contextmanager
def page(project: Project, port: int) -> Iterator[str]:
    """The address of `mlflow ui`, as the README starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"],
        cwd=project.folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_moved_project_shows_its_files_and_writes_no_others(
    project: Project, port: int, tmp_path: Path
) -> None:
    first = json.loads((project.folder / JS / "mlflow.json").read_bytes())["run_id"]
    there = project.folder
    moved = Project(Path(shutil.copytree(there, tmp_path / "another place")))
    shutil.rmtree(there)
    history = (moved.folder / JS / "history.csv").read_bytes()
    with page(moved, port) as address:

        def files(run: str) -> set[str]:
            listing = f"{address}/ajax-api/2.0/mlflow/artifacts/list?run_id={run}"
            with urllib.request.urlopen(listing) as answer:
                return {file["path"] for file in json.load(answer)["files"]}

        assert files(first) == {"figures", "history.csv", "metrics.json"}
        with urllib.request.urlopen(f"{address}/get-artifact?path=history.csv&run_id={first}") as answer:
            assert answer.read() == history
        (model,) = asked(
            moved.folder / "mlflow.db", f"select model_id from logged_models where source_run_id = '{first}'"
        )[0]
        listing = f"{address}/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/directories"
        with urllib.request.urlopen(listing) as answer:
            assert "MLmodel" in {file["path"] for file in json.load(answer)["files"]}

        (moved.folder / JS / "tracking.record.json").unlink()
        assert moved.run("track js").code == 0
        second = json.loads((moved.folder / JS / "mlflow.json").read_bytes())["run_id"]
        assert files(second) == files(first)
    assert (moved.folder / "mlruns" / second / "artifacts/history.csv").read_bytes() == history
    assert not there.exists()
