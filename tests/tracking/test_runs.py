"""Against a real MLflow store."""

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.params import make_dataset, make_evaluation, make_run
from mmjsd.tracking import runs as tracking_runs
from mmjsd.tracking.notes import addresses
from mmjsd.tracking.store import tracking_store, why_gone
from mmjsd.training.model_file import build, save_model

MODALITIES = [Modality("mnist", "image", (1, 28, 28), 784), Modality("text", "text", (8,), 8)]
RUN = make_run("mmjsd", dataset="digits", shared_latent=3)
METRICS = {
    "coherence/random": 0.25,
    "representation/accuracy/mnist-text": 0.5,
    "likelihood/mnist-text/joint": -3.0,
    "train/loss": 1.0,
    "meta/epochs": 2,
    "meta/device": "cpu",
    "odd": float("nan"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluated run, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    # absolute, for MLflow keeps a connection to each address; the default one is tried in tests/workflow
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    folder = tmp_path / "results/digits/js/seed-1"
    folder.mkdir(parents=True)
    Path("digits.h5").write_bytes(b"a store")
    (folder / "history.csv").write_text(
        "epoch,loss,divergence/content,samples_per_second,seconds\n1,3.5,0.5,9,9\n2,1.0,0.25,8,8\n"
    )
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    record = {"inputs": {"digits.h5": "a" * 64}, "outputs": {"metrics.json": "b" * 64}}
    record |= {"params": {}, "made": {}}
    (folder / "evaluation.record.json").write_text(json.dumps(record))
    (folder / "figures").mkdir()
    (folder / "figures/random.png").write_bytes(b"a picture")
    about = {"run": RUN.recorded, "name": "js", "seed": 1, "data_sha256": "0" * 64}
    save_model(folder, build(MODALITIES, RUN).model, **about, classes=list("0123456789"))
    return folder


@pytest.fixture
def begun(folder: Path, empty_database: Path) -> None:
    """There is a database."""
    shutil.copy(empty_database, "mlflow.db")


def track(folder: Path, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "experiment": "digits",
        "key": "digits/js/1",
        "name": "js",
        "run": RUN.recorded | {"seed": 1},
        "dataset": make_dataset("mnist_svhn_text").model_dump(),
        "evaluation": make_evaluation().model_dump(),
    }
    tracking_runs.track(folder, Path("digits.h5"), **arguments | changes)


def client() -> Any:
    import mlflow

    # a new database gets the path of the folder into its SQL, where a quote ends it
    with contextlib.chdir("/"):
        return mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def runs() -> list[Any]:
    """Those in MLflow that nobody deleted."""
    store = client()
    return store.search_runs([store.get_experiment_by_name("digits").experiment_id])


def test_everything_can_be_read_back(folder: Path) -> None:
    import mlflow
    import torch

    track(folder)
    (run,) = runs()
    place = json.loads((folder / "mlflow.json").read_bytes())
    assert place == {
        "run_id": run.info.run_id,
        "experiment": "digits",
        "name": "js",
        "tracking_uri": os.environ["MLFLOW_TRACKING_URI"],
    }
    assert (run.info.run_name, run.info.status) == ("js", "FINISHED")

    assert run.data.params["shared_latent"] == "3"
    assert run.data.params["seed"] == "1"
    assert run.data.params["dataset.options.pairs_per_sample"] == "20"
    assert run.data.params["evaluation.train_samples"] == "500"

    assert run.data.metrics["coherence/random"] == 0.25
    assert run.data.metrics["likelihood/joint"] == -3  # of the headline, and in no metrics.json
    assert run.data.metrics["meta/epochs"] == 2
    curve = client().get_metric_history(run.info.run_id, "train/divergence/content")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 0.25)]
    assert len(client().get_metric_history(run.info.run_id, "train/loss")) == 2

    tags = run.data.tags
    assert tags["pipeline.key"] == "digits/js/1"
    assert tags["data.source"] == "standin"
    assert len(tags["data.sha256"]) == len(tags["params.hash"]) == 64
    assert tags["sha256/metrics.json"] == "b" * 64
    assert tags["version.mmjsd"]
    assert tags["machine.cores"] == str(os.cpu_count())
    assert tags["meta/device"] == "cpu"
    assert "git.commit" not in tags  # this folder is no repository
    note = tags["mlflow.note.content"]
    assert note.startswith("Objective mmjsd, seed 1, on `digits` (mnist_svhn_text: stand-in data")
    assert note.endswith("How the numbers are defined: `docs/numbers.md` of mmjsd.")
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"

    names = {file.path for file in client().list_artifacts(run.info.run_id)}
    assert {"history.csv", "metrics.json"} <= names
    model = mlflow.pytorch.load_model(f"runs:/{run.info.run_id}/model")
    assert model.generate(n=2, generator=torch.Generator().manual_seed(0))["mnist"].shape == (2, 1, 28, 28)


@pytest.mark.usefixtures("begun")
def test_logging_again_replaces(folder: Path) -> None:
    track(folder)
    first = runs()[0].info.run_id
    track(folder)
    track(folder, key="digits/js/2", name="js/seed-2")
    assert sorted(run.info.run_name for run in runs()) == ["js", "js/seed-2"]
    assert first not in {run.info.run_id for run in runs()}


SWEEP = {"name": "digits", "keys": ["beta", "objective"]}


@pytest.mark.usefixtures("begun")
def test_runs_of_a_sweep_are_children_of_one_run(folder: Path) -> None:
    children = ("digits-beta=1.0-objective=mmjsd", "digits-beta=2.0-objective=mmjsd")
    for name in (*children, children[0]):
        track(folder, key=f"digits/{name}/1", name=name, sweep=SWEEP)
    found = {run.info.run_name: run for run in runs()}
    assert sorted(found) == ["digits", *children]
    assert len(runs()) == 3
    parent = found["digits"]
    assert (parent.info.status, parent.data.tags["sweep.keys"]) == ("FINISHED", "beta, objective")
    assert "mlflow.parentRunId" not in parent.data.tags
    nested = client().search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert {run.info.run_name for run in nested} == set(children)
    assert {run.data.tags["sweep"] for run in nested} == {"digits"}

    # a sweep that varies more is the same one; one that was deleted is logged again, with its runs
    track(folder, name=children[0], sweep=SWEEP | {"keys": ["beta", "epochs", "objective"]})
    (again,) = [run for run in runs() if run.info.run_name == "digits"]
    assert again.info.run_id == parent.info.run_id
    assert again.data.tags["sweep.keys"] == "beta, epochs, objective"
    assert why_gone(folder / "mlflow.json") is None
    client().delete_run(parent.info.run_id)
    assert why_gone(folder / "mlflow.json") == "the MLflow run of its sweep is gone"
    track(folder, name=children[0], sweep=SWEEP)
    assert why_gone(folder / "mlflow.json") is None


def test_a_sweep_is_logged_once_by_runs_that_end_at_once(folder: Path) -> None:
    import mlflow

    runs_at_once = [folder, *(folder.with_name(f"seed-{seed}") for seed in (2, 3))]
    for copy in runs_at_once[1:]:
        shutil.copytree(folder, copy)
    track(folder, name="alone")  # the database is there
    create = mlflow.MlflowClient.create_run

    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return create(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setattr(mlflow.MlflowClient, "create_run", slowly)
        jobs = [
            pool.submit(track, path, key=f"digits/s/{path.name}", name=path.name, sweep=SWEEP)
            for path in runs_at_once
        ]
        for job in jobs:
            job.result()
    assert sorted(run.info.run_name for run in runs()) == ["alone", "digits", "seed-1", "seed-2", "seed-3"]


@pytest.mark.usefixtures("begun")
def test_a_failure_keeps_the_earlier_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    track(folder)
    first = runs()[0].info.run_id

    for fault, status in ((KeyboardInterrupt(), "KILLED"), (ZeroDivisionError(), "FAILED")):
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.pytorch, "save_model", Mock(side_effect=fault))
            with pytest.raises(type(fault)):
                track(folder)
        statuses = {run.info.run_id: run.info.status for run in runs()}
        assert statuses.pop(first) == "FINISHED"
        assert status in statuses.values()
    track(folder)  # takes the place of all
    assert [run.info.status for run in runs()] == ["FINISHED"]


def test_no_room_for_the_model(folder: Path, tmp_path: Path) -> None:
    """A limit of the size of files, as a full disk has it, in a process of its own."""
    code = (
        "import resource, signal, sys; from pathlib import Path; sys.path[:0] = sys.argv[1:]\n"
        "import mlflow.pytorch, test_runs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, -1))\n"
        f"test_runs.track(Path({str(folder)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, Path(__file__).parents[:2])], capture_output=True, text=True
    )
    assert "the model cannot be written there" in done.stderr
    assert "name another folder in TMPDIR" in done.stderr
    assert runs()[0].info.status == "FAILED"


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.usefixtures("begun")
def test_the_commit_is_told(folder: Path) -> None:
    git("init")
    git("add", "digits.h5")
    git("commit", "-m", "first")
    track(folder)
    Path("digits.h5").write_bytes(b"another store")
    track(folder, key="digits/js/2")
    tags = {run.data.tags["pipeline.key"]: run.data.tags for run in runs()}
    assert len(tags["digits/js/1"]["git.commit"]) == 40
    assert tags["digits/js/1"]["git.dirty"] == "false"
    assert tags["digits/js/2"]["git.dirty"] == "true"


@pytest.mark.usefixtures("begun")
def test_runs_of_other_commits_and_experiments_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    track(folder)
    git("commit", "--allow-empty", "-m", "second")
    track(folder)
    track(folder)  # takes the place of its twin
    monkeypatch.setenv("DVC_EXP_NAME", "bold-idea")
    track(folder)
    experiments = [run.data.tags.get("dvc.experiment") for run in runs()]
    assert sorted(experiments, key=str) == [None, None, "bold-idea"]
    commits = {run.data.tags["git.commit"] for run in runs()}
    assert len(commits) == 2
    (found,) = client().search_runs(
        [client().get_experiment_by_name("digits").experiment_id],
        filter_string=f"tags.`git.commit` = '{git('rev-parse', 'HEAD~1')}'",
    )
    assert found.info.run_name == "js"


@pytest.mark.usefixtures("begun")
def test_an_experiment_is_of_models_and_not_of_traces(folder: Path) -> None:
    """Else MLflow's pages open with an overview of language models, on which there is nothing."""
    track(folder)
    tags = client().get_experiment_by_name("digits").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_what_is_published_describes_experiments_and_sweeps(folder: Path) -> None:
    place = folder.parents[2] / "mlflow.json"
    about = {"kind": "mnist_svhn_text", "source": "standin", "objectives": ["mmjsd", "mvae", "mmjsd"]}
    about |= {"seeds": 3, "sweeps": {"grid": {"keys": ["beta"], "runs": 2}}}
    report = Path("report.html")
    report.write_text("a report")

    def publish(**changes: Any) -> tuple[dict[str, str], str]:
        tracking_runs.publish([report], place, {"digits": about | changes})
        (sweep,) = [run for run in runs() if run.info.run_name == "grid"]
        return client().get_experiment_by_name("digits").tags, sweep.data.tags["mlflow.note.content"]

    tags, sweep = publish()
    note, number = tags["mlflow.note.content"], client().get_experiment_by_name("digits").experiment_id
    assert "3 runs of 3 seeds each on `digits`" in note
    assert "mmjsd (2), mvae." in note
    assert f"[Headline metrics](#/experiments/{number}/runs?viewStateShareKey=headline)" in note
    assert sweep.startswith("Sweep over beta on `digits`")
    assert "2 runs of 3 seeds each" in sweep
    columns = json.loads(tags["mlflow.sharedViewState.headline"])["selectedColumns"]
    assert {"params.`objective`", "metrics.`coherence/random`", "metrics.`likelihood/joint`"} <= {*columns}
    (line,) = addresses(tracking_store(), 5001)
    table = f"http://127.0.0.1:5001/#/experiments/{number}/runs?viewStateShareKey=headline"
    assert line == f"digits: headline metrics {table} charts {table}&compareRunsMode=CHART"

    tags, _ = publish(seeds=4)
    assert "3 runs of 4 seeds each" in tags["mlflow.note.content"]
    client().set_experiment_tag(number, "mlflow.note.content", "mine")
    tags, sweep = publish(seeds=5)
    assert tags["mlflow.note.content"] == "mine"
    assert "of 5 seeds" in sweep


# --- What else there is in the process and its environment --------------------------------------------------


def untouched(run: Any) -> bool:
    data = client().get_run(run.info.run_id)
    tags = {tag for tag in data.data.tags if not tag.startswith("mlflow.")}
    is_empty = not (data.data.params or data.data.metrics or tags or client().list_artifacts(run.info.run_id))
    return is_empty and (data.info.status, data.info.lifecycle_stage) == ("RUNNING", "active")


def test_the_run_of_a_launcher_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = client().create_experiment("launcher")
    launched = client().create_run(launcher, tags={"mlflow.runName": "launched"})
    for name, value in {
        "MLFLOW_RUN_ID": launched.info.run_id,
        "MLFLOW_EXPERIMENT_ID": launcher,
        "MLFLOW_EXPERIMENT_NAME": "launcher",
        "MLFLOW_REGISTRY_URI": "nonsense://",
        "MLFLOW_ACTIVE_MODEL_ID": "nonsense",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "nonsense",
        "MLFLOW_RUN_CONTEXT": "nonsense",
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true",
    }.items():
        monkeypatch.setenv(name, value)
    track(folder)
    track(folder)
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["coherence/random"] == 0.25
    assert untouched(launched)
    assert os.environ["MLFLOW_RUN_ID"] == launched.info.run_id


def test_the_run_of_the_process_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)  # with it autolog wants Spark
    level = logging.getLogger("mlflow").level
    client()
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    mlflow.set_experiment("mine")
    mlflow.autolog(silent=True)
    try:
        with mlflow.start_run() as mine:
            track(folder)
            assert mlflow.active_run() is mine
            assert untouched(mine)
        assert [run.info.status for run in runs()] == ["FINISHED"]
        assert client().get_run(mine.info.run_id).info.status == "FINISHED"
        assert logging.getLogger("mlflow").level == level
    finally:
        mlflow.autolog(disable=True)


# --- Which store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("", "mlflow.db"),
        (" ", "mlflow.db"),
        ("sqlite:///runs.db?timeout=60", "runs.db"),
        ("sqlite+pysqlite:///runs.db", "runs.db"),
        ("sqlite:///{here}/a folder/100%#ü.db?timeout=60", "a folder/100%#ü.db"),
        ("sqlite:///file:runs.db?uri=true", "runs.db"),
    ],
)
def test_uris_of_sqlite(folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str, file: str) -> None:
    before = set(Path().iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(here=Path.cwd()))
    track(folder)
    track(folder)
    place = json.loads((folder / "mlflow.json").read_bytes())
    assert place["tracking_uri"] == (os.environ["MLFLOW_TRACKING_URI"].strip() or "sqlite:///mlflow.db")
    with sqlite3.connect(file) as database:
        stages = "select lifecycle_stage from runs where run_uuid = ?"
        assert database.execute(stages, [place["run_id"]]).fetchone() == ("active",)
    names = {Path(file).parts[0], *([] if "/" in file else [f"{file}.lock", "mlruns"])}
    assert {path.name for path in set(Path().iterdir()) - before} == names  # and no litter
    artifacts = Path(file).parent / "mlruns" / place["run_id"] / "artifacts"
    assert (artifacts / "history.csv").is_file()


def test_a_moved_project_keeps_its_files_and_writes_no_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track(folder)
    first = json.loads((folder / "mlflow.json").read_bytes())["run_id"]
    parts = ("mlflow.db", "mlruns", "results", "digits.h5")
    for name in ("moved", "what's #1? ü"):
        place = tmp_path / name
        place.mkdir()
        for part in parts:
            shutil.move(part, place / part)
        monkeypatch.chdir(place)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        here = Path("results/digits/js/seed-1")
        track(here)
        track(here, experiment=name)

        uri = f"sqlite:///{os.path.relpath('mlflow.db')}" if "?" in name else f"sqlite:///{place}/mlflow.db"
        store = mlflow.MlflowClient(uri)
        for run in (first, json.loads((here / "mlflow.json").read_bytes())["run_id"]):
            names = {file.path for file in store.list_artifacts(run)}
            assert {"figures", "history.csv", "metrics.json"} == names
            assert (place / "mlruns" / run / "artifacts/history.csv").is_file()
    assert not any((tmp_path / "moved" / part).exists() for part in parts)
    assert not Path(tmp_path / "mlruns").exists()


def test_a_project_begins_in_a_folder_of_any_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / 'Bob\'s "#1" 100% ü'
    place.mkdir()
    for part in ("results", "digits.h5"):
        shutil.move(part, place / part)
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    track(Path("results/digits/js/seed-1"))
    with sqlite3.connect("mlflow.db") as database:
        places = dict(database.execute("select name, artifact_location from experiments"))
    assert places == {"Default": "mlruns/0", "digits": "mlruns"}


def test_absolute_places_of_before_are_put_right(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = client()
    there = Path("elsewhere").absolute()
    for name, place in {"digits": "/gone/mlruns", "bold": (there / "files").as_uri()}.items():
        experiment = store.create_experiment(name, artifact_location=place)
        for run in (store.create_run(experiment), store.create_run(experiment)):
            files = Path("mlruns", run.info.run_id, "artifacts")
        files.mkdir(parents=True)  # the first one's stayed behind
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    track(folder)
    track(folder, experiment="bold")
    with sqlite3.connect("mlflow.db") as database:
        places = dict(database.execute("select name, artifact_location from experiments"))
        found = [place for (place,) in database.execute("select artifact_uri from runs order by start_time")]
    assert places == {"Default": "/mlruns/0", "digits": "mlruns", "bold": (there / "files").as_uri()}
    assert sum(place.startswith("/gone/mlruns/") for place in found) == 1
    assert sum(place.startswith("mlruns/") for place in found) == 2
    assert sum(place.startswith((there / "files").as_uri()) for place in found) == 3


@pytest.mark.usefixtures("begun")
def test_a_deleted_experiment_is_begun_again(folder: Path) -> None:
    track(folder)
    track(folder)
    old = client().get_experiment_by_name("digits").experiment_id
    assert why_gone(folder / "mlflow.json") is None
    client().delete_experiment(old)
    assert why_gone(folder / "mlflow.json") == "its MLflow run was deleted"
    track(folder)
    assert why_gone(folder / "mlflow.json") is None
    (run,) = runs()
    assert run.info.run_id == json.loads((folder / "mlflow.json").read_bytes())["run_id"]
    assert len(client().search_runs([old], run_view_type=2)) == 2  # they stay deleted


@pytest.mark.usefixtures("begun")
def test_files_with_odd_names(folder: Path) -> None:
    record = json.loads((folder / "evaluation.record.json").read_bytes())
    record["inputs"] |= {"/home/zoë/weights (1).pth": "c" * 64, "../x": "d" * 64}
    (folder / "evaluation.record.json").write_text(json.dumps(record))
    track(folder)
    tags = runs()[0].data.tags
    assert tags["sha256/home/zoë/weights _1_.pth"] == "c" * 64
    assert tags["sha256/x"] == "d" * 64


# --- What can be wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "remedy"),
    [
        ("history.csv", "epoch,loss\n1,much\n", "train the run again"),
        ("history.csv", "loss\n1\n", "train the run again"),
        ("metrics.json", "{", "make it again"),
        ("metrics.json", "[]", "make it again"),
    ],
)
def test_damaged_files_are_refused(folder: Path, file: str, content: str, remedy: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(MmjsdError, match=rf"{file}: damaged; {remedy}"):
        track(folder)
    assert not Path("mlflow.db").exists()


def of_another_version(file: Path) -> None:
    client().search_experiments()
    with sqlite3.connect(file) as database:
        database.execute("update alembic_version set version_num = '0123456789ab'")


def damaged(file: Path) -> None:
    file.write_bytes(b"no database, but long enough to be one" * 100)


def a_folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            of_another_version,
            r"is of another version of MLflow than .*; install the one that made it, or name",
        ),
        (damaged, "it is damaged, or no database; take a copy of it from before, or move it away"),
        (a_folder, "it cannot be opened; check its path and permissions"),
    ],
)
def test_databases_that_cannot_be_used(folder: Path, make: Any, told: str) -> None:
    make(Path("mlflow.db"))
    with pytest.raises(MmjsdError, match=told) as fault:
        track(folder)
    assert "mlflow.db: " in str(fault.value)
    assert "\n" not in str(fault.value)
    assert not (folder / "mlflow.json").exists()


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite://", "keeps nothing; write sqlite:///FILE"),
        ("sqlite:///:memory:", "keeps nothing; write sqlite:///FILE"),
        ("sqlite:/runs.db", "is no address of a database; write sqlite:///FILE"),
        ("file:mlruns", "MLflow keeps runs in folders no longer; write sqlite:///FILE"),
        ("./mlruns", "MLflow keeps runs in folders no longer; write sqlite:///FILE"),
        ("nonsense://there", "it is no address of a tracking store; write sqlite:///FILE"),
        ("postgresql://me:secret@there/runs", "psycopg2 is not installed; `uv pip install psycopg2-binary`"),
        ("sqlite:////proc/nowhere/runs.db", "No such file or directory"),
    ],
)
def test_uris_that_cannot_be_used(folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str, told: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = set(Path().iterdir())
    with pytest.raises((MmjsdError, OSError), match=told) as fault:
        track(folder)
    assert uri.replace("secret", "***") in str(fault.value)
    assert "secret" not in str(fault.value)
    assert {path.name for path in set(Path().iterdir()) - before} <= {"mlflow.db.lock"}
