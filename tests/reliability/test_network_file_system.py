"""Folders whose file system refuses flock, as Lustre without the mount option and NFS without lockd do."""

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from support.project import Project

#: Stands in for the system call in each process that loads it, those that are not Python too.
REFUSED = """
#include <errno.h>
int flock(int descriptor, int operation) { errno = REFUSAL; return -1; }
"""


@pytest.fixture
def without_flock(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """What to put into the environment of a process."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler")
    (tmp_path / "refused.c").write_text(REFUSED.replace("REFUSAL", str(request.param)))
    library = tmp_path / "refused.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "refused.c"], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.parametrize("without_flock", [errno.ENOSYS], indirect=True)
def test_everything_is_made_without_flock(project: Project, without_flock: dict[str, str]) -> None:
    before = {name: content for name, (content, _) in project.contents().items()}
    for step in ("data build tiny", "track js --seed 1", "compare"):
        project.remove(project.product(step))
    outcome = project.snakemake(**without_flock)
    assert outcome.code == 0, outcome.output
    assert {
        "building the store of tiny",
        "logging js, seed 1, to MLflow",
        "comparing the runs",
    } <= outcome.jobs
    assert outcome.output.count("its file system has no flock") == 1
    after = {name: content for name, (content, _) in project.contents().items()}
    assert after["data/tiny.h5"] == before["data/tiny.h5"]
    assert after["results/comparison.csv"] == before["results/comparison.csv"]
    assert "Nothing to be done" in project.snakemake(**without_flock).output


@pytest.mark.parametrize("without_flock", [errno.ENOLCK], indirect=True)
def test_one_at_a_time_without_flock(project: Project, without_flock: dict[str, str]) -> None:
    (project.folder / "results/tiny/js/seed-1/training.record.json").unlink()
    processes = [project.start("train js", **without_flock) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("made meanwhile by the other process" in output for output in outputs) == 1
