"""What the `source` of a dataset may be: a stand-in, a download, or a folder that holds the files.

That is asked nowhere else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = ["ORIGINS", "Origin", "described", "effective", "origin", "place_of"]

Origin = Literal["standin", "download", "folder"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


def origin(source: str) -> Origin:
    """Tell which of the three a source is. Where a folder lies is not part of the data."""
    match source:
        case "standin" | "download":
            return source
        case _:
            return "folder"


def described(source: str) -> str:
    """Say what data are by their source, as part of a sentence; how real own files are, nobody knows."""
    match origin(source):
        case "standin":
            return "stand-in data"
        case "download":
            return "the official files"
        case "folder":
            return "own files"


def place_of(source: str, dataset: str) -> Path:
    """Tell where the files of a dataset lie, or are put."""
    match origin(source):
        case "standin":
            return Path("sources/standin") / dataset
        case "download":
            return Path("sources/official")
        case "folder":
            return Path(source)


def effective(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that make no difference: those of the stand-in, for real files."""
    generated = origin(source) == "standin"
    return {name: value for name, value in options.items() if generated or not name.startswith("standin_")}
