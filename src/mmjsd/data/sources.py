"""The source of a dataset: a stand-in, a download, or a folder that holds the files.

What a ``source`` may be is asked nowhere else.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

__all__ = ["Origin", "effective", "files_of", "origin", "place_of"]

Origin = Literal["standin", "download", "folder"]
Files = dict[str, Path]


def origin(source: str) -> Origin:
    """Tell which of the three a source is. Where a folder lies is not part of the data."""
    match source:
        case "standin" | "download":
            return source
        case _:
            return "folder"


def place_of(source: str, dataset: str) -> Path:
    """Tell where the files of a dataset lie, or are put."""
    match origin(source):
        case "standin":
            return Path("sources/standin") / dataset
        case "download":
            return Path("sources/official")
        case "folder":
            return Path(source)


def files_of(
    source: str,
    folder: str | Path,
    *,
    standin: Callable[[Path], Files],
    download: Callable[[Path], Files],
    find: Callable[[Path], Files],
) -> Files:
    """Generate the files of a dataset into ``folder``, download them there, or find them in the source.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: the files cannot be written, had or found.
    """
    match origin(source):
        case "standin":
            return standin(Path(folder))
        case "download":
            return download(Path(folder))
        case "folder":
            return find(Path(source))


def effective(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that make no difference: those of the stand-in, for real files."""
    generated = origin(source) == "standin"
    return {name: value for name, value in options.items() if generated or not name.startswith("standin_")}
