"""Locks between processes, on file systems with and without flock.

The system releases a flock however a process ends. Some network file systems refuse it (Lustre without the
mount option, NFS without lockd). There a lock is a file that names its holder's host and process: that of a
dead process of this host is taken over, that of another host is left to people.
"""

import errno
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

__all__ = ["HOST", "at_work", "exclusive"]


def _host() -> str:
    name = platform.node().replace(os.sep, "-") or "localhost"
    # containers may share a name and a folder, but number their processes apart
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not on Linux
        return name
    return name if namespace == 0xEFFFFFFC else f"{name}-{namespace:x}"  # that of the machine itself


#: Where process ids are those of this process, as names of temporary files and locks carry it.
HOST = _host()

_REFUSED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def exclusive(path: Path, waiting: str = "", *, mode: int = 0o644) -> Iterator[bool]:
    """Hold a lock, once no other process does.

    Args:
        path: of the lock, in a folder that is made where missing.
        waiting: printed if another process holds it.
        mode: permissions of its file, less the umask.

    Yields:
        Whether another process held it.

    Raises:
        OSError: the folder cannot be written to.
    """
    lock, waited = _lock(path, mode), False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waited = True
        if waiting:
            print(waiting, flush=True)
        lock.acquire(poll_interval=0.5)
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def at_work(folder: Path) -> Iterator[bool]:
    """Be one of the processes at work in a folder, for as long as this lasts.

    Args:
        folder: of their locks, made where missing.

    Yields:
        Whether there is no other.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fault := _flock_fault(folder):
        print(
            f"{folder}: its file system has no flock ({fault}); locks are plain files there, and one that a "
            "process killed on another host left has to be deleted by hand",
            file=sys.stderr,
        )
    own = folder / f"{HOST}.{os.getpid()}.lock"
    with exclusive(own):
        try:
            yield not any(_is_held(other) for other in folder.glob("*.lock*") if other.stem != own.stem)
        finally:
            own.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock; one that none holds is removed."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _lock(path: Path, mode: int = 0o644) -> BaseFileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    if _flock_fault(path.parent):
        # another name: flock leaves its file behind, and without flock the file is the lock
        return SoftFileLock(path.with_suffix(".locked"), mode=mode)
    return FileLock(path.with_suffix(".lock"), mode=mode)


@cache
def _flock_fault(folder: Path) -> str | None:
    """Why the file system of a folder has no flock, if it has none."""
    probe = folder / f".{HOST}.{os.getpid()}.flock.tmp"
    descriptor = os.open(probe, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return os.strerror(error.errno)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)
    return None
