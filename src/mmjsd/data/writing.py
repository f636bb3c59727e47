"""Files that are written whole or not at all, and one plain line where they cannot be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import temporary_name

__all__ = ["explaining", "replacement", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a :func:`replacement` of ``path``, and explain errors.

    Raises:
        MmjsdError: the file cannot be written.
    """
    with explaining(path), replacement(path) as temporary:
        yield temporary


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` to write to; it becomes ``path`` at the end.

    If writing fails it vanishes, and what was there is untouched.

    Raises:
        OSError: the folder cannot be made, or the file not be given its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn an error of writing ``path`` into a line that names it.

    Raises:
        MmjsdError: for any error of the file system or of HDF5.
    """
    try:
        yield
    # HDF5 reports a full disk as either
    except (OSError, RuntimeError) as error:
        # HDF5's own text has many lines
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error).split("\n")[0]
        raise MmjsdError(
            f"{path}: cannot be written ({reason}); check folder, permissions and space"
        ) from None
