"""A table of one's own: a manifest with a row a sample, of images, texts and vectors, with gaps."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmjsd.data.store import Split, Table, write_store
from mmjsd.data.tables.options import (
    Column,
    Columns,
    FileName,
    Image,
    Modalities,
    Text,
    Vector,
    modalities_of,
    option_faults,
)
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import sha256_file

__all__ = ["ON_ALL_CORES", "ORIGINS", "build", "faults", "of"]

ORIGINS = ("folder",)
ON_ALL_CORES = True

faults = option_faults

#: What the record and the store call all images together.
_IMAGES = "images/"


class Described(NamedTuple):
    """What a dataset consists of, by its options."""

    MODALITIES: dict[str, str]
    LABELS: str | None
    options: Mapping[str, Any]

    def find_sources(self, folder: str | Path) -> dict[str, Path]:
        """Find the manifest, the files of vectors, and, if there are images, the folder that has them.

        Raises:
            MmjsdError: some are missing; names all of them.
        """
        names = [self.options["manifest"], *(v.file for v in self._each(Vector) if v.file)]
        paths = {name: Path(folder) / name for name in dict.fromkeys(names)}
        if missing := [name for name, path in paths.items() if not path.is_file()]:
            there = sorted(path.name for path in Path(folder).iterdir()) if Path(folder).is_dir() else []
            others = f"there is {', '.join(there[:5])}" if there else "there is nothing"
            raise MmjsdError(
                f"{folder}: no {', no '.join(missing)}; put it there, or correct the options ({others})"
            )
        return paths | ({_IMAGES: Path(folder)} if self._each(Image) else {})

    def extent(self, folder: Path) -> list[int]:
        """Count the images that the manifest names, and their bytes.

        Raises:
            MmjsdError: one is missing; the line names the row.
        """
        sizes = {
            name: size
            for names, counts in self._images(folder)
            for name, size in zip(names, counts, strict=True)
        }
        return [len(sizes), sum(sizes.values())]

    def digest_images(self, folder: Path) -> str:
        """Hash the images that the manifest names.

        Raises:
            MmjsdError: one is missing; the line names the row.
        """
        from mmjsd.data.tables.pictures import digest_of

        return digest_of(folder, list({name: None for names, _ in self._images(folder) for name in names}))

    def _images(self, folder: Path) -> list[tuple[list[str], list[int]]]:
        """The names and sizes of the images of each modality."""
        from mmjsd.data.tables.items import codes_of, first_rows
        from mmjsd.data.tables.pictures import sizes_of
        from mmjsd.data.tables.reading import TableFile

        manifest = TableFile(folder / self.options["manifest"])
        columns = [image.column for image in self._each(Image)]
        manifest.require(columns, "modalities")
        found = []
        for column, cells in manifest.texts(columns).items():
            codes, names = codes_of(cells)
            files = names.to_pylist()
            found.append((files, sizes_of(manifest, folder, column, files, first_rows(codes))))
        return found

    def _each(self, kind: type[Any]) -> list[Any]:
        return [m for m in modalities_of(self.options["modalities"]).values() if isinstance(m, kind)]


def of(options: Mapping[str, Any]) -> Described:
    """Describe the dataset of these options."""
    forms = {}
    for name, modality in modalities_of(options.get("modalities")).items():
        match modality:
            case Image(size=size):
                forms[name] = f"image {'x'.join(map(str, size))}"
            case Text(length=length):
                forms[name] = f"text {length}"
            case Vector():
                forms[name] = "vector"
    labels = "class" if options.get("label") else "attributes" if options.get("labels") else None
    return Described(forms, labels, options)


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    manifest: FileName = "samples.csv",
    id: Column | None = None,
    label: Column | None = None,
    labels: Columns | None = None,
    split: Column | None = None,
    test_share: Annotated[float, Field(ge=0.01, le=0.9)] = 0.2,
    modalities: Modalities | None = None,
) -> None:
    """Build the store.

    Samples are in the order of the manifest. What some share is stored once, or once for each label it has.

    Args:
        path: Store to write.
        source: The folder that has the tables.
        source_folder: The same.
        seed: Seed of the split.
        manifest: Table: the file with a row for each sample, CSV, TSV or Parquet.
        id: Table: the column that names the sample. null: the first.
        label: Table: the column that has the class of a sample.
        labels: Table: the columns that have its binary attributes, 0 or 1.
        split: Table: the column that has train, val or test. null: drawn by the seed, of each class alike.
        test_share: Table: the share of the samples that is drawn to test.
        modalities: Table: where each modality is, by its name.

    Raises:
        MmjsdError: a table is faulty; the line names the file, the row or column, and what to do.
    """
    from mmjsd.data.tables.items import refuse_bad_ids
    from mmjsd.data.tables.reading import TableFile
    from mmjsd.data.tables.splits import (
        attributes_of,
        classes_of,
        drawn_splits,
        refuse_unlearnable,
        splits_of,
    )

    started = time.perf_counter()
    described = modalities_of(modalities)
    options = {
        **{"manifest": manifest, "id": id, "label": label, "labels": labels, "split": split},
        **{"test_share": test_share, "modalities": {n: m.model_dump() for n, m in described.items()}},
    }
    form, folder = of(options), Path(source)
    files = form.find_sources(folder)
    table = TableFile(files[manifest])
    id = table.columns[0] if id is None else id
    table.require([id], "id")
    table.require([label] if label else [], "label")
    table.require(labels or [], "labels")
    table.require([split] if split else [], "split")
    for name, modality in described.items():
        if isinstance(modality, (Image, Text)) or modality.column:
            table.require([str(modality.column)], f"modalities.{name}.column")
    wanted: list[str | None] = [id, label, *(labels or []), split, *(m.column for m in described.values())]
    cells = table.texts(list(dict.fromkeys(name for name in wanted if name is not None)))
    refuse_bad_ids(table, id, cells[id])
    count = len(cells[id])
    classes = None
    if label is not None:
        classes = classes_of(table, label, cells[label])
    elif labels is not None:
        classes = attributes_of(table, {name: cells[name] for name in labels})
    if split is None:
        splits = drawn_splits(table, classes, count, test_share, seed)
    else:
        splits = splits_of(table, split, cells[split])
    if classes is not None:
        refuse_unlearnable(table, classes, splits)
    training = np.zeros(count, bool)
    training[splits["train"]] = True
    items, digest = _items(folder, table, files, cells, id, described, training)
    _refuse_gaps(table, items, splits)
    hashes = {name: sha256_file(file) for name, file in files.items() if name != _IMAGES}
    write_store(
        path,
        kind="table",
        modalities=list(described),
        classes=classes.names if classes else [],
        seed=seed,
        params={"source": "folder", **options},
        sources=lambda: {**hashes, **({_IMAGES: digest()} if _IMAGES in files else {})},
        splits={
            name: _split(items, rows, classes.values[rows] if classes else None)
            for name, rows in splits.items()
        },
    )
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    print(f"{table.path}: {count} samples ({sizes}) in {time.perf_counter() - started:.0f} s", flush=True)


def _items(
    folder: Path,
    table: Any,
    files: Mapping[str, Path],
    cells: Mapping[str, Any],
    id: str,
    described: Mapping[str, Vector | Image | Text],
    training: NDArray[np.bool_],
) -> tuple[dict[str, Any], Callable[[], str]]:
    """Read the items of each modality; give also what hashes the images once they are read."""
    from mmjsd.data.tables.items import text_items
    from mmjsd.data.tables.pictures import Pictures
    from mmjsd.data.tables.reading import TableFile
    from mmjsd.data.tables.vectors import read_vectors, standardised

    pictures = Pictures(folder, table)
    items = {}
    for name, modality in described.items():
        match modality:
            case Image(column=column, size=size):
                items[name] = pictures.items(column, cells[column], size)
            case Text(column=column, length=length):
                items[name] = text_items(table, column, cells[column], length)
            case Vector():
                file = TableFile(files[modality.file]) if modality.file else table
                raw = read_vectors(name, modality, table, file, cells[modality.column or id])
                items[name] = standardised(name, modality, raw, training)
    return items, pictures.digest


def _refuse_gaps(table: Any, items: Mapping[str, Any], splits: Mapping[str, NDArray[np.int64]]) -> None:
    """Check that each sample has a modality, and each split all of them somewhere; tell what is missing."""
    from mmjsd.data.tables.reading import at_rows

    there = {name: item.of_samples >= 0 for name, item in items.items()}
    for name, has in there.items():
        for split, rows in splits.items():
            if not has[rows].any():
                raise MmjsdError(
                    f"{table.path}: {name} is missing in all samples of the {split} split; fill some "
                    "cells, or leave the modality out"
                )
        if missing := int((~has).sum()):
            print(f"{table.path}: {name} is missing in {missing} of {len(has)} samples", flush=True)
    if len(empty := np.flatnonzero(~np.any(list(there.values()), axis=0))):
        raise MmjsdError(
            f"{table.path}: all modalities are missing in {at_rows(table, empty)}; delete such rows, or fill "
            "vectors with `impute: mean`"
        )


def _split(items: Mapping[str, Any], rows: NDArray[np.int64], labels: NDArray[Any] | None) -> Split:
    """Make a split of the samples in these rows (P,), with labels (P,) or (P, A)."""
    tables: dict[str, Table] = {}
    pairs = []
    # the label of an item is that of its samples: samples of different labels do not share it
    kinds = np.zeros(len(rows), np.int64)
    if labels is not None:
        kinds = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    number = kinds.max() + 1
    for name, item in items.items():
        of_samples = item.of_samples[rows]
        there = np.flatnonzero(of_samples >= 0)
        keys = of_samples[there] * number + kinds[there]
        distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
        column = np.full(len(rows), -1, np.int32)
        column[there] = place
        table = item.table(distinct // number)
        tables[name] = replace(table, labels=None if labels is None else labels[there[first]])
        pairs.append(column)
    return Split(tables, np.stack(pairs, axis=1), labels)
