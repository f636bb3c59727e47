"""What MLflow and SQLite really say when something is wrong, and what is made of it."""

import logging
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmjsd.tracking.faults import explain
from support.answering import answering


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(logging.getLogger("mlflow"), "level", logging.CRITICAL)


def asked(uri: str) -> str | None:
    """What is told of an error of MLflow's client."""
    import mlflow

    with pytest.raises(Exception) as fault:  # noqa: PT011
        mlflow.MlflowClient(uri, uri).search_experiments()
    return explain(fault.value, is_server=True)


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (401, b"", "it wants to know who you are; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (401, b'{"error_code": "UNAUTHENTICATED", "message": "no"}', "it wants to know who you are"),
        (403, b"", "you may not write there; ask whoever runs it"),
        (
            403,
            b"Invalid Host header - possible DNS rebinding attack",
            "it does not go by this name; start it",
        ),
        (404, b"<html></html>", "what answers is no MLflow server; check host, port and path"),
        (200, b"<html></html>", "what answers is no MLflow server; check host, port and path"),
        (302, b"", "what answers is no MLflow server"),
        (413, b"", "it refuses files so large"),
        (500, b"", "the server fails (500); look into its log"),
        (503, b"", "the server fails (503); look into its log"),
    ],
)
def test_answers_of_servers(code: int, text: bytes, told: str) -> None:
    with answering(code, text) as uri:
        assert (asked(uri) or "").startswith(told)


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    no_answer = "no server answers; start it or check MLFLOW_TRACKING_URI"
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert (asked(f"http://127.0.0.1:{port}") or "").startswith(no_answer)
        deaf.listen()  # and never say anything
        assert (asked(f"http://127.0.0.1:{port}") or "").startswith(no_answer)
    assert asked("http://nowhere.invalid:5000") == "no machine has this name; check MLFLOW_TRACKING_URI"
    with answering(200) as uri:
        assert (asked(uri.replace("http:", "https:")) or "").startswith(
            "it does not speak TLS; check http://"
        )
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    assert (asked("http://mlflow.example") or "").startswith("the proxy does not let it through; check HTTP_")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many"), ("MLFLOW_TRACKING_INSECURE_TLS", "maybe")],
)
def test_variables_that_mean_nothing(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    told = asked("http://127.0.0.1:9") or ""
    assert name in told
    assert value in told
    assert told.endswith("; correct or unset that variable")


def test_faults_of_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with closing(sqlite3.connect(file)) as other, closing(sqlite3.connect(file, timeout=0)) as connection:
        other.execute("create table runs (id)")
        other.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError) as fault:
            connection.execute("insert into runs values (1)")
        told = "another program writes to it; end that, and type the same command again"
        assert explain(fault.value, is_server=False) == told
        other.rollback()
        connection.execute("pragma max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as fault:
            connection.executemany("insert into runs values (?)", [["x" * 9999]] * 9)
        assert (explain(fault.value, is_server=False) or "").startswith("the disk is full; make room")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        with pytest.raises(sqlite3.OperationalError) as fault:
            connection.execute("insert into runs values (1)")
        assert (explain(fault.value, is_server=False) or "").startswith("it cannot be written to; change its")


def test_files_that_cannot_be_written() -> None:
    error = PermissionError(13, "Permission denied", "/srv/mlruns/1")
    alone = explain(error, is_server=False)
    assert alone == "/srv/mlruns/1: Permission denied; once that is mended type the same command again"
    assert "--serve-artifacts" in (explain(error, is_server=True) or "")


def test_faults_of_the_program_are_not_explained_away() -> None:
    assert explain(TypeError("an argument is missing"), is_server=False) is None
