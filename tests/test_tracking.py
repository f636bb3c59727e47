"""Against a real MLflow store."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mmjsd import checkpoint, tracking
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.params import Dataset, Evaluation, Run
from mmjsd.training import build_model

MODALITIES = [Modality("mnist", "image", (1, 28, 28), 784), Modality("text", "text", (8,), 8)]
RUN = Run(dataset="digits", objective="mmjsd", shared_latent=3, style_weights={}, weights={})
METRICS = {
    "coherence/random": 0.25,
    "representation/accuracy/mnist-text": 0.5,
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
    content = {
        "kind": "model",
        "run": RUN.model_dump(),
        "name": "js",
        "seed": 1,
        "data_sha256": "0" * 64,
        "classes": list("0123456789"),
    }
    weights = build_model(MODALITIES, RUN).state_dict()
    content |= {"modalities": [tuple(m) for m in MODALITIES], "weights": weights}
    checkpoint.write(folder / "model.pt", content)
    return folder


def track(folder: Path, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "experiment": "digits",
        "key": "digits/js/1",
        "name": "js",
        "run": RUN.model_dump() | {"seed": 1},
        "dataset": Dataset(kind="mnist_svhn_text").model_dump(),
        "evaluation": Evaluation().model_dump(),
    }
    tracking.track(folder, Path("digits.h5"), **arguments | changes)


def client() -> Any:
    import mlflow

    return mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def runs() -> list[Any]:
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
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"

    names = {file.path for file in client().list_artifacts(run.info.run_id)}
    assert {"history.csv", "metrics.json"} <= names
    model = mlflow.pytorch.load_model(f"runs:/{run.info.run_id}/model")
    assert model.generate(n=2, generator=torch.Generator().manual_seed(0))["mnist"].shape == (2, 1, 28, 28)


def test_logging_again_replaces(folder: Path) -> None:
    track(folder)
    first = runs()[0].info.run_id
    track(folder)
    track(folder, key="digits/js/2", name="js/seed-2")
    assert sorted(run.info.run_name for run in runs()) == ["js", "js/seed-2"]
    assert first not in {run.info.run_id for run in runs()}


def test_a_failure_keeps_the_earlier_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    track(folder)
    first = runs()[0].info.run_id

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.pytorch, "log_model", fail)
        with pytest.raises(RuntimeError):
            track(folder)
    assert {run.info.run_id: run.info.status for run in runs()}[first] == "FINISHED"
    track(folder)  # takes the place of both
    assert [run.info.status for run in runs()] == ["FINISHED"]


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


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
