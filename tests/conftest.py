"""A small dataset in memory, and runs on it; the real pipeline on a tiny parameter file."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from mmjsd import params
from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.data.text import word_table
from mmjsd.modalities.text import ALPHABET
from mmjsd.models.classifiers import train_classifier
from mmjsd.training import train
from project import PARAMS, Outcome, Project


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="steps that tests/reliability/test_kill.py kills")


torch.set_num_threads(1)  # more only get in each other's way on batches this small


def make_split(rng: np.random.Generator, rows: int, missing: float = 0.0) -> Split:
    """Rows whose brightness tells the class, paired by class; a share of the pairs with gaps."""
    labels = np.arange(rows) % 10
    pairs = []
    words, word_labels = word_table()
    shade = (labels * 25)[:, None, None, None]
    tables = {
        "mnist": Table("image", (rng.integers(0, 20, (rows, 1, 28, 28)) + shade).astype(np.uint8), labels),
        "svhn": Table("image", (rng.integers(0, 20, (rows, 3, 32, 32)) + shade).astype(np.uint8), labels),
        "text": Table("text", words, word_labels, ALPHABET),
    }
    for row, label in enumerate(labels):
        word = rng.choice(np.flatnonzero(word_labels == label))
        pairs.append((row, rng.choice(np.flatnonzero(labels == label)), word))
    pairs = np.array(pairs, np.int32)
    hidden = rng.random(pairs.shape) < missing
    hidden[np.arange(rows), rng.integers(0, 3, rows)] = False  # never all of them
    pairs[hidden] = -1
    return Split(tables, pairs, labels)


def make_store(path, missing: float = 0.0) -> Store:
    rng = np.random.default_rng(0)
    write_store(
        path,
        kind="mnist_svhn_text",
        modalities=["mnist", "svhn", "text"],
        classes=[str(digit) for digit in range(10)],
        seed=0,
        params={"source": "standin"},
        sources={},
        splits={"train": make_split(rng, 120, missing), "test": make_split(rng, 60, missing)},
    )
    return read_store(path)


def make_run(**options) -> params.Run:
    defaults = {
        "dataset": "tiny",
        "objective": "mmjsd",
        "epochs": 3,
        "batch_size": 32,
        "threads": 1,
        "device": "cpu",
    }
    return params.Run(**(defaults | options))


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
            outcome = project.snakemake()
            told.write_text(json.dumps([outcome.code, outcome.output]))
    outcome = Outcome(*json.loads(told.read_text()))
    assert outcome.code == 0, outcome.output
    return project, outcome


@pytest.fixture
def project(made: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return Project(Path(shutil.copytree(made[0].folder, tmp_path / "copy")))


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
