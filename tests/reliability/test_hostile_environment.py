"""A hostile environment changes nothing: same products, to the byte."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.disturbed import leftovers, logged, numbers
from support.hostile import MISSING, NOT_FOR_SNAKEMAKE, hostile
from support.project import Project

RUN = "results/tiny/js/seed-1"
PICTURE = ["generate", RUN, "--given", "text=two", "--n", "4", "--out"]
MMJSD = (sys.executable, "-m", "mmjsd")


@pytest.fixture
def here(project: Project, tmp_path: Path) -> Project:
    """The finished project, in a folder with an odd name."""
    return Project(project.folder.rename(tmp_path / 'what\'s #1? 100% "ü"'))


def test_a_hostile_environment_changes_nothing(here: Project) -> None:
    assert here.call(*MMJSD, *PICTURE, "clean.png").code == 0
    before, runs = numbers(here.folder), logged(here.folder)
    first = json.loads((here.folder / RUN / "mlflow.json").read_bytes())
    shutil.rmtree(here.folder / "sources")  # drawn again
    steps = ["data build tiny", "train js", "evaluate js", "figures js", "track js", "compare", "report"]
    for product in here.products:
        if product.name.split(" --seed")[0] in steps:
            here.remove(product)
    here.environment = hostile(here.environment)
    for step in [*map(str.split, steps), [*PICTURE, "hostile.png"]]:
        outcome = here.call(*MMJSD, *step)
        assert outcome.code == 0, (step, outcome.output)
        assert "Traceback" not in outcome.output, (step, outcome.output)
    for name in NOT_FOR_SNAKEMAKE:
        here.environment.pop(name, None)
    planned = here.snakemake("--dry-run")
    assert planned.code == 0, planned.output
    # what they made is fresh; what is made of it has other times in it
    assert planned.jobs <= {
        *("drawing the comparison of the runs of tiny", "summing up the runs for DVC", "writing the report"),
        "logging the comparison and the report to MLflow",
    }
    assert "Traceback" not in planned.output, planned.output

    after = numbers(here.folder)
    assert after.keys() == before.keys()
    different = {name for name in after if after[name] != before[name]}
    assert different <= {"results/comparison.md", "results/report.html"}  # they tell the time it took
    assert (here.folder / "hostile.png").read_bytes() == (here.folder / "clean.png").read_bytes()
    assert logged(here.folder) == runs
    assert leftovers(here.folder) == []
    second = json.loads((here.folder / RUN / "mlflow.json").read_bytes())
    assert second == first | {"run_id": second["run_id"]}
    assert {path.name for path in here.folder.iterdir()} == {
        *("data", "logs", "mlflow.db", "mlflow.db.lock", "mlruns", "params.yaml", "results", "sources"),
        *("clean.png", "hostile.png", ".snakemake"),
    }  # no litter


NOBODY = ("unshare", "--user", "--map-user=12345", "--map-group=12345")


def test_a_user_without_name_and_home(here: Project) -> None:
    """As in a container that is started with any number as its user."""
    if subprocess.run([*NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not permitted here")
    runs = logged(here.folder)
    here.remove(here.product("track js --seed 1"))
    for name in MISSING:
        here.environment.pop(name, None)
    for step in (["track", "js"], [*PICTURE, "picture.png"]):
        outcome = here.call(*NOBODY, *MMJSD, *step)
        assert outcome.code == 0, (step, outcome.output)
        assert "Traceback" not in outcome.output, (step, outcome.output)
    assert logged(here.folder) == runs


def test_the_commit_is_that_of_the_project_in_a_hook_of_another(here: Project, tmp_path: Path) -> None:
    """Git tells hooks by GIT_DIR and its like where they are, and whatever they start."""
    other = tmp_path / "other"
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for folder in (here.folder, other):
        folder.mkdir(exist_ok=True)
        git = ["git", "-C", str(folder), *author]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", str(folder)], check=True)
    hook = other / ".git/hooks/post-commit"
    step = shlex.join([*MMJSD, "compare"])
    hook.write_text(
        f"#!/bin/sh\nset -e\ncd {shlex.quote(str(here.folder))}\nexport GIT_DIR GIT_WORK_TREE\n{step}\n"
    )
    hook.chmod(0o755)
    record = here.product("compare").record
    (here.folder / record).unlink()
    committing = ["git", "--git-dir", str(other / ".git"), "--work-tree", str(other), *author]
    subprocess.run([*committing, "commit", "-q", "--allow-empty", "-m", "x"], check=True, capture_output=True)
    head = ["git", "-C", str(here.folder), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    assert json.loads((here.folder / record).read_bytes())["made"]["git.commit"] == commit
