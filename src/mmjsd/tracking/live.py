"""Live tracking: a training tells a process beside it of each epoch, and that logs to MLflow.

MLflow takes seconds to import, and a server may hang: none of that can stop or slow training. The process has
a pipe as input, and ends when that closes, however training ends. What could not be logged is logged when the
store answers again, at the latest when `track` completes the run.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.flat import flat
from mmjsd.provenance.environment import describe
from mmjsd.tracking.begun import begun_run, note_run
from mmjsd.tracking.connection import connect, quiet_mlflow
from mmjsd.tracking.faults import explain
from mmjsd.tracking.logged import Logged, curves
from mmjsd.tracking.runs import SAMPLES, begin, find_unfinished, nest
from mmjsd.tracking.store import tracking_store, why_silent, without_passwords
from mmjsd.training.history import Row

__all__ = ["logging_live"]

_LATER = "training goes on, and what is missing is logged later, at the latest by `mmjsd track`"

_RETRY = 10.0  # seconds between attempts on a store that fails, between epochs

#: Seconds that the end of training waits for what is still to be logged. A call to a server may last half.
_PATIENCE = 10.0


@contextmanager
def logging_live(
    folder: Path,
    *,
    experiment: str,
    key: str,
    name: str,
    params: Mapping[str, Any],
    fingerprint: str,
    resumed: bool,
    sweep: Mapping[str, Any] | None = None,
) -> Iterator[Callable[[list[Row]], None]]:
    """Log a training to MLflow while it lasts; nothing of it can fail or wait for anything.

    A line says so if a server does not answer, and that is asked before.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, where `live.json` notes the run of MLflow. What is drawn
            into its folder `samples` is logged, too.
        experiment, key, name, sweep: as `track` has them.
        params: of the training.
        fingerprint: of all that determines its result.
        resumed: whether it goes on from a checkpoint: then it goes on in the same run of MLflow.

    Yields:
        What is to be called with the history after each epoch.
    """
    store = tracking_store()
    silence = why_silent(store)
    if silence:
        _tell(f"{store.shown}: does not answer ({silence}); {_LATER}")
    about: dict[str, Any] = {"experiment": experiment, "key": key, "name": name, "sweep": sweep}
    # the dataset's key is the experiment; `track` logs what is behind it, by longer names
    own = {key: str(value) for key, value in flat(params) if key != "dataset"}
    about |= {"params": own, "folder": str(folder.absolute())}
    about |= {"fingerprint": fingerprint, "resumed": resumed, "is_told": silence is not None}
    try:
        logger = _Logger(about)
    except OSError as error:  # there may be no process more, or no memory for it
        _tell(f"{name}: is not logged live ({error.strerror}); `mmjsd track` logs it")
        yield lambda history: None
        return
    sent, status = 0, "FINISHED"

    def send(history: list[Row]) -> None:
        nonlocal sent
        logger.send(*history[sent:])
        sent = len(history)

    try:
        yield send
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        raise
    finally:
        logger.end(status)


class _Logger:
    """The process beside training, as training sees it."""

    def __init__(self, about: Mapping[str, Any]):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            process_group=0,  # Ctrl-C is for training, which tells it when to end
        )
        assert self.process.stdin
        self.pipe, self.unsent = self.process.stdin, b""
        os.set_blocking(self.pipe.fileno(), False)
        self.name = about["name"]
        self.send(about)

    def send(self, *messages: Mapping[str, Any]) -> None:
        """Send what the pipe takes at once, and keep the rest for the next time."""
        if self.pipe.closed:
            return
        self.unsent += b"".join(json.dumps(message, allow_nan=False).encode() + b"\n" for message in messages)
        try:
            self.unsent = self.unsent[self.pipe.write(self.unsent) or 0 :]
        except OSError:
            self.pipe.close()
            _tell(f"{self.name}: the process that logs it to MLflow has ended; {_LATER}")

    def end(self, status: str) -> None:
        """Have the last of it logged, unless nothing is yet."""
        self.send({"status": status})
        deadline = time.monotonic() + _PATIENCE
        while self.unsent and not self.pipe.closed and time.monotonic() < deadline:
            select.select([], [self.pipe], [], _PATIENCE)
            self.send()
        self.pipe.close()
        self.process.terminate()  # it minds that until it has begun
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a file system that hangs
                self.process.wait(1)


def _tell(line: str) -> None:
    print(without_passwords(line), file=sys.stderr, flush=True)


# --- in the process beside training -----------------------------------------------------------------------


def _main() -> None:
    os.nice(5)  # one of 10 waits minutes for its imports where trainings keep all cores busy
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # one that does not answer is asked again later, and not within a call
    os.environ |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{_PATIENCE / 2:.0f}",
    }
    messages = _Messages()
    about, *rows = messages.read(None) or sys.exit()  # training was never begun
    live = _Live(about)
    live.take(rows)
    with quiet_mlflow():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while not messages.ended:
            live.attempt()
            live.take(messages.read(_RETRY if live.is_failing else None))
        live.attempt(live.end)


class _Messages:
    """What training sends: a JSON object a line."""

    def __init__(self) -> None:
        self.rest, self.ended = b"", False

    def read(self, seconds: float | None) -> list[dict[str, Any]]:
        """Wait for messages, so many seconds at most, and give those that are there."""
        lines: list[bytes] = []
        while not (lines or self.ended) and select.select([0], [], [], seconds)[0]:
            content = os.read(0, 2**20)
            self.ended = not content
            *lines, self.rest = (self.rest + content).split(b"\n")
        return [json.loads(line) for line in lines]


class _Live:
    """What is known of a training, and what of that MLflow has."""

    def __init__(self, about: Mapping[str, Any]):
        self.about, self.folder = about, Path(about["folder"])
        self.is_failing = self.is_told = about["is_told"]
        self.store = tracking_store()
        self.tags = {"pipeline.key": about["key"], **describe()}  # of the working directory
        os.chdir(self.store.folder)
        self.rows: list[Row] = []
        self.times: dict[int, int] = {}
        self.pictures: set[str] = set()
        self.status = "KILLED"
        self.run_id: str | None = None
        self.logged: Logged | None = None

    def take(self, messages: list[dict[str, Any]]) -> None:
        """Take in what training has sent."""
        for message in messages:
            if "status" in message:
                self.status = message["status"]
            else:
                # logged again if nobody knows whether it was, it is there once, for its time is the same
                self.times.setdefault(message["epoch"], int(time.time() * 1000))
                self.rows.append(message)

    def attempt(self, do: Callable[[], None] | None = None) -> None:
        """Bring MLflow up to date, and say so once if that fails."""
        try:
            # a server that hangs would not be found out within the seconds of a call
            if self.is_failing and (silence := why_silent(self.store)):
                raise TimeoutError(silence)
            (do or self.log)()
            if self.is_told:
                _tell(f"{self.store.shown}: {self.about['name']} is logged live from here on")
            self.is_failing = self.is_told = False
        except Exception as error:  # of MLflow, or of what it uses
            if not self.is_told:
                said = str(error) if isinstance(error, MmjsdError) else self._explained(error)
                _tell(f"{self.store.shown}: {self.about['name']} is not logged live ({said}); {_LATER}")
            self.is_failing = self.is_told = True

    def _explained(self, error: Exception) -> str:
        said = explain(error, is_server=self.store.is_server) or f"{type(error).__name__}: {error}"
        return " ".join(said.partition(";")[0].split())  # the remedy is for who waits for it

    def log(self) -> None:
        """Log what is missing."""
        logged = self.logged = self.logged or self._begun()
        if self.rows:
            logged.metrics(curves(self.rows), times=self.times)
            self.rows = []
        for picture in sorted((self.folder / SAMPLES).glob("*.png")):
            if picture.name not in self.pictures:
                logged.client.log_artifact(logged.run_id, str(picture), SAMPLES)
                self.pictures.add(picture.name)

    def end(self) -> None:
        """Log what is missing, and how training has ended."""
        try:
            if self.logged or self.rows:
                self.log()
        finally:
            if self.logged:
                self.logged.client.set_terminated(self.logged.run_id, self.status)

    def _begun(self) -> Logged:
        """The run of MLflow: that of before, if the training goes on."""
        about = self.about
        client, experiment_id = connect(self.store, about["experiment"])
        if not self.run_id and (noted := begun_run(self.folder, self.store)):
            run_id, fingerprint = noted
            if about["resumed"] and fingerprint == about["fingerprint"]:
                self.run_id = run_id
            elif (
                before := find_unfinished(client, experiment_id, run_id)
            ) and before.info.status == "RUNNING":
                client.set_terminated(run_id, "KILLED")  # nobody goes on with it
        nesting = nest(client, experiment_id, self.store, about["experiment"], about["sweep"])
        logged = begin(client, experiment_id, about["name"], self.tags | nesting, self.run_id)
        self.run_id = logged.run_id  # if what follows fails, it is not begun again
        note_run(self.folder, self.store, logged.run_id, about["fingerprint"])
        logged.params(about["params"])
        known = logged.times()
        self.times |= known
        self.rows = [row for row in self.rows if row["epoch"] not in known]
        return logged


if __name__ == "__main__":
    try:
        _main()
    except Exception as fault:  # MLflow may not even be imported
        _tell(f"the process that logs to MLflow fails ({type(fault).__name__}: {fault}); {_LATER}")
        sys.exit(1)
