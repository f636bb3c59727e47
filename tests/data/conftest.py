"""Official files of CelebA, small."""

import shutil
from pathlib import Path

import pytest

from mmjsd.data.standin.faces import write_faces


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of 21 faces."""
    folder = tmp_path_factory.mktemp("official")
    write_faces(folder, train=12, val=4, test=5, seed=0)
    return folder


@pytest.fixture
def sources(official: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(official, tmp_path / "sources"))
