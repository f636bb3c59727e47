"""What `mmjsd init` lays down, and where it lays down nothing."""

import errno
import json
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

from mmjsd import params, project
from mmjsd.cli import main

ROOT = Path(__file__).parents[1]
STARTER = ROOT / "src/mmjsd/starter"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text(errors="replace") for path in files}


def test_a_project_has_what_its_tools_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "deep/study"]) == 0
    assert capsys.readouterr().out.startswith("deep/study: params.yaml ")
    study = folder / "deep/study"
    files = contents(study)
    assert files.keys() >= {"Snakefile", "dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config"}
    shared = [f"profiles/{name}/config.yaml" for name in ("default", "slurm", "lsf")]
    for name in [*shared, "profiles/kubernetes/job.yaml", ".dvc/plots/runs.json", "params.schema.json"]:
        assert files[name] == (ROOT / name).read_text()
    assert params.load(study / "params.yaml").runs.keys() == {"digits-mmjsd", "digits-mmvae"}
    ours = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    theirs = yaml.safe_load(files["dvc.yaml"])
    for stage in ("data", "results"):
        for key in ("cmd", "params", "outs"):
            assert theirs["stages"][stage][key] == ours["stages"][stage][key]
    assert (theirs["metrics"], theirs["plots"]) == (ours["metrics"], ours["plots"])


def test_the_table_in_the_comments_is_one(folder: Path) -> None:
    text = (STARTER / "params.yaml").read_text()
    commented = re.sub(r"^  # (?=mine:|mine-mmjsd:|  )", "  ", text, flags=re.MULTILINE)
    (folder / "cohort").mkdir()
    (folder / "params.yaml").write_text(commented)
    known = params.load("params.yaml")
    assert known.datasets["mine"].kind == "table"
    assert known.runs["mine-mmjsd"].dataset == "mine"


@pytest.mark.parametrize("name", ["params.yaml", "Snakefile", "profiles/slurm/config.yaml"])
def test_nothing_is_overwritten(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    assert main(["init", "."]) == 1
    line = f"{name}: is there already, and stays; name another folder, or move it away\n"
    assert capsys.readouterr().err == line
    assert contents(folder) == {name: "mine"}


@pytest.mark.parametrize("target", ["file", "link", "file/study"])
def test_a_path_that_is_no_folder_is_refused(
    folder: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    assert main(["init", target]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(target.partition("/")[0])
    assert contents(folder) == {"file": "mine"}


def test_a_folder_that_cannot_be_written_keeps_nothing_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".gitignore").write_text("mine\n")
    write = project.atomic_write

    def full(path: Path, content: str) -> None:
        if path.name == "runs.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(project, "atomic_write", full)
    assert main(["init", "."]) == 1
    assert capsys.readouterr().err == ".dvc/plots/runs.json: No space left on device\n"
    assert contents(folder) == {".gitignore": "mine\n"}


def test_what_other_tools_began_stays(folder: Path) -> None:
    """As after `uv init`, `git init` and `dvc init`."""
    begun = {
        ".gitignore": ".venv/\n*.bak",
        "pyproject.toml": "",
        ".dvc/config": "[core]\n",
        "README.md": "mine",
    }
    (folder / ".dvc").mkdir()
    for name, text in begun.items():
        (folder / name).write_text(text)
    (folder / ".dvcignore").write_bytes(b"# caf\xe9\n")
    assert main(["init", "."]) == 0
    assert (folder / ".dvcignore").read_bytes().startswith(b"# caf\xe9\n# no part")
    files = contents(folder)
    assert {name: files[name] for name in list(begun)[1:]} == dict(list(begun.items())[1:])
    ignored = files[".gitignore"].splitlines()
    assert ignored[:2] == [".venv/", "*.bak"]
    assert ignored.count(".venv/") == ignored.count("/results/") == 1
    # nor is one in a folder that is part of a project of uv
    assert main(["init", "part"]) == 0
    assert "pyproject.toml" not in contents(folder / "part")


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({}, None),
        (
            {"url": "file:///a%20b/mmjsd.whl", "archive_info": {}},
            {"path": "/a b/mmjsd.whl"},
        ),
        (
            {"url": "file:///clone", "dir_info": {"editable": True}},
            {"path": "/clone", "editable": True},
        ),
        ({"url": "file:///clone", "dir_info": {}}, {"path": "/clone"}),
        ({"url": "https://a.b/mmjsd.whl", "archive_info": {}}, {"url": "https://a.b/mmjsd.whl"}),
        (
            {"url": "https://a.b/mmjsd.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            {"git": "https://a.b/mmjsd.git", "rev": "c0ffee"},
        ),
    ],
)
def test_uv_installs_the_package_from_where_it_was_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, origin: dict, source: dict | None
) -> None:
    ours = distribution("mmjsd")
    monkeypatch.setattr(type(ours), "read_text", lambda self, name: json.dumps(origin), raising=True)
    monkeypatch.setattr(type(ours), "metadata", {"Requires-Python": ">=3.11"})
    assert main(["init", "study"]) == 0
    written = tomllib.loads((folder / "study/pyproject.toml").read_text())
    assert written["project"]["requires-python"] == ">=3.11"
    assert written["tool"]["uv"].get("sources", {}).get("mmjsd") == source
