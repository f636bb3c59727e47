"""Folders that are there whole or not at all, and the packages that writing them takes."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmjsd.errors import MmjsdError

__all__ = ["require", "whole_folder"]


def require(extra: str, *packages: str) -> None:
    """Make sure that the packages of an extra of mmjsd are installed.

    Raises:
        MmjsdError: one is not.
    """
    if missing := [package for package in packages if not importlib.util.find_spec(package)]:
        raise MmjsdError(
            f"{missing[0]}: is not installed; in a project of yours `uv add 'mmjsd[{extra}]'` or "
            f"`pip install 'mmjsd[{extra}]'` adds it, in a clone `uv run --extra {extra}`"
        )


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which has its name once all is written, and is gone if that fails.

    Raises:
        MmjsdError: there is something of that name, other than an empty folder.
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise MmjsdError(f"{path}: is a file; name a folder that is empty or not there yet")
    if path.is_dir() and any(path.iterdir()):
        raise MmjsdError(f"{path}: is not empty; name a folder that is empty or not there yet")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as unfinished:
        folder = Path(unfinished) / "whole"
        folder.mkdir()  # unlike the temporary one it is for others, too
        yield folder
        os.replace(folder, path)
