"""Locks between processes, also where the file system refuses flock."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmjsd.provenance import locks
from mmjsd.provenance.locks import HOST, at_work, exclusive

HOLD = """
import sys, time
from pathlib import Path
from mmjsd.provenance import locks
if sys.argv[3:]:
    locks.fcntl.flock = lambda *_: (_ for _ in ()).throw(OSError(int(sys.argv[3]), "refused"))
with getattr(locks, sys.argv[1])(Path(sys.argv[2])) as state:
    print(state, flush=True)
    time.sleep(60)
"""


def holding(how: str, path: Path, *refused: int) -> subprocess.Popen[str]:
    """Another process that holds a lock until it is killed."""
    command = [sys.executable, "-c", HOLD, how, str(path), *map(str, refused)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().strip() in ("True", "False")
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(params=[None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=str)
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The error number of a flock that is refused, or nothing."""
    locks._flock_fault.cache_clear()
    if request.param is None:
        return []

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return [request.param]


def test_one_at_a_time(tmp_path: Path, refused: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "folder/made.lock"
    with exclusive(path) as waited:
        assert not waited
    process = holding("exclusive", path, *refused)
    started = time.monotonic()
    threading.Timer(1, end, [process]).start()
    with exclusive(path, "made: another process is making it"):
        assert time.monotonic() - started > 0.5
    assert "made: another process is making it" in capsys.readouterr().out


@pytest.mark.parametrize("refused", [errno.ENOLCK], indirect=True)
@pytest.mark.usefixtures("refused")
def test_what_flock_left_behind_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "made.lock").touch()
    with exclusive(tmp_path / "made.lock") as waited:
        assert not waited


def test_those_at_work_know_of_each_other(tmp_path: Path, refused: list[int]) -> None:
    folder = tmp_path / "work"
    with at_work(folder) as alone:
        assert alone
    process = holding("at_work", folder, *refused)
    with at_work(folder) as alone:
        assert not alone
    end(process)
    with at_work(folder) as alone:
        assert alone
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("refused", [errno.ENOLCK], indirect=True)  # flock itself knows
@pytest.mark.usefixtures("refused")
def test_a_lock_of_another_host_is_not_taken_for_dead(tmp_path: Path) -> None:
    lock = tmp_path / "another-host.1.locked"
    lock.write_text("99999999\nanother-host\n")
    with at_work(tmp_path) as alone:
        assert not alone
    assert lock.exists()


def test_hosts_at_work_know_of_each_other(
    tmp_path: Path, refused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one folder, by processes that may have the same number."""
    with at_work(tmp_path) as alone:
        assert alone
        monkeypatch.setattr(locks, "HOST", f"{HOST}-2")
        locks._flock_fault.cache_clear()
        with at_work(tmp_path) as second:
            assert not second
        monkeypatch.undo()
    assert [path for path in tmp_path.iterdir() if "lock" in path.name] == []


def test_it_is_said_once_that_there_is_no_flock(
    tmp_path: Path, refused: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    with at_work(tmp_path):
        pass
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(refused)
    assert all("has no flock" in line and "deleted by hand" in line for line in told)


def test_other_faults_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks._flock_fault.cache_clear()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), exclusive(tmp_path / "a.lock"):
        pass


def test_hosts_in_names() -> None:
    assert os.sep not in HOST
