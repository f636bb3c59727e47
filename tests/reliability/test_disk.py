"""A disk that is full: one line that names the file, nothing lost, and with space again the same results."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmjsd.cli import main
from support.disturbed import assert_as_before, leftovers, logged, numbers
from support.project import Outcome, Project

FACES = {
    "datasets": {
        "faces": {
            "kind": "celeba",
            "options": {"standin_train": 40, "standin_val": 10, "standin_test": 20},
        }
    },
    "runs": {"face": {"dataset": "faces", "objective": "mmjsd"}},
}


@pytest.fixture(scope="module")
def disk(made: tuple[Project, Outcome], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The finished project on a small file system of its own."""
    place = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        project = Project(Path(shutil.copytree(made[0].folder, place / "project")))
        with pytest.MonkeyPatch.context() as patch:
            # MLflow keeps a connection to each address: not to that of another test
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.folder / 'mlflow.db'}")
            yield project
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextlib.contextmanager
def full(folder: Path, left: int) -> Iterator[None]:
    """Only so many bytes are left on the disk while this lasts."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_bsize - left, 1))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written while this lasts, not even by root."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


each_step = pytest.mark.parametrize(
    "step",
    [
        "data build tiny",
        "classify tiny text",
        "train js --seed 1",
        "evaluate js --seed 1",
        "figures js --seed 1",
        "curves tiny",
        "track js --seed 1",
        "compare",
        "summarise",
        "report",
        "publish",
    ],
)


@each_step
def test_full_disk(
    disk: Project, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(disk.folder)
    product = disk.product(step)
    before, runs = numbers(disk.folder), logged(disk.folder)
    disk.remove(product)
    with full(disk.folder, left=4096):
        assert main(step.split()) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        name, _, _ = line.partition(": ")
        assert name in (*map(str, product.outputs), os.environ["MLFLOW_TRACKING_URI"], "sources/standin") or (
            name.startswith(("sources/standin/tiny/", str(product.record.parent)))
        ), line
        assert any(word in line for word in ("No space left", "full", "cannot be written")), line
        left = numbers(disk.folder)
        assert left == {name: before[name] for name in left}
    assert main(step.split()) == 0
    assert_as_before(disk.folder, before, runs)


@each_step
def test_no_permission(
    disk: Project, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(disk.folder)
    product = disk.product(step)
    before, runs = numbers(disk.folder), logged(disk.folder)
    with read_only(disk.folder / product.record.parts[0]):
        assert main([*step.split(), "--force"]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"{product.record.parts[0]}/"), line
        assert "Read-only file system" in line
        assert numbers(disk.folder) == before
    assert main(step.split()) == 0
    assert_as_before(disk.folder, before, runs)


def test_a_disk_that_fills_while_faces_are_built(
    tmp_path: Path, disk: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk.folder.parent / "faces"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("params.yaml").write_text(yaml.safe_dump(FACES))
    for left in (30_000, 500_000):  # for the drawn files, for the store
        with full(folder, left):
            assert main(["data", "build", "faces"]) == 1
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert line.startswith(("data/", "sources/"))
            assert "cannot be written" in line
            assert not Path("data/faces.h5").exists()
    assert main(["data", "build", "faces"]) == 0
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    ("step", "file"),
    [("train js", "results/tiny/js/seed-1/checkpoint.pt"), ("data build tiny", "sources/standin/tiny/")],
)
def test_a_limit_of_the_size_of_files(project: Project, step: str, file: str) -> None:
    """What a quota does, where nothing can be mounted."""
    before = numbers(project.folder)
    limited = subprocess.run(
        [sys.executable, "-m", "mmjsd", *step.split(), "--force"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert limited.returncode == 1
    (line,) = limited.stderr.splitlines()
    assert line.startswith(file)
    assert "File too large" in line
    assert numbers(project.folder) == before
