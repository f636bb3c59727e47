"""A small dataset in memory, and runs on it; the real pipeline on a tiny parameter file."""

import dataclasses
import json
import shutil
import signal
import socket
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from mmjsd.cli import main
from mmjsd.data.store import Store
from mmjsd.models.classifiers import train_classifier
from mmjsd.training.loop import train
from support.project import PARAMS, SMALLEST, Outcome, Project, finished_and_watched
from support.samples import make_run, make_store
from support.training import train_judges_briefly

#: Marks of tests that are no part of CI, and the command that runs them.
ONLY_IF_ASKED = {
    "slurm": "uv run --extra slurm pytest -n 0 -m slurm tests/cluster",
    "wheel": "uv run pytest -n 0 -m wheel tests/workflow/test_wheel.py",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="steps that tests/reliability/test_kill.py kills")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is no part of the inner loop, and put it first: its files take longest."""
    here = Path(__file__).parent
    for item in items:
        for mark, command in ONLY_IF_ASKED.items():
            if item.get_closest_marker(mark) and mark not in config.getoption("markexpr"):
                item.add_marker(pytest.mark.skip(reason=f"takes minutes: `{command}`"))
        parts = item.path.relative_to(here).parts
        if {"workflow", "reliability", "test_faces_end_to_end.py", "test_table_end_to_end.py"} & {*parts} or (
            {"made", "project", "evaluated"} & {*getattr(item, "fixturenames", ())}
        ):
            item.add_marker("e2e")
    items.sort(key=lambda item: (not item.get_closest_marker("e2e"), item.path.stem != "test_dvc"))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell has it for what runs in the background; the processes that tests start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # more only get in each other's way on batches this small


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("store") / "tiny.h5")


@pytest.fixture(scope="session")
def results(store, tmp_path_factory):
    """Classifiers and a trained run of the store."""
    folder = tmp_path_factory.mktemp("results")
    for modality in store.modalities:
        train_classifier(store, modality, folder / "classifiers" / modality, epochs=3, seed=1)
    train(make_run(epochs=20, learning_rate=2e-3), store, folder / "run", name="tiny", seed=1)
    return folder


@pytest.fixture(scope="session")
def store_with_gaps(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("store") / "gaps.h5", missing=0.4)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Project, Outcome]:
    """The finished project, which no test may change, and how it went."""
    base = tmp_path_factory.getbasetemp()
    # of several processes that test, the first one makes it for all
    shared = base if worker_id == "master" else base.parent
    project, told = Project(shared / "project"), shared / "project.json"
    with FileLock(shared / "project.lock"):
        if not told.exists():
            project.folder.mkdir()
            project.write(PARAMS)
            outcome = finished_and_watched(project.start_snakemake())
            told.write_text(json.dumps(dataclasses.asdict(outcome)))
    outcome = Outcome(**json.loads(told.read_text()))
    assert outcome.code == 0, outcome.output
    return project, outcome


@pytest.fixture
def project(made: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return Project(Path(shutil.copytree(made[0].folder, tmp_path / "copy")))


@pytest.fixture(scope="session")
def made_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and its classifiers, made by real steps in this process; no test may change it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "params.yaml").write_text(yaml.safe_dump(SMALLEST))
    classifiers = [f"classify tiny {modality}" for modality in ("mnist", "svhn", "text")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_judges_briefly(patch)
        for step in ["data build tiny", *classifiers, "train js", "evaluate js"]:
            assert main(step.split()) == 0, step
    return folder


@pytest.fixture
def evaluated(made_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    copy = Path(shutil.copytree(made_here, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def port() -> int:
    """One that is free on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


KILLS = pytest.StashKey[list[str]]()


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> list[str]:
    """Lines of the table that is printed at the end."""
    return request.config.stash.setdefault(KILLS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(KILLS, []):
        terminalreporter.line(line)
