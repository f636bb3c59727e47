"""The real pipeline on a tiny parameter file, run once; tests that change something get a copy."""

import shutil
from pathlib import Path

import pytest
from project import PARAMS, Outcome, Project


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """The finished project, which no test may change, and how it went."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.write(PARAMS)
    outcome = project.snakemake()
    assert outcome.code == 0, outcome.output
    return project, outcome


@pytest.fixture
def project(made: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return Project(Path(shutil.copytree(made[0].folder, tmp_path / "copy")))
