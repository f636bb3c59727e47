"""The one exception users see, and the words that its lines share."""

import difflib
from collections.abc import Collection
from pathlib import Path

__all__ = ["MmjsdError", "choice_of", "did_you_mean", "in_a_line", "in_short"]


class MmjsdError(Exception):
    """A fault of the input: one line that names the file or key and says what to do.

    The command line prints it without a traceback and exits with code 1.
    """


def in_a_line(error: MmjsdError | OSError) -> str:
    """Put an error into the line that people read, files named from the folder they are in."""
    if not isinstance(error, OSError):
        return str(error)
    where = ""
    if error.filename:
        path, here = Path(error.filename), Path.cwd()
        where = f"{path.relative_to(here) if path.is_relative_to(here) else path}: "
    return f"{where}{error.strerror or error}"


def did_you_mean(word: str, known: Collection[str], otherwise: str = "known are") -> str:
    """Tell the nearest of the known words, or all of them."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"{otherwise} {', '.join(known)}"


def choice_of(names: Collection[str]) -> str:
    """List names to choose from: 'a', 'b' or 'c'."""
    *first, last = map(repr, names)
    return " or ".join([", ".join(first), last] if first else [last])


def in_short(told: object) -> str:
    """Give the first sentence of a foreign error or warning, or its type where it says nothing."""
    lines = str(told).strip().splitlines() or [type(told).__name__]
    return lines[0].split(". ")[0].rstrip(".")[:200]
