"""CelebA: aligned faces, each with the text that names its attributes."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmjsd.data.decoding import SKIP, Images, Unreadable, decode
from mmjsd.data.official import REPLACE
from mmjsd.data.official.celeba_images import FOLDER, SHAPE, digest_images, extent, opened, read_face
from mmjsd.data.official.celeba_lists import SPLITS, read_lists, some_of
from mmjsd.data.official.download import Official, download, from_google_drive
from mmjsd.data.official.finding import find
from mmjsd.data.sources import files_of
from mmjsd.data.store import Split, Stream, Table, write_store
from mmjsd.data.text import attribute_texts
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET
from mmjsd.params.sources import effective, origin
from mmjsd.params.types import ImageCount
from mmjsd.provenance.files import sha256_file

__all__ = [
    "FORMS",
    "LABELS",
    "LICENCE",
    "MODALITIES",
    "ON_ALL_CORES",
    "build",
    "digest_images",
    "download_sources",
    "extent",
    "find_sources",
]

MODALITIES = {"image": "image 3x64x64", "text": "text 256"}
FORMS = {"image": "face", "text": "attributes"}
LABELS = "attributes"
LICENCE = "CelebA: non-commercial research purposes only"
ON_ALL_CORES = True

_IMAGES = (f"{FOLDER}.zip", f"{FOLDER}/")
_LISTS = ("list_attr_celeba", "list_eval_partition")
# as torchvision downloads them, and as the official site has them
_SUBFOLDERS = ("celeba", "CelebA", "Img", "Anno", "Eval")

_BLOCK = 256  # images decoded at a time


def find_sources(folder: str | Path) -> dict[str, Path]:
    """Find the images and the lists in ``folder`` or its usual subfolders (celeba, CelebA, Img, Anno, Eval).

    Returns:
        ``img_align_celeba.zip`` (preferred) or ``img_align_celeba/``, then the name of the list of
        attributes, then that of the partition (each ``.txt``, preferred, or ``.csv``) -> its path.

    Raises:
        MmjsdError: some are missing; names all of them.
    """
    return find(folder, (_IMAGES, *((f"{name}.txt", f"{name}.csv") for name in _LISTS)), _SUBFOLDERS)


def download_sources(folder: Path) -> dict[str, Path]:
    """Download what is not in ``folder``/celeba yet: as :func:`find_sources`.

    Raises:
        MmjsdError: the line names the cause.
    """
    from torchvision.datasets import CelebA  # slow to import, and needed only here

    names = [_IMAGES[0], *(f"{name}.txt" for name in _LISTS)]
    known = {name: (file, md5) for file, md5, name in CelebA.file_list}
    paths = {name: folder / CelebA.base_folder / name for name in names}
    files = [Official(paths[name], known[name][1], from_google_drive(known[name][0])) for name in names]
    download("CelebA", files, names)
    return paths


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    random_offset: bool = True,
    skip_unreadable: bool = False,
    standin_train: ImageCount = 10000,
    standin_val: Annotated[int, Field(ge=10, le=500_000)] = 1000,
    standin_test: ImageCount = 2000,
) -> None:
    """Build the store.

    Rows are in the order of the images' names. The files are decoded by one process a core; what is stored
    does not depend on their number.

    Args:
        path: Store to write.
        source: ``standin``, ``download``, or a folder with the official files.
        source_folder: Where stand-in or downloaded files go.
        seed: Seed of the stand-in and of the texts' offsets.
        random_offset: CelebA: start each text at a random place, as the paper does; at its first is easier to
            learn.
        skip_unreadable: CelebA: leave out images that are missing or damaged rather than stop.
        standin_train: Training images of each stand-in source.
        standin_val: Validation images of the stand-in of CelebA.
        standin_test: Test images of each stand-in source.

    Raises:
        MmjsdError: the sources are faulty or contradict each other, or the store cannot be written.
    """
    path = Path(path)

    def standin(folder: Path) -> dict[str, Path]:
        from mmjsd.data.standin.faces import write_faces  # slow to import

        return write_faces(folder, train=standin_train, val=standin_val, test=standin_test, seed=seed)

    files = files_of(source, source_folder, standin=standin, download=download_sources, find=find_sources)
    images, attributes, partition = files.values()
    names, classes, present, parts = read_lists(attributes, partition)
    start = np.random.default_rng(seed) if random_offset else np.zeros(len(names), np.int64)
    texts = attribute_texts(present, classes, start)
    options = {
        "random_offset": random_offset,
        "skip_unreadable": skip_unreadable,
        "standin_train": standin_train,
        "standin_val": standin_val,
        "standin_test": standin_test,
    }
    hashes = {name: sha256_file(file) for name, file in files.items() if file is not images}
    started = time.perf_counter()
    with opened(images) as found:
        skipped = _missing(found, names, attributes, skip=skip_unreadable)
        while True:
            rows_of = _rows_of_splits(images, names, parts, skipped)
            blocks = [block for rows in rows_of.values() for block in _blocks([names[row] for row in rows])]
            try:
                with closing(decode(found, blocks, read_face, SHAPE, skip=skip_unreadable)) as faces:
                    write_store(
                        path,
                        kind="celeba",
                        modalities=list(MODALITIES),
                        classes=classes,
                        seed=seed,
                        params={"source": origin(source), **effective(source, options)},
                        sources=lambda: {next(iter(files)): found.digest(), **hashes},
                        splits={
                            split: _split(faces, texts[rows], present[rows])
                            for split, rows in rows_of.items()
                        },
                    )
                break
            except Unreadable as error:  # again, without them
                skipped |= error.reasons
    _report(images, len(names), time.perf_counter() - started, skipped)


def _missing(found: Images, names: list[str], attributes: Path, *, skip: bool) -> dict[str, str]:
    """Find the listed images that are not there: how each is to be skipped, unless that is refused."""
    missing = {name: "is missing" for name in names if name not in found.names}
    if missing and not skip:
        raise MmjsdError(f"{found.path}: has no {some_of(missing)}, listed in {attributes}; {SKIP}")
    if extra := found.names - set(names):
        raise MmjsdError(f"{attributes}: has no row for {some_of(extra)} of {found.path}; {REPLACE}")
    return missing


def _rows_of_splits(
    images: Path, names: list[str], parts: NDArray[np.int64], skipped: Mapping[str, str]
) -> dict[str, NDArray[np.int64]]:
    """Divide the rows of the lists, without those of skipped images, among the splits."""
    kept = np.array([name not in skipped for name in names])
    rows_of = {split: np.flatnonzero(kept & (parts == part)) for part, split in enumerate(SPLITS)}
    if empty := next((split for split, rows in rows_of.items() if not len(rows)), None):
        lost = [name for name, part in zip(names, parts, strict=True) if SPLITS[part] == empty]
        raise MmjsdError(
            f"{images}: has none of the {len(lost)} images of the split {empty} "
            f"({lost[0]} {skipped[lost[0]]}); see that all images were extracted, or replace it"
        )
    return rows_of


def _blocks(names: list[str]) -> list[list[str]]:
    return [names[first : first + _BLOCK] for first in range(0, len(names), _BLOCK)]


def _split(faces: Iterator[NDArray[np.uint8]], texts: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """Make a split of N samples: the next N of ``faces``, the texts (N, L), the labels (N, A)."""
    blocks = islice(faces, math.ceil(len(labels) / _BLOCK))
    images: Any = Stream((len(labels), *SHAPE), np.dtype(np.uint8), blocks)
    pairs = np.arange(len(labels), dtype=np.int32)
    return Split(
        {"image": Table("image", images, labels), "text": Table("text", texts, labels, ALPHABET)},
        np.stack([pairs, pairs], axis=1),
        labels,
    )


def _report(images: Path, count: int, seconds: float, skipped: Mapping[str, str]) -> None:
    """Print how fast it went, unless a bar showed it, and what was skipped."""
    if not sys.stderr.isatty():
        print(f"{images}: {count} images in {seconds:.0f} s, {count / seconds:.0f} images/s", flush=True)
    if skipped:
        some = ", ".join(f"{name} {skipped[name]}" for name in sorted(skipped)[:5])
        more = f" and {len(skipped) - 5} others" if len(skipped) > 5 else ""
        print(f"{images}: skipped {len(skipped)} images: {some}{more}", flush=True)
