"""Official files where people have them, under the names that they get on the way."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmjsd.errors import MmjsdError

__all__ = ["find", "is_foreign"]

_MOST_NAMED = 5


def find(folder: str | Path, wanted: Sequence[Sequence[str]], subfolders: Sequence[str]) -> dict[str, Path]:
    """Find official files in ``folder`` or its usual subfolders.

    Upper and lower case don't matter, nor whether 7-Zip or Kaggle wrote ``.idx3-ubyte`` for ``-idx3-ubyte``,
    nor whether a file lies in a folder of its own name.

    Args:
        folder: Where they are.
        wanted: Spellings of each, the preferred one first; those of folders end in ``/``.
        subfolders: Names of these.

    Returns:
        The spelling of each, in the order of ``wanted`` -> its path.

    Raises:
        MmjsdError: some are missing (names all of them, and what is there instead), or the folder cannot be
            read.
    """
    try:
        return _find(Path(folder), wanted, subfolders)
    except OSError as error:
        raise MmjsdError(
            f"{error.filename or folder}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def is_foreign(name: str) -> bool:
    """Tell whether a file is one that systems leave behind wherever they look: hidden, or of Windows."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def _find(folder: Path, wanted: Sequence[Sequence[str]], subfolders: Sequence[str]) -> dict[str, Path]:
    places = [folder, *(folder / sub for sub in subfolders)]
    found: dict[str, Path] = {}
    missing = []
    for spellings in wanted:
        tried = ((spelling, _in(place, spelling)) for spelling in spellings for place in places)
        spelling, path = next(((s, p) for s, p in tried if p), (None, None))
        if spelling and path:
            found[spelling] = path
        else:
            missing.append(" or ".join(spellings))
    if missing:
        raise MmjsdError(
            f"{folder}: no {', no '.join(missing)}; put the official files there "
            f"(looked in it and in its folders {', '.join(subfolders)}; {_instead(places, found)})"
        )
    return found


def _in(place: Path, spelling: str) -> Path | None:
    """Find the file, or folder, of that name in a folder, or in a folder of the same name in it."""
    exact = place / spelling
    path = exact if exact.exists() else next((p for p in _listed(place) if _same(p.name, spelling)), None)
    if path and path.is_dir():
        nested = path / path.name
        inner = nested if nested.exists() else None
        if spelling.endswith("/"):
            return inner if inner and inner.is_dir() else path
        path = inner or next((p for p in _listed(path) if _same(p.name, spelling)), None)
    elif spelling.endswith("/"):
        return None
    return path if path and path.is_file() else None


def _same(name: str, spelling: str) -> bool:
    return name.lower().replace(".idx", "-idx") == spelling.rstrip("/").lower()


def _listed(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(Path(entry) for entry in os.scandir(folder) if not is_foreign(entry.name))


def _instead(places: Sequence[Path], found: dict[str, Path]) -> str:
    known = {*places, *found.values()}
    others = [str(p.relative_to(places[0])) for place in places for p in _listed(place) if p not in known]
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return f"there is {', '.join(others[:_MOST_NAMED])}{more}" if others else "there is nothing else"
