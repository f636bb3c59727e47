"""Files that are written whole or not at all, and one plain line where they cannot be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmjsd.errors import MmjsdError
from mmjsd.records import temporary_name

__all__ = ["replacing", "taking_the_place_of", "telling"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` to write to; it becomes ``path`` at the end, or vanishes.

    Raises:
        MmjsdError: the file cannot be written; what was there is untouched.
    """
    with telling(path), taking_the_place_of(path) as temporary:
        yield temporary


@contextmanager
def taking_the_place_of(path: Path) -> Iterator[Path]:
    """Do as :func:`replacing`, and leave it to the caller to explain errors.

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
def telling(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is written into a line that names it.

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
