"""The real pipeline on a tiny parameter file, run once; tests that change something get a copy."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from project import PARAMS, Outcome, Project


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
