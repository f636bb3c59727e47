"""Labels and splits of the samples of a table."""

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmjsd.data.tables.items import codes_of
from mmjsd.data.tables.reading import TableFile, at_rows, some_of
from mmjsd.errors import MmjsdError

__all__ = ["Labels", "attributes_of", "classes_of", "drawn_splits", "refuse_unlearnable", "splits_of"]

_NAMES = ("train", "val", "test")
_TRUTH = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}


class Labels(NamedTuple):
    """What the samples are labelled with."""

    names: list[str]
    """Of the classes or attributes."""
    values: NDArray[np.int64] | NDArray[np.uint8]
    """int64 (P,) class, or uint8 (P, A) attributes."""


def classes_of(file: TableFile, column: str, cells: pa.ChunkedArray) -> Labels:
    """Read classes; their names are in alphabetical order, or by value if all are numbers.

    Raises:
        MmjsdError: a cell is empty, or there is one class alone.
    """
    codes, words = codes_of(cells)
    if len(empty := np.flatnonzero(codes < 0)):
        raise MmjsdError(
            f"{file.path}: the label {column} is empty in {at_rows(file, empty)}; fill it, delete the row, "
            "or leave `label` out"
        )
    names = words.to_pylist()
    if len(names) < 2:
        raise MmjsdError(f"{file.path}: the label {column} is {names[0]!r} in all rows; leave `label` out")
    numeric = all(re.fullmatch(r"-?\d{1,300}(\.\d+)?", name) for name in names)
    order = sorted(range(len(names)), key=lambda i: (float(names[i]), names[i]) if numeric else names[i])
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return Labels([names[i] for i in order], place[codes])


def attributes_of(file: TableFile, columns: dict[str, pa.ChunkedArray]) -> Labels:
    """Read binary attributes: 0 or 1, false or true.

    Raises:
        MmjsdError: a cell has something else; the line names the rows.
    """
    values = []
    for name, cells in columns.items():
        codes, words = codes_of(cells)
        truth = np.array([_TRUTH.get(word.lower(), -1) for word in words.to_pylist()] + [-1])[codes]
        if len(other := np.flatnonzero(truth < 0)):
            cell = cells[int(other[0])].as_py() or ""
            raise MmjsdError(
                f"{file.path}: the attribute {name} must be 0 or 1, and is {cell[:40]!r} in "
                f"{at_rows(file, other)}; `label` is for classes"
            )
        values.append(truth.astype(np.uint8))
    return Labels(list(columns), np.stack(values, axis=1))


def splits_of(file: TableFile, column: str, cells: pa.ChunkedArray) -> dict[str, NDArray[np.int64]]:
    """Read which samples are in which split, by the order of their rows.

    Raises:
        MmjsdError: a cell has something else than train, val and test; train or test is empty.
    """
    codes, words = codes_of(cells)
    names = [word.lower() for word in words.to_pylist()]
    known = np.array([_NAMES.index(name) if name in _NAMES else -1 for name in names] + [-1])[codes]
    if len(other := np.flatnonzero(known < 0)):
        cell = cells[int(other[0])].as_py() or ""
        raise MmjsdError(
            f"{file.path}: the split {column} must be train, val or test, and is {cell[:40]!r} in "
            f"{at_rows(file, other)}; correct it"
        )
    rows = {name: np.flatnonzero(known == number) for number, name in enumerate(_NAMES)}
    if empty := [name for name in ("train", "test") if not len(rows[name])]:
        raise MmjsdError(
            f"{file.path}: the split {column} is {empty[0]} in no row; set it, or leave `split` out to have "
            "it drawn"
        )
    return {name: some for name, some in rows.items() if len(some)}


def drawn_splits(
    file: TableFile, labels: Labels | None, count: int, share: float, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Draw a test split, of each class the same share and at least one sample.

    Raises:
        MmjsdError: a class has a single sample, or there is only one.
    """
    rng = np.random.default_rng(seed)
    classes = labels.values if labels is not None and labels.values.ndim == 1 else np.zeros(count, np.int64)
    tests = np.zeros(count, bool)
    sizes = np.bincount(classes)
    if labels is not None and len(single := np.flatnonzero(sizes == 1)):
        row = int(np.argmax(classes == single[0]))
        more = f", and {len(single) - 1} more do" if len(single) > 1 else ""
        raise MmjsdError(
            f"{file.path}: the class {labels.names[single[0]]!r} occurs once, in {at_rows(file, [row])}"
            f"{more}; a class needs samples to train and to test: join it to another, or delete the row"
        )
    if count < 2:
        raise MmjsdError(f"{file.path}: has one sample; it needs some to train and some to test")
    order = rng.permutation(count)
    by_class = order[np.argsort(classes[order], kind="stable")]
    for rows in np.split(by_class, np.cumsum(sizes)[:-1]):
        tests[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = True
    return {"train": np.flatnonzero(~tests), "test": np.flatnonzero(tests)}


def refuse_unlearnable(file: TableFile, labels: Labels, splits: dict[str, NDArray[np.int64]]) -> None:
    """Check that what is tested can be learnt.

    Raises:
        MmjsdError: a class or attribute is not in the training split.
    """
    train = labels.values[splits["train"]]
    if labels.values.ndim > 1:
        if len(same := np.flatnonzero(train.min(axis=0) == train.max(axis=0))):
            name = labels.names[same[0]]
            raise MmjsdError(
                f"{file.path}: the attribute {name} is {train[0, same[0]]} in all training samples; "
                "leave it out of `labels`"
            )
        return
    for split, rows in splits.items():
        lost = np.setdiff1d(labels.values[rows], train)
        if len(lost):
            at = rows[labels.values[rows] == lost[0]]
            names = [labels.names[number] for number in lost]
            raise MmjsdError(
                f"{file.path}: the class {some_of(names, len(names))} is in the {split} split "
                f"({at_rows(file, at)}), and in no training sample; move some there"
            )
