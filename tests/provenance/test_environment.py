"""What is noted of the place where something is made."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmjsd.provenance import environment
from support.pretended import pretended_gpu


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


def test_before_the_first_commit_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    assert not any(key.startswith("git.") for key in environment.describe())
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize(
    ("kind", "name"), [("cuda", "a pretended cuda"), ("xpu", "a pretended xpu"), ("mps", "mps")]
)
def test_the_gpu_is_named(kind, name):
    with pretended_gpu(kind):
        assert environment.describe()["machine.gpu"] == name


def test_a_gpu_that_does_not_work_is_not(monkeypatch):
    """A finished run must not fail for that."""

    def broken():
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    with pretended_gpu("cuda"):
        monkeypatch.setattr(torch.get_device_module("cuda"), "get_device_name", broken)
        assert "machine.gpu" not in environment.describe()


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert "machine.gpu" not in environment.describe()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    assert "machine.gpu" not in environment.describe()


def test_a_step_without_torch_has_used_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert "machine.gpu" not in environment.describe()
    assert "torch" not in sys.modules
