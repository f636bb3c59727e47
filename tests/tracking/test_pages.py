"""`mmjsd ui` and the addresses that it prints."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from mmjsd.cli import main


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose results say that they are in its database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "results").mkdir()
    place = {"tracking_uri": "sqlite:///mlflow.db", "experiments": {"digits": "7"}}
    (tmp_path / "results/mlflow.json").write_text(json.dumps(place))
    return tmp_path


def test_pages_are_served_in_place_of_the_command(project, port, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(
        os, "execv", lambda *call: calls.append((*call, os.environ["MLFLOW_BACKEND_STORE_URI"]))
    )
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert main(["ui", "--port", f"{port}"]) == 1
    assert "mlflow.db: not there yet; the first run that is trained makes it" in capsys.readouterr().err
    (project / "mlflow.db").touch()
    assert main(["ui", "--port", f"{port}"]) == 0
    ((program, words, uri),) = calls
    assert (program, uri) == (sys.executable, f"sqlite:///{project}/mlflow.db")
    assert words[1:] == ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", f"{port}"]
    assert (
        f"http://127.0.0.1:{port}/#/experiments/7/runs?viewStateShareKey=headline" in capsys.readouterr().out
    )

    Path("results/mlflow.json").unlink()
    assert main(["ui", "--port", f"{port}"]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}: all runs; `mmjsd publish` describes them\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert main(["ui", "--port", f"{port}"]) == 1
    assert f"--port {port}: cannot be listened on" in capsys.readouterr().err


def test_a_server_has_its_pages_already(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@runs.example/ml")
    place = {"tracking_uri": "http://user:***@runs.example/ml", "experiments": {"digits": "7"}}
    Path("results/mlflow.json").write_text(json.dumps(place))
    assert main(["ui"]) == 0
    told = capsys.readouterr().out
    assert (
        "digits: headline metrics http://runs.example/ml/#/experiments/7/runs?viewStateShareKey=headline"
        in told
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.example")
    assert main(["ui"]) == 0
    assert (
        capsys.readouterr().out == "http://elsewhere.example: has all runs; `mmjsd publish` describes them\n"
    )
