"""The lists of CelebA: attributes of each image, and the split it belongs to.

As the official files have them (``.txt``, blanks between the fields), or with commas, semicolons or tabs
(``.csv``, of Kaggle or a spreadsheet); it is what is in them that says of which kind they are.
"""

import csv
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from mmjsd.data.official import REPLACE
from mmjsd.data.text import spelled
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET

__all__ = [
    "SPLITS",
    "Lists",
    "image_name",
    "read_attributes",
    "read_lists",
    "read_partition",
    "some_of",
]

# no separators and no leading dot: it never leads out of the folder of the images
_IMAGE = re.compile(r"(\w[\w.-]*)\.jpe?g", re.IGNORECASE)

#: By their numbers in the list of the official partition.
SPLITS = ("train", "val", "test")

_ATTRIBUTES = 40


def image_name(name: str) -> str | None:
    """Spell the name of an image as the official lists do, in .jpg (JPG and jpeg mean the same).

    Returns:
        None if it is not the name of an image.
    """
    found = _IMAGE.fullmatch(name)
    if not found:
        return None
    return name if name.endswith(".jpg") else f"{found[1]}.jpg"


class Lists(NamedTuple):
    """What the lists say of N images, in the order of their names."""

    names: list[str]
    attributes: list[str]
    """Names of the 40 attributes."""
    present: NDArray[np.uint8]
    """(N, 40), 1 = present."""
    parts: NDArray[np.int64]
    """(N,): the number of the split."""


def read_lists(attributes: str | Path, partition: str | Path) -> Lists:
    """Read both lists, and hold them against each other.

    Raises:
        MmjsdError: one is missing, damaged or contradicts the other, or a split has no image.
    """
    names, known, present = read_attributes(attributes)
    part_of = read_partition(partition)
    for path, other, without in (
        (partition, attributes, set(names).difference(part_of)),
        (attributes, partition, set(part_of).difference(names)),
    ):
        if without:
            raise MmjsdError(f"{path}: has no row for {some_of(without)} of {other}; {REPLACE}")
    order = np.argsort(names)
    names = [names[row] for row in order]
    parts = np.array([part_of[name] for name in names])
    for part, split in enumerate(SPLITS):
        if part not in parts:
            raise MmjsdError(f"{partition}: has no image of the split {split} ({part}); {REPLACE}")
    return Lists(names, known, present[order], parts)


def some_of(names: Collection[str]) -> str:
    """Name the first, and say how many others there are."""
    return min(names) + (f" and {len(names) - 1} others" if len(names) > 1 else "")


def read_attributes(path: str | Path) -> tuple[list[str], list[str], NDArray[np.uint8]]:
    """Read the list of attributes, ``list_attr_celeba.txt`` or its ``.csv`` variant.

    Returns:
        Names of the N images, names of the 40 attributes, and their values (N, 40), 1 = present.

    Raises:
        MmjsdError: the list is missing, damaged or contradicts itself; names the line.
    """
    path = Path(path)
    separator = _separator(path)
    lines = _fields(path, separator)
    declared = None
    if separator is None:
        number, count = next(lines, (1, []))
        if len(count) != 1 or not re.fullmatch("[0-9]{1,9}", count[0]):
            raise _faulty(path, number, "does not start with the count of its rows")
        declared = int(count[0])
    number, header = next(lines, (1, []))
    if header and image_name(header[0]):
        raise _faulty(path, number, f"is of an image, where the names of the {_ATTRIBUTES} attributes belong")
    names = header if separator is None else header[1:]
    if len(names) != _ATTRIBUTES:
        raise _faulty(path, number, f"has {len(names)} names of attributes, not {_ATTRIBUTES}")
    for name in names:
        # a slash divides the keys of metrics
        if set(spelled(name)) - set(ALPHABET) or "/" in name or names.count(name) > 1:
            raise _faulty(path, number, f"has the attribute {name!r} twice or in unknown characters")
    images: dict[str, None] = {}
    present = bytearray()
    for number, (image, *values) in lines:
        if len(values) != _ATTRIBUTES:
            raise _faulty(path, number, f"has {len(values)} values, not {_ATTRIBUTES}")
        if not {"1", "-1"}.issuperset(values):
            wrong = next(value for value in values if value not in ("1", "-1"))
            raise _faulty(path, number, f"has the value {wrong!r}, neither -1 nor 1")
        _add(images, image, None, path, number)
        present += bytes(value == "1" for value in values)
    if declared is not None and declared != len(images):
        raise MmjsdError(f"{path}: declares {declared} rows and has {len(images)}; {REPLACE}")
    if not images:
        raise MmjsdError(f"{path}: has no rows; {REPLACE}")
    return list(images), names, np.frombuffer(present, np.uint8).reshape(-1, _ATTRIBUTES)


def read_partition(path: str | Path) -> dict[str, int]:
    """Read the official partition, ``list_eval_partition.txt`` or its ``.csv`` variant.

    Returns:
        Name of each image -> 0 (train), 1 (val) or 2 (test).

    Raises:
        MmjsdError: the list is missing, damaged or contradicts itself; names the line.
    """
    path = Path(path)
    lines = _fields(path, _separator(path))
    first = next(lines, None)
    if first and _is_header(first[1]):
        first = None
    partition: dict[str, int] = {}
    for number, fields in chain([first] if first else [], lines):
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise _faulty(path, number, "is not the name of an image and 0, 1 or 2")
        _add(partition, fields[0], int(fields[1]), path, number)
    if not partition:
        raise MmjsdError(f"{path}: has no rows; {REPLACE}")
    return partition


def _is_header(fields: list[str]) -> bool:
    """Tell whether the first line of a partition names its columns and is not a row like the others."""
    return len(fields) == 2 and not image_name(fields[0]) and not re.search("[0-9]", fields[1])


def _separator(path: Path) -> str | None:
    """Detect what separates the fields of a list; None stands for blanks."""
    with _reading(path) as file:
        first = next((line for line in file if line.strip()), "")
    signs = ",;\t" if path.suffix.lower() == ".csv" else ",;"  # elsewhere a tab is as good as a blank
    return next((sign for sign in signs if sign in first), None)


def _fields(path: Path, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """Split each line that is not blank: its number and fields."""
    with _reading(path) as file:
        if separator is None:
            split = ((number, line.split()) for number, line in enumerate(file, start=1))
        else:
            rows = csv.reader(map(str.strip, file), delimiter=separator, skipinitialspace=True)
            split = ((rows.line_num, [field.strip() for field in row]) for row in rows)
        for number, fields in split:
            if any(fields):
                yield number, fields


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    """Open a list as text, with or without the mark that Windows starts a text with."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield file
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except (UnicodeDecodeError, csv.Error) as error:
        reason = "it is no UTF-8 text" if isinstance(error, ValueError) else error
        raise MmjsdError(f"{path}: cannot be read ({reason}); {REPLACE}") from None


def _faulty(path: Path, number: int, fault: str) -> MmjsdError:
    return MmjsdError(f"{path}: line {number} {fault}; {REPLACE}")


def _add(rows: dict[str, Any], image: str, value: Any, path: Path, number: int) -> None:
    name = image_name(image)
    if name is None:
        raise _faulty(path, number, f"has {image[:40]!r} where the name of an image is expected")
    if name in rows:
        raise _faulty(path, number, f"repeats {name}")
    rows[sys.intern(name)] = value  # one copy of each name, whichever list it is read from
