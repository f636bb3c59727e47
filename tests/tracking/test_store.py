"""Whether a run is where it was logged to, without MLflow; what MLflow does to it is in tests/workflow."""

import json
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mmjsd.tracking.store import tracking_store, why_gone, why_silent, without_passwords
from support.answering import answering


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a database of three runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("create table runs (run_uuid, lifecycle_stage)")
        database.executemany("insert into runs values (?, ?)", [("here", "active"), ("gone", "deleted")])
    return tmp_path


def note(run: str, uri: str = "sqlite:///mlflow.db") -> Path:
    path = Path("mlflow.json")
    path.write_text(json.dumps({"run_id": run, "tracking_uri": uri}))
    return path


def test_a_run_that_is_there_deleted_or_unknown() -> None:
    before = Path("mlflow.db").read_bytes(), Path("mlflow.db").stat().st_mtime_ns
    assert why_gone(note("here")) is None
    assert why_gone(note("gone")) == "its MLflow run was deleted"
    assert why_gone(note("x")) == "MLflow has no such run any more"
    assert (Path("mlflow.db").read_bytes(), Path("mlflow.db").stat().st_mtime_ns) == before


def test_a_child_whose_parent_is_gone() -> None:
    for parent, reason in (
        ("here", None),
        *((gone, "the MLflow run of its sweep is gone") for gone in ("gone", "x")),
    ):
        path = note("here")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"parent_run_id": parent}))
        assert why_gone(path) == reason


def test_a_database_that_is_gone_damaged_or_in_use() -> None:
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("begin exclusive")
        assert why_gone(note("gone")) is None  # nobody can say
    Path("mlflow.db").write_bytes(b"no database, but as long as one" * 100)
    assert why_gone(note("here")) == "mlflow.db is damaged"
    Path("mlflow.db").write_bytes(b"")
    assert why_gone(note("here")) == "mlflow.db has no runs"
    Path("mlflow.db").unlink()
    assert why_gone(note("here")) == "mlflow.db is not there"
    assert not Path("mlflow.db").exists()


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db", "sqlite+pysqlite:///mlflow.db?timeout=60", ""],
)
def test_the_same_store_by_other_names(folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(here=folder))
    assert why_gone(note("here")) is None
    assert why_gone(note("here", f"sqlite:///{folder}/mlflow.db")) is None


@pytest.mark.parametrize(
    "uri", ["sqlite:///other.db", "http://there:5000", "nonsense", "http://[x", "sqlite://", "sqlite:/"]
)
def test_another_store(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert why_gone(note("here")) == f"is not logged to {uri}"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run_id": "here"}'])
def test_a_damaged_note(text: str) -> None:
    Path("mlflow.json").write_text(text)
    assert why_gone(Path("mlflow.json")) == "which MLflow run it is cannot be read"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:p@ss@there:5000/x", "http://me:***@there:5000/x"),
        ("(http://me:secret@[::1]:5000)", "(http://me:***@[::1]:5000)"),
        ("http://there:5000/a@b", "http://there:5000/a@b"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
    ],
)
def test_passwords_are_left_out(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_passwords_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:p%40ss@there/runs")
    assert tracking_store().shown == "postgresql://me:***@there/runs"
    assert why_gone(note("here", "postgresql://me:***@there/runs")) is None


def run_of_stage(stage: str) -> bytes:
    return json.dumps({"run": {"info": {"lifecycle_stage": stage}}}).encode()


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (200, run_of_stage("active"), None),
        (200, run_of_stage("deleted"), "its MLflow run was deleted"),
        (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}', "MLflow has no such run any more"),
        (404, b"<html></html>", None),  # nobody can say
        (401, b"", None),
        (500, b"", None),
        (200, b"<html></html>", None),
    ],
)
def test_a_server(monkeypatch: pytest.MonkeyPatch, code: int, text: bytes, reason: str | None) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(code, text) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert why_gone(note("here", f"{uri}/")) == reason


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_whatever_answers_is_not_silent(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Nor one whose certificate this program cannot judge: MLflow may have been told."""
    assert why_silent(tracking_store()) is None  # a database
    for code in (200, 401, 500):
        with answering(code) as address:
            uri = address.replace("http://", f"{scheme}://somebody:secret@")
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            assert why_silent(tracking_store()) is None


def test_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert why_silent(tracking_store()) == "timed out"
    assert "refused" in (why_silent(tracking_store()) or "")


def test_a_server_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        begin = time.monotonic()
        assert [why_gone(note("here", uri)) for _ in range(100)] == [None] * 100
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("place", [".dvc/tmp/exps/standalone/abc", ".dvc/tmp/exps/abc"])
def test_a_temporary_copy_of_dvc_logs_to_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for project in (".", "part"):
        copy = folder / place / project
        (folder / place / ".dvc").mkdir(parents=True, exist_ok=True)
        copy.mkdir(exist_ok=True)
        monkeypatch.setenv("DVC_ROOT", str(folder))
        monkeypatch.chdir(copy)
        assert tracking_store().database == folder / project / "mlflow.db"
        monkeypatch.delenv("DVC_ROOT")
        assert tracking_store().database == copy.resolve() / "mlflow.db"


def test_the_project_of_another_dvc_is_none_of_ours(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path_factory.mktemp("other")))
    assert tracking_store().database == folder / "mlflow.db"


def test_looking_does_not_import_mlflow() -> None:
    note("here")
    code = (
        "import sys; from pathlib import Path; from mmjsd import pipeline; from mmjsd.tracking import store\n"
        "assert store.why_gone(Path('mlflow.json')) is None\n"
        "assert not {'mlflow', 'numpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
