"""With a real MLflow store, and a real process that logs to it."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from mmjsd.interruption import Interrupted
from mmjsd.params import Run
from mmjsd.provenance.records import fingerprint_of, read_record
from mmjsd.tracking.begun import NOTE, unfinished_run
from mmjsd.tracking.live import logging_live
from mmjsd.tracking.runs import track
from mmjsd.training.history import Row, read_history, write_history
from support.mlflow_server import server
from support.project import SMALLEST, Project, finished

FOLDER = Path("results/tiny/js/seed-1")
NAMES: dict[str, Any] = {"experiment": "tiny", "key": "tiny/js/1", "name": "js"}
SWEEP = {"name": "betas", "keys": ["beta"]}
ROWS: list[Row] = [
    {"epoch": n, "loss": 10.0 / n, "divergence/content": 0.5, "samples_per_second": 9.0, "seconds": 0.1 * n}
    for n in range(1, 5)
]


@pytest.fixture
def trained(evaluated: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that is evaluated, of which the epochs are those above."""
    shutil.copy(empty_database, "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{evaluated / 'mlflow.db'}")
    write_history(FOLDER / "history.csv", ROWS)
    (FOLDER / "figures").mkdir()
    return FOLDER


def live(folder: Path = FOLDER, **changes: Any) -> contextlib.AbstractContextManager[Callable]:
    record = read_record(folder / "training.record.json")
    about = {
        "params": record["params"],
        "fingerprint": fingerprint_of(record, Run.ADJUSTABLE),
        "resumed": False,
    }
    return logging_live(folder, **{**NAMES, **about, **changes})


def completed(**changes: Any) -> None:
    record = read_record(FOLDER / "training.record.json")
    dataset = {"kind": "mnist_svhn_text", "source": "standin"}
    changes = {"run": record["params"], "dataset": dataset, "evaluation": {}} | changes
    track(FOLDER, Path("data/tiny.h5"), **NAMES, **changes)


def asked(query: str, database: Path = Path("mlflow.db")) -> list[tuple]:
    if not database.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        try:
            return opened.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are being made
            return []


def statuses(name: str = "js") -> list[str]:
    active = f"select status from runs where name = '{name}' and lifecycle_stage = 'active'"
    return [status for (status,) in asked(f"{active} order by start_time")]


def curve(key: str = "train/loss", table: str = "metrics", database: Path = Path("mlflow.db")) -> list[tuple]:
    names = "key, step, value" if table == "metrics" else "metric_name, metric_step, metric_value"
    found = asked(f"select {names} from {table} order by 2", database)
    return [(step, value) for name, step, value in found if name == key]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def losses(count: int) -> list[tuple[int, float]]:
    return [(int(row["epoch"]), row["loss"]) for row in ROWS[:count]]


def loggers() -> list[psutil.Process]:
    """Those that run; other tests leave other processes behind."""
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [process for process in running if "mmjsd.tracking.live" in process.cmdline()]


def logger() -> psutil.Process:
    (process,) = loggers()
    return process


def test_a_curve_grows_in_the_run_that_is_completed(trained: Path) -> None:
    with live(sweep=SWEEP) as log:
        for count in (1, 2, 3):
            if count == 2:
                (trained / "samples").mkdir()
                (trained / "samples/epoch-2.png").write_bytes(b"a picture")
            log(ROWS[:count])
            until(lambda count=count: curve() == losses(count))
        assert (statuses(), statuses("betas")) == (["RUNNING"], ["FINISHED"])
        (parent,) = asked("select value from tags where key = 'mlflow.parentRunId'")
        assert [parent] == asked("select run_uuid from runs where name = 'betas'")
        log(ROWS)
    assert curve() == losses(4)
    assert statuses() == ["FINISHED"]
    run = json.loads((trained / NOTE).read_bytes())["run_id"]
    pictures = Path("mlruns", run, "artifacts/samples")
    assert [path.name for path in pictures.iterdir()] == ["epoch-2.png"]
    assert unfinished_run(trained) == run

    with sqlite3.connect("mlflow.db") as opened:  # somebody describes it
        opened.execute(
            "insert into tags (key, value, run_uuid) values ('mlflow.note.content', 'mine', ?)", [run]
        )
    completed(sweep=SWEEP)
    assert asked("select value from tags where key = 'mlflow.note.content'") == [("mine",)]
    assert json.loads((trained / "mlflow.json").read_bytes())["run_id"] == run
    assert unfinished_run(trained) is None  # not twice
    assert statuses() == ["FINISHED"]
    for key in ("loss", "seconds", "samples_per_second", "divergence/content"):
        expected = [(int(row["epoch"]), row[key]) for row in ROWS]
        assert curve(f"train/{key}") == expected
        assert curve(f"train/{key}", "logged_model_metrics") == expected
    assert {"figures", "samples", "history.csv", "metrics.json"} >= {
        path.name for path in pictures.parent.iterdir()
    }
    logged = {key for (key,) in asked("select key from params")}
    assert {"shared_latent", "seed", "dataset.source"} <= logged
    assert "dataset" not in logged
    assert asked("select count(*) from metrics where key = 'coherence/random'") == [(1,)]

    completed(sweep=SWEEP)  # again: a new run in its place
    assert json.loads((trained / "mlflow.json").read_bytes())["run_id"] != run
    assert statuses() == ["FINISHED"]


def ends_by(error: BaseException, count: int, **changes: Any) -> None:
    """A training that is told of so many epochs, and then ends by an error."""
    with pytest.raises(type(error)), live(**changes) as log:  # noqa: PT012
        log(ROWS[:count])
        until(lambda: curve() == losses(count))
        raise error


def test_a_resumed_training_goes_on_in_its_run(trained: Path) -> None:
    ends_by(Interrupted(signal.SIGTERM, "saved"), 2)
    assert statuses() == ["KILLED"]
    with live(resumed=True) as log:
        until(lambda: statuses() == ["RUNNING"])
        log(ROWS[:3])
    assert (statuses(), curve()) == (["FINISHED"], losses(3))
    ends_by(ZeroDivisionError(), 4, resumed=True)
    assert statuses() == ["FAILED"]

    # another training leaves it alone, and it running for ever neither
    with live(resumed=True):
        until(lambda: statuses() == ["RUNNING"])
        logger().kill()
    assert statuses() == ["RUNNING"]
    with live(fingerprint="of other parameters", resumed=True) as log:
        until(lambda: statuses() == ["KILLED", "RUNNING"])
        log(ROWS[:1])
    assert statuses() == ["KILLED", "FINISHED"]
    assert unfinished_run(trained) is None  # for it is not of the model that is there
    completed()
    assert statuses() == ["FINISHED"]


def test_several_trainings_log_at_once(trained: Path) -> None:
    """While finished ones are completed, and into a database that is not there yet."""
    Path("mlflow.db").unlink()
    many = [ROWS[0] | {"epoch": n} for n in range(1, 41)]
    with contextlib.ExitStack() as stack:
        logs = []
        for number in range(3):
            (folder := trained.with_name(f"seed-{number + 2}")).mkdir()
            shutil.copy(trained / "training.record.json", folder)
            names = {"key": f"tiny/js/{number + 2}", "name": f"other-{number}", "sweep": SWEEP}
            logs.append(stack.enter_context(live(folder, **names)))
        completed()
        for count in range(1, 41):
            for log in logs:
                log(many[:count])
            if count == 20:
                until(lambda: all(statuses(f"other-{number}") for number in range(3)))
                completed()
    for number in range(3):
        assert statuses(f"other-{number}") == ["FINISHED"]
        of_it = f"select count(*) from metrics join runs using (run_uuid) where name = 'other-{number}'"
        assert asked(f"{of_it} and key = 'train/loss'") == [(40,)]
    assert (statuses(), statuses("betas")) == (["FINISHED"], ["FINISHED"])


def test_a_deleted_run_is_not_completed(trained: Path) -> None:
    with live() as log:
        log(ROWS)
        until(curve)
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("update runs set lifecycle_stage = 'deleted'")
    completed()
    assert statuses() == ["FINISHED"]
    assert len(curve()) == 8


def test_a_run_that_is_half_complete_is_logged_anew(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live() as log:
        log(ROWS)
        until(curve)
    importlib.import_module("mlflow.pytorch")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["mlflow.pytorch"], "save_model", Mock(side_effect=ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            completed()
    assert statuses() == ["FAILED"]
    completed(evaluation={"other": 1})
    assert statuses() == ["FINISHED"]


def test_a_server_that_comes_later(
    trained: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    address, database = f"http://127.0.0.1:{port}", tmp_path / "server/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with live() as log:
        assert capfd.readouterr().err.startswith(f"{address}: does not answer (")  # before training
        log(ROWS[:2])
        with server(tmp_path / "server", port):
            # not only until they are there: a server that ends before it has said so was never back
            until(lambda: "js is logged live from here on" in capfd.readouterr().err)
            assert curve(database=database) == losses(2)
        log(ROWS[:3])
        until(lambda: "is not logged live (no server answers); training goes on" in capfd.readouterr().err)
    with server(tmp_path / "server", port):
        completed()
    assert curve(database=database) == losses(4)
    assert asked("select status from runs", database) == [("FINISHED",)]


def test_a_server_that_never_answers(
    trained: Path, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", port)) as hanging, live() as log:
        log(ROWS)
        assert capfd.readouterr().err.count("does not answer (timed out); training goes on") == 1
        for _ in range(2):  # asked before training, and beside it
            assert hanging.accept()[0].recv(1000).startswith(b"GET /health")
    assert capfd.readouterr().err == ""  # told once
    assert not loggers()
    assert not (trained / NOTE).exists()


def test_a_database_that_cannot_be_used(trained: Path, capfd: pytest.CaptureFixture) -> None:
    Path("mlflow.db").write_bytes(b"no database, but long enough to be one" * 100)
    with live() as log:
        log(ROWS)
        until(lambda: "js is not logged live (it is damaged, or no database); " in capfd.readouterr().err)


def test_a_process_that_stops_or_is_killed_holds_up_nothing(
    trained: Path, capfd: pytest.CaptureFixture
) -> None:
    many = [ROWS[0] | {"epoch": n} for n in range(1, 5001)]
    with live() as log:
        logger().suspend()
        for count in range(0, len(many), 100):  # many times what a pipe takes
            log(many[: count + 100])
        logger().kill()
        until(lambda: not loggers())
        log([*many, many[-1]])
        log([*many, many[-1], many[-1]])
    assert capfd.readouterr().err.count("the process that logs it to MLflow has ended; training goes on") == 1
    completed()
    assert curve() == losses(4)


def test_no_process_to_be_had(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/not/there")
    with live() as log:
        log(ROWS)
    assert (
        "js: is not logged live (No such file or directory); `mmjsd track` logs it" in capfd.readouterr().err
    )


TRAINING = """
import sys, time
from pathlib import Path
from mmjsd.tracking.live import logging_live
names = {"experiment": "tiny", "key": "tiny/js/1", "name": "js"}
with logging_live(Path(sys.argv[1]), **names, params={}, fingerprint="f", resumed=False) as log:
    log([{"epoch": 1, "loss": 1.0}])
    time.sleep(600)
"""


def test_training_that_is_killed(trained: Path) -> None:
    training = subprocess.Popen([sys.executable, "-c", TRAINING, str(trained)])
    until(lambda: curve() == [(1, 1.0)])
    (child,) = psutil.Process(training.pid).children()
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    until(lambda: not child.is_running())
    assert statuses() == ["KILLED"]


@contextlib.contextmanager
def halted(process: subprocess.Popen[str], text: str) -> Iterator[None]:
    """Training stands still from an epoch on while this lasts, so that MLflow can be looked at."""
    assert process.stdout
    assert any(text in line for line in process.stdout)
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


def test_training_is_the_same(made_here: Path, tmp_path: Path) -> None:
    """As a step, with Ctrl-C to the whole group, as without live tracking and pictures."""
    projects = {}
    for tracking in ("after", "live"):
        (tmp_path / tracking / "data").mkdir(parents=True)
        for path in (made_here / "data").iterdir():
            (tmp_path / tracking / "data" / path.name).symlink_to(path)
        projects[tracking] = Project(tmp_path / tracking)
    every = {"after": {}, "live": {"sample_every": 20}}
    for tracking, project in projects.items():
        training = SMALLEST["training"] | {"epochs": 60, "tracking": tracking} | every[tracking]
        project.write(SMALLEST | {"training": training})
    assert projects["after"].run("train js").code == 0

    project = projects["live"]
    database = project.folder / "mlflow.db"
    process = project.start("train js")
    with halted(process, "epoch 3/"):
        until(lambda: curve(database=database))
    os.killpg(process.pid, signal.SIGINT)
    interrupted = finished(process)
    assert interrupted.code == 130
    assert interrupted.output.splitlines()[-1].endswith("saved; the same command goes on from there")
    assert asked("select status from runs", database) == [("KILLED",)]
    process = project.start("train js")
    with halted(process, "epoch 30/"):
        until(lambda: asked("select status from runs", database) == [("RUNNING",)])
    assert finished(process).code == 0
    assert asked("select status from runs", database) == [("FINISHED",)]

    model, pictures = (project.folder / FOLDER / name for name in ("model.safetensors", "samples"))
    assert model.read_bytes() == (projects["after"].folder / FOLDER / model.name).read_bytes()
    history = [
        (int(row["epoch"]), row["loss"]) for row in read_history(project.folder / FOLDER / "history.csv")
    ]
    assert history == curve(database=database)
    assert sorted(path.name for path in pictures.iterdir()) == [f"epoch-{n}.png" for n in (20, 40, 60)]
    assert not (projects["after"].folder / FOLDER / pictures.name).exists()
    assert not (projects["after"].folder / database.name).exists()

    # the pictures of another training are not taken for its own
    project.write(SMALLEST | {"training": SMALLEST["training"] | {"epochs": 2}})
    assert project.run("train js").code == 0
    assert not pictures.exists()
