"""What is noted of the place where something is made."""

import subprocess
from pathlib import Path

import pytest

from mmjsd import environment


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_the_commit(repository: Path) -> None:
    told = environment.describe()
    assert (told["git.commit"], told["git.dirty"]) == (commit(), "false")


@pytest.mark.usefixtures("repository")
def test_the_commit_of_a_repository_of_another_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = commit()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to simulate it
    refused = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    assert environment.describe()["git.commit"] == expected


def test_outside_of_git_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "git.commit" not in environment.describe()
    assert capsys.readouterr().err == ""


def test_git_that_fails_is_told(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / ".git/HEAD").write_text("damaged")
    assert "git.commit" not in environment.describe()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{repository}: its commit is not noted, for git fails (fatal: ")


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git.commit" not in environment.describe()
