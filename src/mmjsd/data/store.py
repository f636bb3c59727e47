"""The multimodal store: one HDF5 layout for every dataset.

::

    /                        attrs: format, version, kind, modalities, classes, seed, params, sources
    /<split>/<modality>/data     the distinct items of a modality; attrs: kind, for text also alphabet, for
                                 vectors also columns, mean and deviation where they have them
    /<split>/<modality>/labels   int64 (N,) class, or uint8 (N, A) binary attributes
    /<split>/pairs               int32 (P, M): the row of each modality in each sample, -1 = missing
    /<split>/labels              labels of the samples, of the same form

A store has labels everywhere or nowhere; without them it has no classes either. Files are contiguous,
uncompressed and reproducible to the byte: same arguments, same sha256.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmjsd import registry
from mmjsd.data.writing import replacing
from mmjsd.errors import MmjsdError
from mmjsd.modalities import RESERVED, Modality, kind_of
from mmjsd.provenance.files import sha256_file

__all__ = [
    "FORMAT",
    "VERSION",
    "Split",
    "Store",
    "Stream",
    "Table",
    "describe",
    "modalities_of",
    "read_store",
    "require_labels",
    "shortage",
    "write_store",
]

FORMAT = "mmjsd-multimodal"
VERSION = 1


@dataclass(frozen=True)
class Stream:
    """Images that come into being while they are written, in place of a table's array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[NDArray[Any]]
    """Its rows, some at a time, in order."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


@dataclass(frozen=True)
class Table:
    """The distinct items of one modality in one split."""

    kind: str
    """`image`, `text`, `vector`, ...: a kind of modality."""
    data: NDArray[Any]
    """image: uint8 (N, C, H, W); text: uint8 token ids (N, L); vector: float32 (N, D)."""
    labels: NDArray[Any] | None = None
    """int64 (N,) class, or uint8 (N, A) binary attributes; None where the data have none."""
    alphabet: str | None = None
    """Text only: the symbols that the token ids stand for."""
    columns: tuple[str, ...] | None = None
    """Vectors only, where they have names: those of their D values."""
    mean: NDArray[np.float32] | None = None
    """Vectors only, where they are standardised: what was subtracted from each value, (D,)."""
    deviation: NDArray[np.float32] | None = None
    """Beside the mean: what each value was divided by then, (D,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item: (C, H, W), (L,) or (D,)."""
        return self.data.shape[1:]

    @property
    def size(self) -> int:
        """Data size of one item: C*H*W, L or D."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Split:
    """The items of every modality, and the samples they are paired to."""

    modalities: dict[str, Table]
    """In the order of the columns of ``pairs``."""
    pairs: NDArray[np.int32]
    """(P, M): the row of each modality in each sample, -1 = missing."""
    labels: NDArray[Any] | None = None
    """(P,) or (P, A): the labels of the samples; None where the data have none."""

    def missing(self) -> dict[str, float]:
        """Compute which share of the samples lacks each modality."""
        return dict(zip(self.modalities, (self.pairs < 0).mean(0).tolist(), strict=True))

    def sample(self, samples: NDArray[np.integer]) -> "Split":
        """Take these samples (B,) alone into memory, with no other rows than theirs."""
        tables, columns = {}, []
        for (name, table), column in zip(self.modalities.items(), self.pairs[samples].T, strict=True):
            used, place = np.unique(np.maximum(column, 0), return_inverse=True)
            tables[name] = replace(table, data=table.data[used], labels=_rows(table.labels, used))
            columns.append(np.where(column < 0, -1, place))
        return Split(tables, np.stack(columns, 1).astype(np.int32), _rows(self.labels, samples))


def _rows(labels: NDArray[Any] | None, rows: NDArray[Any]) -> NDArray[Any] | None:
    return None if labels is None else labels[rows]


def modalities_of(split: Split) -> list[Modality]:
    """List the modalities of a split, in their order."""
    return [Modality(name, t.kind, tuple(t.shape), t.size) for name, t in split.modalities.items()]


@dataclass(frozen=True)
class Store:
    """An opened store. Its data arrays are memory maps: read when used, shared between processes."""

    path: Path
    kind: str
    modalities: tuple[str, ...]
    classes: list[str]
    """Names of the classes or attributes; none where there are no labels."""
    seed: int
    params: dict[str, Any]
    """The options it was built with."""
    sources: dict[str, str]
    """Name of each source file -> its sha256."""
    splits: dict[str, Split]


# --- writing ----------------------------------------------------------------------------------------------


class _Unread(Exception):
    """What a store is made of cannot be read, and why."""

    def __init__(self, cause: Exception):
        self.cause = cause


@contextmanager
def _reading() -> Iterator[None]:
    """Mark an error as one of what is read, and not of the store that is open meanwhile."""
    try:
        yield
    except Exception as error:
        raise _Unread(error) from None


@contextmanager
def _unmarking() -> Iterator[None]:
    """Raise an error that was so marked as it was."""
    try:
        yield
    except _Unread as error:
        raise error.cause from None


def write_store(
    path: str | Path,
    *,
    kind: str,
    modalities: Sequence[str],
    classes: Sequence[str],
    seed: int,
    params: Mapping[str, Any],
    sources: Mapping[str, str] | Callable[[], Mapping[str, str]],
    splits: Mapping[str, Split],
) -> None:
    """Check and write a store; ``path`` is replaced only by a complete one.

    Images may be a :class:`Stream`. Streams are read in the order of splits and modalities, and ``sources``
    called after them, if it is a function: files may be hashed as they are read.

    Raises:
        MmjsdError: the parts contradict each other, or the file cannot be written.
        Exception: whatever reading a stream or calling ``sources`` raises.
    """
    path = Path(path)
    if fault := _fault(modalities, classes, splits):
        raise MmjsdError(f"{path}: not written, {fault}; correct what it is built from")
    # one version of the file format, whatever the library's default is, so that the bytes do not change
    with (
        _unmarking(),
        replacing(path) as temporary,
        h5py.File(temporary, "w", libver=("v110", "v110"), locking=False) as file,
    ):
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["kind"] = kind
        file.attrs["modalities"] = json.dumps(list(modalities), allow_nan=False)
        file.attrs["classes"] = json.dumps(list(classes), allow_nan=False)
        file.attrs["seed"] = seed
        file.attrs["params"] = json.dumps(dict(params), sort_keys=True, allow_nan=False)
        for name, split in splits.items():
            group = file.create_group(name)
            for modality in modalities:
                _write_table(group.create_group(modality), split.modalities[modality])
            group.create_dataset("pairs", data=split.pairs, track_times=False)
            if split.labels is not None:
                group.create_dataset("labels", data=split.labels, track_times=False)
        with _reading():
            hashes = sources() if callable(sources) else sources
        file.attrs["sources"] = json.dumps(dict(hashes), sort_keys=True, allow_nan=False)


def _write_table(group: h5py.Group, table: Table) -> None:
    if isinstance(table.data, Stream):
        data = group.create_dataset("data", table.data.shape, table.data.dtype, track_times=False)
        row = 0
        for block in _read_blocks(table.data):
            data[row : row + len(block)] = block
            row += len(block)
        assert row == len(table.data)
    else:
        data = group.create_dataset("data", data=table.data, track_times=False)
    data.attrs["kind"] = table.kind
    if table.alphabet is not None:
        data.attrs["alphabet"] = table.alphabet
    if table.columns is not None:
        data.attrs["columns"] = json.dumps(table.columns, allow_nan=False)
    if table.mean is not None and table.deviation is not None:
        data.attrs["mean"], data.attrs["deviation"] = table.mean, table.deviation
    if table.labels is not None:
        group.create_dataset("labels", data=table.labels, track_times=False)


def _read_blocks(stream: Stream) -> Iterator[NDArray[Any]]:
    with _reading():
        yield from stream.blocks


# --- reading ----------------------------------------------------------------------------------------------


def read_store(path: str | Path) -> Store:
    """Open and check a store.

    Raises:
        MmjsdError: it does not exist, is damaged, of another format or version, or contradicts itself.
    """
    path = Path(path)
    if not path.is_file():
        raise MmjsdError(f"{path}: no such file; build it with `mmjsd data build`, or check the path")
    try:
        store = _read(path)
        fault = _fault(store.modalities, store.classes, store.splits)
    except _Refused as error:
        fault = str(error)
    # h5py raises whichever of these the damaged bytes lead it to
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        fault = "is damaged or was cut short"
    if fault:
        raise MmjsdError(f"{path}: {fault}; rebuild it with `mmjsd data build`, or check the path")
    return store


class _Refused(Exception):
    """What is wrong with a file, without its name."""


def _read(path: Path) -> Store:
    if not os.access(path, os.R_OK):
        raise _Refused("cannot be read (no permission)")
    if not h5py.is_hdf5(path):
        raise _Refused("is not an HDF5 file")
    # a store is replaced, never changed, so that reading needs no lock (which network file systems may lack)
    with h5py.File(path, "r", locking=False) as file:
        if _attribute(file, "format", str) != FORMAT:
            raise _Refused(f"is not of the format {FORMAT}")
        if (version := _attribute(file, "version", int)) != VERSION:
            raise _Refused(f"has version {version} of its format, where version {VERSION} is needed")
        modalities = _names(file, "modalities")
        return Store(
            path=path,
            kind=_attribute(file, "kind", str),
            modalities=tuple(modalities),
            classes=_names(file, "classes"),
            seed=_attribute(file, "seed", int),
            params=_json(file, "params", dict),
            sources=_json(file, "sources", dict),
            splits={name: _read_split(path, file, name, modalities) for name in _splits(file)},
        )


def _splits(file: h5py.File) -> list[str]:
    """Name the splits in the order in which they are used, which HDF5 does not keep."""
    usual = ["train", "val", "test"]
    return sorted(file, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def _read_split(path: Path, file: h5py.File, name: str, modalities: list[str]) -> Split:
    group = file[name]
    if not isinstance(group, h5py.Group):
        raise _Refused(f"/{name} is not a split")
    if extra := set(group) - {*modalities, "pairs", "labels"}:
        raise _Refused(f"/{name}/{min(extra)} is not one of its modalities ({', '.join(modalities)})")
    tables = {}
    for modality in modalities:
        data = _dataset(group, f"{modality}/data")
        tables[modality] = Table(
            kind=_attribute(data, "kind", str),
            data=_map(path, data),
            labels=_labels(path, group, f"{modality}/labels"),
            alphabet=_attribute(data, "alphabet", str) if "alphabet" in data.attrs else None,
            columns=tuple(_names(data, "columns")) if "columns" in data.attrs else None,
            mean=_values(data, "mean") if "mean" in data.attrs else None,
            deviation=_values(data, "deviation") if "deviation" in data.attrs else None,
        )
    return Split(tables, _map(path, _dataset(group, "pairs")), _labels(path, group, "labels"))


def _labels(path: Path, group: h5py.Group, name: str) -> NDArray[Any] | None:
    # a link that leads nowhere is there too, and refused
    there = group.get(name, getlink=True) is not None
    return _map(path, _dataset(group, name)) if there else None


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = group.get(name)
    # a link may lead into another file, and the offset of its data with it
    if not isinstance(dataset, h5py.Dataset) or dataset.file.filename != group.file.filename:
        raise _Refused(f"{group.name}/{name} is missing")
    return dataset


def _map(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    """Map the dataset as an array over the file itself; changes of the array stay in memory."""
    if dataset.size == 0:
        raise _Refused(f"{dataset.name} is empty")
    if (offset := dataset.id.get_offset()) is None:
        raise _Refused(f"{dataset.name} is not stored contiguously")
    return np.memmap(path, dataset.dtype, "c", offset, dataset.shape)


def _attribute(item: h5py.Group | h5py.Dataset, name: str, kind: Callable[[Any], Any]) -> Any:
    where = f"attribute {name} of {item.name}"
    if name not in item.attrs:
        raise _Refused(f"{where} is missing")
    value = item.attrs[name]
    if not isinstance(value, str if kind is str else np.integer):
        raise _Refused(f"{where} has the wrong type")
    return kind(value)


def _json(item: h5py.Group | h5py.Dataset, name: str, kind: type) -> Any:
    try:
        value = json.loads(_attribute(item, name, str))
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise _Refused(f"attribute {name} of {item.name} is not a JSON {kind.__name__}")
    return value


def _names(item: h5py.Group | h5py.Dataset, name: str) -> list[str]:
    names = _json(item, name, list)
    if not all(isinstance(value, str) for value in names):
        raise _Refused(f"attribute {name} of {item.name} is not a list of names")
    return names


def _values(item: h5py.Dataset, name: str) -> NDArray[np.float32]:
    value = item.attrs[name]
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        raise _Refused(f"attribute {name} of {item.name} has the wrong type")
    return value


# --- what a store must be ---------------------------------------------------------------------------------


def _fault(modalities: Sequence[str], classes: Sequence[str], splits: Mapping[str, Split]) -> str | None:
    """Find the first contradiction between the parts of a store; None if there is none."""
    if not (modalities and splits):
        return "modalities and splits must not be empty"
    for names in (modalities, classes):
        if len(set(names)) < len(names):
            return f"a name is given twice in {', '.join(names)}"
    if bad := [name for name in modalities if name in RESERVED or not name or set(name) & set("-/")]:
        taken = ", ".join(sorted(RESERVED))
        return f"no modality can be called {bad[0]!r}; choose a name without - and /, and none of {taken}"
    first = next(iter(splits.values()))
    if (
        first.labels is not None
        and first.labels.ndim > 1
        and (bad := [name for name in classes if "/" in name])
    ):
        return f"no attribute can be called {bad[0]!r}: / divides the names of metrics"
    for name, split in splits.items():
        if list(split.modalities) != list(modalities):
            return f"/{name} has the modalities {', '.join(split.modalities)}, not {', '.join(modalities)}"
    first = next(iter(splits.values()))
    for name, split in splits.items():
        for modality, table in split.modalities.items():
            where = f"/{name}/{modality}"
            if fault := _table_fault(table):
                return f"{where}/{fault}"
            if other := _other_form(table, first.modalities[modality]):
                return f"{where}/data has {other} than in another split"
        if fault := _pairs_fault(split):
            return f"/{name}/{fault}"
    return _labelling_fault(classes, splits)


def _table_fault(table: Table) -> str | None:
    kinds = registry.entries("modalities")
    if table.kind not in kinds:
        return f"data has the kind {table.kind}, not one of {', '.join(kinds)}"
    kind = kind_of(table.kind)
    if table.data.dtype != kind.DTYPE or table.data.ndim != kind.AXES:
        form = f"{np.dtype(kind.DTYPE)} with {kind.AXES} axes"
        return f"data is {table.data.dtype} {table.data.shape}, not {form}"
    if not table.data.size:
        return "data is empty"
    if (kind.ALPHABET is None) != (table.alphabet is None):
        return "data must have an alphabet if it is text, and only then"
    if table.alphabet is not None and table.data.max() >= len(table.alphabet):
        return f"data has token {table.data.max()}, but the alphabet has {len(table.alphabet)} symbols"
    if np.issubdtype(kind.DTYPE, np.floating) and not np.isfinite(table.data).all():
        return "data has values that are not finite"
    return _columns_fault(table)


def _columns_fault(table: Table) -> str | None:
    """Check the names and the scale of a vector's values."""
    columns, mean, deviation = table.columns, table.mean, table.deviation
    if table.kind != "vector" and not columns is mean is deviation is None:
        return "data may have columns, mean and deviation only if it is vectors"
    if columns is not None and len(columns) != table.size:
        return f"data has {len(columns)} names of columns for {table.size} values"
    if columns is not None and len(set(columns)) < len(columns):
        return f"data has the column {max(columns, key=columns.count)} twice"
    if (mean is None) != (deviation is None):
        return "data must have both mean and deviation, or neither"
    if mean is not None and deviation is not None:
        for name, values in (("mean", mean), ("deviation", deviation)):
            if values.dtype != np.float32 or values.shape != table.shape:
                return f"data has a {name} that is {values.dtype} {values.shape}, not float32 {table.shape}"
            if not np.isfinite(values).all():
                return f"data has a {name} that is not finite"
        if (deviation <= 0).any():
            return "data has a deviation that is not above 0"
    return None


def _other_form(table: Table, first: Table) -> str | None:
    """Tell in what a table differs from that of the same modality in another split."""
    if (table.kind, table.shape) != (first.kind, first.shape):
        return "another kind or shape"
    if table.columns != first.columns:
        return "other columns"
    scales: list[tuple[Any, Any]] = [(table.mean, first.mean), (table.deviation, first.deviation)]
    return None if all(np.array_equal(*scale) for scale in scales) else "another mean or deviation"


def _pairs_fault(split: Split) -> str | None:
    pairs, width = split.pairs, len(split.modalities)
    if pairs.dtype != np.int32 or pairs.ndim != 2 or pairs.shape[1] != width:
        return f"pairs is {pairs.dtype} {pairs.shape}, not int32 (samples, {width})"
    if not len(pairs):
        return "pairs is empty"
    if (pairs < 0).all(axis=1).any():
        return "pairs has a sample without any modality"
    for column, (modality, table) in zip(pairs.T, split.modalities.items(), strict=True):
        if column.min() < -1 or column.max() >= len(table.data):
            return f"pairs has rows of {modality} outside -1..{len(table.data) - 1}"
    return None


def _labelling_fault(classes: Sequence[str], splits: Mapping[str, Split]) -> str | None:
    """Check the labels: all data of a store have them, in one form, or none has."""
    labels = {}
    for name, split in splits.items():
        for modality, table in split.modalities.items():
            labels[f"/{name}/{modality}/labels"] = (table.labels, len(table.data))
        labels[f"/{name}/labels"] = (split.labels, len(split.pairs))
    missing = [where for where, (values, _) in labels.items() if values is None]
    if len(missing) == len(labels):
        return f"has the classes {', '.join(classes)}, and no labels" if classes else None
    if missing:
        return f"{missing[0]} is missing, where others have labels"
    if not classes:
        return "has labels, and no classes"
    axes = set()
    for where, (values, rows) in labels.items():
        assert values is not None
        if fault := _labels_fault(values, rows, len(classes)):
            return f"{where} {fault}"
        axes.add(values.ndim)
        if len(axes) > 1:
            return f"{where} and other labels are classes here, attributes there"
    for name, split in splits.items():
        for column, (modality, table) in zip(split.pairs.T, split.modalities.items(), strict=True):
            there = column >= 0
            assert table.labels is not None
            assert split.labels is not None
            if not np.array_equal(table.labels[column[there]], split.labels[there]):
                return f"/{name}/pairs gives a sample another label than its {modality} has"
    return None


def _labels_fault(labels: NDArray[Any], rows: int, classes: int) -> str | None:
    if labels.dtype == np.int64 and labels.shape == (rows,):
        bound = classes
    elif labels.dtype == np.uint8 and labels.shape == (rows, classes):
        bound = 2
    else:
        return (
            f"is {labels.dtype} {labels.shape}, "
            f"neither int64 ({rows},) classes nor uint8 ({rows}, {classes}) attributes"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < bound):
        return f"must be 0..{bound - 1} (got {labels.min()}..{labels.max()})"
    return None


# --- what it is good for ----------------------------------------------------------------------------------


def shortage(store: Store, least: int, judged: str = "test") -> str | None:
    """Tell what a store has too little of to train and be judged on; None if it has enough.

    That is ``least`` samples that have it, of each modality, for training, for testing and in the split that
    runs are judged on, and as many different images of each image modality in the latter two; and, where they
    have classes, training samples of two of them. No sample need have all modalities.
    """
    for name in dict.fromkeys(("train", "test", judged)):
        split = store.splits[name]
        labels = split.labels
        if name == "train" and labels is not None and labels.ndim == 1 and np.ptp(labels) == 0:
            return "all samples of its train split are of one class, two are needed"
        for modality, rows in zip(store.modalities, split.pairs.T, strict=True):
            if (count := (rows >= 0).sum()) < least:
                return f"its {name} split has {count} samples with {modality}, {least} are needed"
            images = len(np.unique(rows[rows >= 0]))
            if name != "train" and split.modalities[modality].kind == "image" and images < least:
                return f"its {name} split has {images} different images of {modality}, {least} are needed"
    return None


def require_labels(store: Store) -> None:
    """Refuse a store without labels, for what cannot do without them.

    Raises:
        MmjsdError: the line names the store.
    """
    if store.splits["train"].labels is None:
        raise MmjsdError(
            f"{store.path}: its samples have no labels, by which trained models are judged; "
            "train on it, or give it labels"
        )


def describe(store: Store) -> str:
    """Describe a store for people: origin, shapes, bytes, counts of classes, columns, hash."""
    lines = [
        f"{store.path}",
        f"  kind     {store.kind} ({FORMAT}, version {VERSION})",
        f"  sha256   {sha256_file(store.path)}",
        f"  bytes    {store.path.stat().st_size:,}",
        f"  seed     {store.seed}",
        f"  params   {', '.join(f'{key}={value}' for key, value in store.params.items())}",
        f"  classes  {', '.join(store.classes) or 'none'}",
    ]
    for name, digest in store.sources.items():
        together = " of all these files" if name.endswith("/") else ""  # no folder need be called so
        lines.append(f"  source   {name} (sha256{together} {digest[:12]})")
    for name, split in store.splits.items():
        missing = split.missing()
        lines.append(f"  {name}: {len(split.pairs):,} samples; {_counts(split.labels, store.classes)}")
        for modality, table in split.modalities.items():
            lines.append(
                f"    {modality}: {table.kind} {table.data.dtype} {table.data.shape}, "
                f"{table.data.nbytes:,} bytes, missing in {missing[modality]:.1%}; "
                f"{_counts(table.labels, store.classes)}"
            )
            lines += [f"      {line}" for line in _columns(table)]
    return "\n".join(lines)


def _counts(labels: NDArray[Any] | None, classes: list[str]) -> str:
    if labels is None:
        return "no labels"
    counts = (
        np.bincount(labels, minlength=len(classes))
        if labels.ndim == 1
        else labels.sum(axis=0, dtype=np.int64)
    )
    return "per class " + " ".join(str(count) for count in counts)


def _columns(table: Table) -> Iterator[str]:
    """Describe the names and the scale of a vector's values."""
    if table.columns is not None:
        more = f" and {len(table.columns) - 10} more" if len(table.columns) > 10 else ""
        yield f"columns {', '.join(table.columns[:10])}{more}"
    if table.mean is not None and table.deviation is not None:
        mean, deviation = ((values.min(), values.max()) for values in (table.mean, table.deviation))
        yield "standardised: mean {:.4g}..{:.4g}, deviation {:.4g}..{:.4g}".format(*mean, *deviation)
