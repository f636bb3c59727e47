"""Vectors of a table: numbers, gaps, words as zeros and ones, standardised by the training split."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmjsd.data.store import Table
from mmjsd.data.tables.items import Items, rows_by_id
from mmjsd.data.tables.options import Vector
from mmjsd.data.tables.reading import TableFile, at_rows, numbers_of, some_of, text_of
from mmjsd.errors import MmjsdError
from mmjsd.modalities.vector import logarithm_of

__all__ = ["Raw", "read_vectors", "standardised"]

Numbers = NDArray[np.float64]

#: Deviations relative to the mean below which values differ by no more than rounding.
_ROUNDING = 1e-9


class Raw(NamedTuple):
    """Vectors as they are in a file, before it is known which samples train."""

    file: TableFile
    columns: list[str]
    words: dict[str, list[str]]
    """Of a column that has words: these, which its values number."""
    values: Numbers
    """(N, columns), NaN where a cell is empty."""
    of_samples: NDArray[np.int64]
    """(P,): the row of each sample, -1 = missing."""


def read_vectors(
    name: str, vector: Vector, manifest: TableFile, file: TableFile, ids: pa.ChunkedArray
) -> Raw:
    """Read the vectors of a modality.

    Args:
        name: of the modality.
        vector: where they are.
        manifest: the table of the samples.
        file: the table that they are in, which may be the same.
        ids: (P,) those by which the samples name rows of another file than the manifest.

    Raises:
        MmjsdError: columns are missing or have no numbers, or ids do not meet; the line names the rows.
    """
    key = f"modalities.{name}"
    own = file is not manifest
    columns = vector.columns or file.columns[1:]
    file.require(columns, f"{key}.columns" if vector.columns else f"{key}.file")
    file.require(vector.categorical, f"{key}.categorical")
    file.require(vector.log1p, f"{key}.log1p")
    if not columns:
        raise MmjsdError(f"{file.path}: has no columns beside {file.columns[0]!r}; add the values of {name}")
    if own:
        rows_of = file.texts(file.columns[:1])[file.columns[0]]
        of_samples = rows_by_id(file, rows_of, ids)
        _tell_strangers(name, manifest, ids, file, rows_of, of_samples)
        count = len(rows_of)
    else:
        of_samples, count = np.arange(len(ids)), len(ids)
    # rows that no sample has are read over
    used = np.unique(of_samples[of_samples >= 0])
    place = np.full(count, -1)
    place[used] = np.arange(len(used))
    values = np.empty((len(used), len(columns)))
    words: dict[str, dict[str, int]] = {column: {} for column in columns if column in vector.categorical}
    for start, batch in file.batches(columns):
        here = place[start : start + batch.num_rows]
        for number, column in enumerate(columns):
            if column in words:
                read = _numbered(batch.column(column), words[column])
            else:
                read = numbers_of(file, column, batch.column(column), start)
                if column in vector.log1p:
                    read = _logarithm(file, column, read, start)
            values[here[here >= 0], number] = read[here >= 0]
    of_samples = np.where(of_samples < 0, -1, place[of_samples])
    return Raw(file, columns, {column: list(known) for column, known in words.items()}, values, of_samples)


def _tell_strangers(
    name: str,
    manifest: TableFile,
    ids: pa.ChunkedArray,
    file: TableFile,
    rows_of: pa.ChunkedArray,
    of_samples: NDArray[np.int64],
) -> None:
    """Say how many ids meet those of another file, or refuse it if none does."""
    if (of_samples < 0).all():
        theirs, ours = rows_of[0].as_py(), next((i.as_py() for i in ids if i.is_valid), "none")
        raise MmjsdError(
            f"{file.path}: none of its ids (column {file.columns[0]!r}: {theirs!r}, ...) is one of "
            f"{manifest.path} ({ours!r}, ...); write them alike"
        )
    unused = len(rows_of) - len(np.unique(of_samples[of_samples >= 0]))
    if unused:
        print(f"{file.path}: {unused} of {len(rows_of)} rows are of no sample, and left out", flush=True)


def _numbered(column: pa.Array, known: dict[str, int]) -> Numbers:
    """Number the words of a column (N,), those that are new from the last one on; NaN where there is none."""
    encoded = text_of(column).dictionary_encode()
    numbers = np.array([known.setdefault(word, len(known)) for word in encoded.dictionary.to_pylist()])
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return np.where(indices < 0, np.nan, np.append(numbers, np.nan)[indices])


def _logarithm(file: TableFile, column: str, values: Numbers, start: int) -> Numbers:
    if len(low := np.flatnonzero(values <= -1)):
        raise MmjsdError(
            f"{file.path}: column {column} has no log(1 + x) in {at_rows(file, start + low)} "
            f"({values[low[0]]:g}); correct it, or leave it out of `log1p`"
        )
    return np.log1p(values)


def standardised(name: str, vector: Vector, raw: Raw, training: NDArray[np.bool_]) -> Items:
    """Standardise vectors by those of the training samples.

    Args:
        name: of the modality.
        vector: how.
        raw: they are changed in place.
        training: bool (P,): which samples train.

    Raises:
        MmjsdError: a column is the same everywhere; the line names it.
    """
    gaps = np.isnan(raw.values)
    some, all_of = np.any(gaps, axis=1), np.all(gaps, axis=1)
    missing = all_of if vector.impute else some
    partly = int((some & ~all_of).sum())
    if partly:
        becomes = (
            "filled by the means of columns" if vector.impute else "missing, as a whole (`impute` fills)"
        )
        print(
            f"{raw.file.path}: {name}: {partly} of {len(some)} vectors have empty cells: {becomes}",
            flush=True,
        )
    of_samples = np.where(raw.of_samples < 0, -1, np.where(missing[raw.of_samples], -1, raw.of_samples))
    trains = np.unique(of_samples[training & (of_samples >= 0)])
    if not len(trains):
        remedy = "; `impute: mean` fills gaps" if partly else "; leave the modality out"
        raise MmjsdError(f"{raw.file.path}: no training sample has the modality {name}{remedy}")
    names: list[str] = []
    parts: list[Numbers] = []
    for number, column in enumerate(raw.columns):
        values = raw.values[:, number]
        if column not in raw.words:
            names.append(logarithm_of(column) if column in vector.log1p else column)
            parts.append(values[:, None])
            continue
        ones, words = _ones(raw, name, column, values, trains)
        parts.append(ones)
        names += words
    # without words nothing is copied
    values = np.concatenate(parts, axis=1) if raw.words else raw.values
    data = np.empty(values.shape, np.float32)
    mean, deviation, constant = np.empty(len(names)), np.empty(len(names)), []
    for number, column in enumerate(names):
        seen = values[trains, number]
        seen = seen[~np.isnan(seen)]
        mean[number] = seen.mean() if len(seen) else 0.0
        deviation[number] = seen.std() if len(seen) else 0.0
        if deviation[number] <= _ROUNDING * abs(mean[number]):
            constant.append(f"{column} ({mean[number]:g})" if len(seen) else f"{column} (empty)")
            continue
        filled = np.where(np.isnan(values[:, number]), mean[number], values[:, number])
        data[:, number] = (filled - mean[number]) / deviation[number]
    if constant:
        raise MmjsdError(
            f"{raw.file.path}: {'columns' if len(constant) > 1 else 'column'} "
            f"{some_of(constant, len(constant))} of {name}: the same in all training samples; "
            "leave out what tells nothing (`columns` names the others)"
        )
    table = partial(
        Table,
        "vector",
        columns=tuple(names),
        mean=mean.astype(np.float32),
        deviation=deviation.astype(np.float32),
    )
    return Items(of_samples, lambda items: table(data=data[items]))


def _ones(
    raw: Raw, name: str, column: str, numbers: Numbers, trains: NDArray[np.int64]
) -> tuple[Numbers, list[str]]:
    """Turn the words of a column into columns of zeros and ones, one for each that trains, and name them."""
    words = raw.words[column]
    counts = np.bincount(numbers[trains][~np.isnan(numbers[trains])].astype(int), minlength=len(words))
    known = sorted((word, number) for number, word in enumerate(words) if counts[number])
    if unknown := [word for number, word in enumerate(words) if not counts[number]]:
        print(
            f"{raw.file.path}: {name}: column {column}: {some_of(unknown, len(unknown))} in no training "
            "sample: zeros in all of its columns",
            flush=True,
        )
    order = np.array([number for _, number in known], np.float64)
    ones = (numbers[:, None] == order).astype(np.float64)
    ones[np.isnan(numbers)] = np.nan
    return ones, [f"{column}={word}" for word, _ in known]
