"""The package as people install it: everything that a project of their own needs is in the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.project import REPOSITORY, SMALLEST, Project

UV = os.environ.get("UV", "uv")


def uv(*arguments: str) -> None:
    done = subprocess.run([UV, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "-q", "--out-dir", str(folder))  # from the source distribution, which so has all of it too
    (path,) = folder.glob("*.whl")
    return path


def test_a_project_is_planned_by_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    uv("pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel))
    project = Project(tmp_path)
    project.environment["PYTHONPATH"] = str(site)
    where = project.call(sys.executable, "-c", "import mmjsd; print(mmjsd.workflow())")
    assert where.output.strip() == str(site / "mmjsd/files/Snakefile")
    outcome = project.call(sys.executable, "-m", "mmjsd", "init", "study")
    assert outcome.code == 0, outcome.output
    study = Project(tmp_path / "study")
    study.environment["PYTHONPATH"] = str(site)
    planned = study.call(sys.executable, "-m", "snakemake", "--cores", "all", "--dry-run")
    assert planned.code == 0, planned.output
    assert {"training digits-mmjsd, seed 1", "writing the report"} <= planned.jobs
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=REPOSITORY, capture_output=True, text=True)
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.removeprefix("src/") for name in tracked.stdout.split()} - {*names} == set()


@pytest.mark.wheel
def test_a_project_is_made_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    bin_folder = tmp_path / "env/bin"
    uv("venv", "-q", "--python", sys.executable, str(tmp_path / "env"))
    uv("pip", "install", "-q", "--python", str(bin_folder / "python"), str(wheel))
    (tmp_path / "study").mkdir()
    study = Project(tmp_path / "study")
    study.environment["PATH"] = f"{bin_folder}:{study.environment['PATH']}"
    study.environment["DVC_SITE_CACHE_DIR"] = str(tmp_path / "site")
    for command in (["git", "init", "-q"], ["mmjsd", "init", "."]):
        outcome = study.call(*command)
        assert outcome.code == 0, outcome.output
    study.write(SMALLEST)
    outcome = study.call("snakemake", "--cores", "all")
    assert outcome.code == 0, outcome.output
    assert (study.folder / "results/report.html").exists()
    checked = study.call("mmjsd", "provenance", "results/tiny/js/seed-1")
    assert "every hash holds" in checked.output, checked.output
    # DVC takes it over, and starts the workflow, which has nothing to make
    before = study.contents()
    outcome = study.call("dvc", "repro")
    assert outcome.code == 0, outcome.output
    assert outcome.jobs <= {"all stores are built"}
    assert study.contents() == before
    # without uv's pyproject.toml of this repository around it, uv finds the same package
    outcome = study.call(UV, "run", "-q", "mmjsd", "params", "check")
    assert outcome.code == 0, outcome.output
