"""Files written whole or not at all, and their digests."""

import glob
import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.provenance.locks import HOST

__all__ = ["atomic_write", "digest_of", "read_json", "sha256_file", "temporary_name"]


def temporary_name(path: Path) -> Path:
    """Give the name beside ``path`` to write under until the file is whole.

    What killed processes left under such names is removed.

    Raises:
        OSError: it cannot be removed.
    """
    ours = f".{path.name}.{HOST}."  # of processes elsewhere nothing is known
    for left in path.parent.glob(f"{glob.escape(ours)}*.tmp"):
        process = left.name.removeprefix(ours).removesuffix(".tmp")
        # else of a host whose name begins with that of this one, as node1.cluster does with node1
        if process.isdecimal() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)
    return path.with_name(f"{ours}{os.getpid()}.tmp")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write a file so that at no moment, and after no failure, a partial one has its name.

    Raises:
        OSError: it cannot be written; the error names ``path``, whose old content is untouched.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        temporary = temporary_name(path)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave the new name and not the content
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def read_json(path: Path, command: str) -> dict[str, Any]:
    """Read a mapping that a step wrote.

    Raises:
        MmjsdError: missing or damaged; the line names the command of mmjsd that makes it.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; make it with `mmjsd {command}`") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise MmjsdError(f"{path}: damaged; make it again with `mmjsd {command}`")
    return content


def digest_of(value: Any) -> str:
    """Compute the sha256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Compute the sha256 of a file's content; a file is read once per process unless it changes."""
    status = os.stat(path)
    return _sha256(str(path), status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: str, *_identity: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
