"""Gaps of a table filled on the command line, by what a trained model predicts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.data.tables.filling import filled
from mmjsd.data.tables.items import text_items
from mmjsd.data.tables.options import Image, Text, Vector, modalities_of
from mmjsd.data.tables.pictures import Pictures
from mmjsd.data.tables.reading import TableFile, at_rows
from mmjsd.data.tables.vectors import Raw, read_vectors
from mmjsd.errors import MmjsdError, did_you_mean
from mmjsd.modalities import kind_of
from mmjsd.models.vae import MultimodalVAE
from mmjsd.provenance.files import atomic_write
from mmjsd.training.model_file import NAME, load_model

__all__ = ["LATENTS", "impute"]

LATENTS = 100
"""Samples of the latents whose generated values a prediction is the mean and the deviation of."""

_CHUNK = 20
"""Rows that are predicted at a time."""


class _Column(NamedTuple):
    """A column of the table, as a part of a vector."""

    name: str
    places: list[int]
    """Of its values in the vector; several only of words."""
    words: list[str]
    """That these stand for; none of numbers."""


class _Filled(NamedTuple):
    """What the empty cells of columns become: each column -> (P,)."""

    cells: dict[str, list[str | None]]
    deviations: dict[str, list[str]]


def impute(folder: Path, path: Path, out: Path, seed: int = 0) -> None:
    """Fill the empty cells of vectors in a table, and write it with the deviations of what was filled.

    A cell becomes the mean of what is generated from samples of the latents given the modalities of its row;
    words become the most likely one. `<column>_sd` is the deviation between samples, in the same units. What
    is not empty stays as it is. A vector with an empty cell counts as missing, unless it has `impute: mean`.

    Args:
        folder: results/<dataset>/<run>/seed-<n> of a run on a dataset of kind `table`.
        path: the CSV or TSV file: the columns of the vectors, and those of images and texts if they are to be
            seen.
        out: the table to write.
        seed: of the sampling.

    Raises:
        MmjsdError: another kind of run, columns that are missing or have no numbers, or a file that is there.
    """
    _refuse_unless_new(path, out)
    model, about = load_model(folder)
    if "dataset" not in about:
        raise MmjsdError(f"{folder / NAME}: written by another version; train the run again")
    if (kind := about["dataset"]["kind"]) != "table":
        raise MmjsdError(f"{folder}: is of the dataset kind {kind}; only runs on a `table` fill tables")
    table = TableFile(path)
    if table.is_parquet:
        raise MmjsdError(f"{path}: is a Parquet file; save it as .csv to have it filled")
    options = modalities_of(about["dataset"]["options"]["modalities"])
    described = {name: options[name] for name in model.modalities}  # in the order of the store
    columns = _columns(model, described, table)
    if taken := [f"{c.name}_sd" for of in columns.values() for c in of if f"{c.name}_sd" in table.columns]:
        raise MmjsdError(f"{path}: has the column {taken[0]!r}, which is to be written; rename or delete it")
    ids = table.texts(table.columns[:1])[table.columns[0]]
    if not len(ids):
        raise MmjsdError(f"{path}: has no rows below its header; there is nothing to fill")
    raws = {
        name: read_vectors(name, _in_table(described[name], of), table, table, ids)
        for name, of in columns.items()
    }
    inputs, there = _inputs(model, described, table, columns, raws)
    gaps = {name: np.isnan(raw.values) for name, raw in raws.items()}
    _tell_unused(table, gaps, there)
    result = _filled(model, table, columns, inputs, there, gaps, seed)
    atomic_write(out, filled(table, result.cells, result.deviations) if result.cells else path.read_bytes())


def _refuse_unless_new(path: Path, out: Path) -> None:
    if out.resolve() == path.resolve():
        raise MmjsdError(f"{out}: is the table itself, which stays as it is; choose another name")
    if out.exists() or out.is_symlink():
        raise MmjsdError(f"{out}: exists already; delete it, or choose another name")
    if not out.parent.is_dir():
        raise MmjsdError(f"{out}: there is no folder {out.parent}; make it first")


# --- Read -------------------------------------------------------------------------------------------------


def _columns(
    model: MultimodalVAE, described: Mapping[str, Vector | Image | Text], table: TableFile
) -> dict[str, list[_Column]]:
    """The columns of each vector modality that the table has."""
    found = {}
    for name, vector in described.items():
        if not isinstance(vector, Vector):
            continue
        columns = _parts(vector, model.scales[name].columns)
        names = [column.name for column in columns]
        if vector.file and not {*names} & {*table.columns}:
            print(f"{table.path}: {name}: none of its columns is there: missing, and not filled", flush=True)
            continue
        table.require(names, f"modalities.{name}")
        found[name] = columns
    if not found:
        raise MmjsdError(f"{table.path}: has no column of a vector; there is nothing to fill")
    return found


def _parts(vector: Vector, names: list[str]) -> list[_Column]:
    """The columns that the values of a vector, of these names, were made of."""
    parts: dict[str, _Column] = {}
    for place, name in enumerate(names):
        of_words = [column for column in vector.categorical if name.startswith(f"{column}=")]
        column = max(of_words, key=len) if of_words else name
        part = parts.setdefault(column, _Column(column, [], []))
        part.places.append(place)
        if of_words:
            part.words.append(name.removeprefix(f"{column}="))
    return list(parts.values())


def _in_table(vector: Any, columns: list[_Column]) -> Vector:
    return vector.model_copy(update={"file": None, "column": None, "columns": [c.name for c in columns]})


def _inputs(
    model: MultimodalVAE,
    described: Mapping[str, Vector | Image | Text],
    table: TableFile,
    columns: Mapping[str, list[_Column]],
    raws: Mapping[str, Raw],
) -> tuple[dict[str, Tensor], dict[str, NDArray[np.bool_]]]:
    """Bring each modality into the form of a store, (P, ...), and tell where it is there, (P,)."""
    inputs: dict[str, Tensor] = {}
    there: dict[str, NDArray[np.bool_]] = {}
    for name, modality in described.items():
        if isinstance(modality, Vector):
            if name in raws:
                values, there[name] = _vectors(modality, columns[name], raws[name])
                rows = model.standardised({name: torch.from_numpy(values)})[name]
                inputs[name] = torch.nan_to_num(rows.float())  # the mean, as in training
            continue
        if modality.column not in table.columns:
            near = did_you_mean(modality.column, table.columns[:1000], "the table has")
            print(f"{table.path}: {name}: no column {modality.column!r}: missing; {near}", flush=True)
            continue
        cells = table.texts([modality.column])[modality.column]
        if isinstance(modality, Text):
            items = text_items(table, modality.column, cells, modality.length)
        else:
            items = Pictures(table.path.parent, table).items(modality.column, cells, modality.size)
        there[name] = items.of_samples >= 0
        if there[name].any():
            data: Any = items.table(np.arange(items.of_samples.max() + 1)).data
            if isinstance(modality, Image):
                data = np.concatenate(list(data.blocks))
            inputs[name] = torch.from_numpy(data)[np.maximum(items.of_samples, 0)]
    return inputs, there


def _vectors(
    vector: Vector, columns: list[_Column], raw: Raw
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The values (P, D), NaN where a cell is empty, and which rows are shown to the model."""
    values = np.empty((len(raw.values), sum(len(column.places) for column in columns)))
    for column, numbers in zip(columns, raw.values.T, strict=True):
        if not column.words:
            values[:, column.places[0]] = numbers
            continue
        # words that did not train are none of those that did
        known = raw.words[column.name]
        order = np.array([known.index(word) if word in known else -1 for word in column.words])
        ones = (numbers[:, None] == order).astype(float)
        ones[np.isnan(numbers)] = np.nan
        values[:, column.places] = ones
    gaps = np.isnan(raw.values)
    return values, ~np.all(gaps, axis=1) if vector.impute else ~np.any(gaps, axis=1)


def _tell_unused(
    table: TableFile, gaps: Mapping[str, NDArray[np.bool_]], there: Mapping[str, NDArray[np.bool_]]
) -> None:
    """Say of each vector in how many rows the model is not shown the cells that it has."""
    for name, gap in gaps.items():
        if count := int((~gap.all(axis=1) & ~there[name]).sum()):
            print(
                f"{table.path}: in {count} row{'s' * (count > 1)} known cells of {name} were not used: a "
                "vector with an empty cell counts as missing; columns that shall predict each other must be "
                "modalities of their own",
                flush=True,
            )


# --- Predict ----------------------------------------------------------------------------------------------


def _filled(
    model: MultimodalVAE,
    table: TableFile,
    columns: Mapping[str, list[_Column]],
    inputs: Mapping[str, Tensor],
    there: Mapping[str, NDArray[np.bool_]],
    gaps: Mapping[str, NDArray[np.bool_]],
    seed: int,
) -> _Filled:
    generator = torch.Generator().manual_seed(seed)
    count = len(next(iter(there.values())))
    with_gaps = sorted(
        (
            (name, column, gap)
            for name, of in columns.items()
            for column, gap in zip(of, gaps[name].T, strict=True)
            if gap.any()
        ),
        key=lambda found: table.columns.index(found[1].name),
    )
    result = _Filled(
        {column.name: [None] * count for _, column, _ in with_gaps},
        {f"{column.name}_sd": [""] * count for _, column, _ in with_gaps if not column.words},
    )
    wanting = (
        np.flatnonzero(np.any([gap for _, _, gap in with_gaps], axis=0)) if with_gaps else np.array([], int)
    )
    shown = np.stack(list(there.values()), 1)[wanting]
    targets = tuple(dict.fromkeys(name for name, _, _ in with_gaps))
    for pattern in np.unique(shown, axis=0):
        rows = wanting[(shown == pattern).all(1)]
        subset = [name for name, has in zip(there, pattern, strict=True) if has]
        if not subset:
            known = "nothing that the model can use is known"
            print(f"{table.path}: {known} in {at_rows(table, rows)}: left empty", flush=True)
            continue
        for chunk in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            given = {n: kind_of(model.modalities[n]).as_input(inputs[n][chunk]) for n in subset}
            with torch.no_grad():
                samples = model.generate(given, n=LATENTS, generator=generator, targets=targets)
            values = {n: x.double().numpy().reshape(len(chunk), LATENTS, -1) for n, x in samples.items()}
            for name, column, gap in with_gaps:
                for place in np.flatnonzero(gap[chunk]):
                    _fill(result, column, int(chunk[place]), values[name][place])
    by_row = [sum(cell is not None for cell in row) for row in zip(*result.cells.values(), strict=True)]
    rows_filled = sum(cells > 0 for cells in by_row)
    print(f"{table.path}: {sum(by_row)} empty cells filled, in {rows_filled} of {count} rows", flush=True)
    return result


def _fill(result: _Filled, column: _Column, row: int, samples: NDArray[np.float64]) -> None:
    """Fill a cell by samples (LATENTS, D) of its vector."""
    own = samples[:, column.places]
    if column.words:
        result.cells[column.name][row] = column.words[int(own.mean(0).argmax())]
        return
    result.cells[column.name][row] = f"{own.mean():.6g}"
    result.deviations[f"{column.name}_sd"][row] = f"{own.std(ddof=1):.6g}"
