"""Several processes in one folder, and a server that goes away."""

import subprocess
import sys
from pathlib import Path

from support.disturbed import leftovers, logged, numbers
from support.mlflow_server import server
from support.project import Project, finished

#: Eight processes that log the same run under other names, all at once.
EIGHT = """
import os, sys
from pathlib import Path
import mlflow.pytorch
from mmjsd import params
from mmjsd.tracking import runs as tracking
from mmjsd.pipeline.steps import Track

product = Track(params.load("params.yaml"), run="js", seed=1).product
children = []
for number in range(8):
    if not (child := os.fork()):
        product.params["name"] = f"js-{number}"
        store = Path("data/tiny.h5")
        tracking.track(product.record.parent, store, experiment="tiny", key=f"js-{number}", **product.params)
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def test_two_snakemakes(project: Project) -> None:
    before = numbers(project.folder)
    record = "results/tiny/js/seed-1/training.record.json"
    (project.folder / record).unlink()
    first = project.start_snakemake(record)
    assert first.stdout
    assert any("training js" in line for line in first.stdout)
    second = project.snakemake(record)
    assert second.code == 1
    assert "another snakemake is at work in this folder" in second.output
    assert "Directory cannot be locked" in second.output
    assert "Traceback" not in second.output
    assert finished(first).code == 0
    assert "Nothing to be done" in project.snakemake(record).output
    assert numbers(project.folder) == before


def test_two_processes_make_one_product(project: Project) -> None:
    before = numbers(project.folder)
    (project.folder / "results/tiny/js/seed-1/training.record.json").unlink()
    outcomes = [finished(process) for process in [project.start("train js") for _ in range(2)]]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert sum("made meanwhile by the other process" in outcome.output for outcome in outcomes) == 1
    assert numbers(project.folder) == before
    assert leftovers(project.folder) == []


def test_eight_processes_log_to_a_fresh_store(project: Project) -> None:
    (js,) = [row for row in logged(project.folder) if row[0] == "js"]
    (project.folder / "mlflow.db").unlink()
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], cwd=project.folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert logged(project.folder) == [(f"js-{number}", *js[1:]) for number in range(8)]


def test_a_server_that_goes_away_and_returns(project: Project, port: int, tmp_path: Path) -> None:
    """What was made meanwhile is logged by the next run of the same command."""
    before = logged(project.folder)
    uri = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with server(tmp_path / "server", port):
        tracked = project.run("track js", **uri)
    assert tracked.code == 0, tracked.output
    (project.folder / "results/tiny/figures.record.json").unlink()
    gone = project.snakemake(**uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="2")
    assert gone.code == 1
    assert f"{uri['MLFLOW_TRACKING_URI']}: moe cannot be logged" in gone.output
    assert {"drawing the comparison of the runs of tiny", "writing the report"} <= gone.jobs
    assert "Traceback (most recent call last)" not in gone.output
    with server(tmp_path / "server", port):
        back = project.snakemake(**uri)
    assert back.code == 0, back.output
    assert back.jobs == {"logging moe, seed 1, to MLflow", "logging the comparison and the report to MLflow"}
    assert logged(tmp_path / "server") == before
