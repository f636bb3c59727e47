"""CelebA: aligned faces, each with the text that names its attributes."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.data.download import Official, download, from_google_drive
from mmjsd.data.face_images import FOLDER, SIZE, SKIP, Unreadable, decode, digest_images, extent, opened
from mmjsd.data.face_lists import REPLACE, SPLITS, read_lists, some_of
from mmjsd.data.official import find
from mmjsd.data.standin_faces import write_faces
from mmjsd.data.store import Split, Stream, Table, write_store
from mmjsd.data.text import attribute_texts
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET
from mmjsd.records import sha256_file

__all__ = ["build", "digest_images", "extent", "fetch_sources", "find_sources"]

_IMAGES = (f"{FOLDER}.zip", f"{FOLDER}/")
_LISTS = ("list_attr_celeba", "list_eval_partition")
# as torchvision downloads them, and as the official site has them
_FOLDERS = ("celeba", "CelebA", "Img", "Anno", "Eval")

_BLOCK = 256  # images decoded at a time


def find_sources(folder: str | Path) -> dict[str, Path]:
    """The images and the lists in ``folder`` or its usual subfolders (celeba, CelebA, Img, Anno, Eval).

    Returns:
        ``img_align_celeba.zip`` (preferred) or ``img_align_celeba/``, then the name of the list of
        attributes, then that of the partition (each ``.txt``, preferred, or ``.csv``) -> its path.

    Raises:
        MmjsdError: some are missing; names all of them.
    """
    return find(folder, (_IMAGES, *((f"{name}.txt", f"{name}.csv") for name in _LISTS)), _FOLDERS)


def fetch_sources(
    source: str, folder: str | Path, *, seed: int, standin_train: int, standin_val: int, standin_test: int
) -> dict[str, Path]:
    """The source files: generated into ``folder``, downloaded into it, or found in the folder ``source``.

    Args:
        source: ``standin``, ``download``, or a folder with the official files.

    Returns:
        As :func:`find_sources`.

    Raises:
        MmjsdError: the files cannot be written, had or found.
    """
    match source:
        case "standin":
            return write_faces(folder, train=standin_train, val=standin_val, test=standin_test, seed=seed)
        case "download":
            return _download(Path(folder))
        case _:
            return find_sources(source)


def _download(folder: Path) -> dict[str, Path]:
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
    standin_train: int,
    standin_val: int,
    standin_test: int,
    random_offset: bool = True,
    skip_unreadable: bool = False,
) -> None:
    """Build the store of the kind ``celeba``: each face with the text of its attributes.

    Rows are in the order of the images' names. The files are decoded by one process a core; what is stored
    does not depend on their number.

    Args:
        path: Store to write.
        source: ``standin``, ``download``, or a folder with the official files.
        source_folder: Where stand-in or downloaded files go.
        seed: Seed of the stand-in and of the texts' offsets.
        standin_train: Stand-in faces for training.
        standin_val: Stand-in faces for validation.
        standin_test: Stand-in faces for testing.
        random_offset: Start each text at a random place rather than at the first character.
        skip_unreadable: Leave out images that are missing or damaged, and say how many, rather than stop.

    Raises:
        MmjsdError: the sources are faulty or contradict each other, or the store cannot be written.
    """
    path = Path(path)
    counts = {"standin_train": standin_train, "standin_val": standin_val, "standin_test": standin_test}
    files = fetch_sources(source, source_folder, seed=seed, **counts)
    images, attributes, partition = files.values()
    names, classes, labels, parts = read_lists(attributes, partition)
    at_first = np.zeros(len(names), np.int64)
    texts = attribute_texts(labels, classes, np.random.default_rng(seed) if random_offset else at_first)

    # where the files lie is not part of the data: the same files give the same bytes from any folder
    kind = source if source in ("standin", "download") else "folder"
    options = {"random_offset": random_offset, "skip_unreadable": skip_unreadable}
    params = {"source": kind, **options, **(counts if kind == "standin" else {})}
    hashes = {name: sha256_file(file) for name, file in files.items() if file is not images}
    started = time.perf_counter()
    with opened(images) as found:
        skipped = {name: "is missing" for name in names if name not in found.names}
        if skipped and not skip_unreadable:
            raise MmjsdError(f"{images}: has no {some_of(skipped)}, listed in {attributes}; {SKIP}")
        if extra := found.names - set(names):
            raise MmjsdError(f"{attributes}: has no row for {some_of(extra)} of {images}; {REPLACE}")

        def write() -> None:
            kept = np.array([name not in skipped for name in names])
            rows_of = {split: np.flatnonzero(kept & (parts == part)) for part, split in enumerate(SPLITS)}
            if empty := next((split for split, rows in rows_of.items() if not len(rows)), None):
                lost = [name for name, part in zip(names, parts, strict=True) if SPLITS[part] == empty]
                raise MmjsdError(
                    f"{images}: has none of the {len(lost)} images of the split {empty} "
                    f"({lost[0]} {skipped[lost[0]]}); see that all images were extracted, or replace it"
                )
            blocks = [
                [names[row] for row in rows[start : start + _BLOCK]]
                for rows in rows_of.values()
                for start in range(0, len(rows), _BLOCK)
            ]
            with closing(decode(found, blocks, skip_unreadable)) as faces:
                write_store(
                    path,
                    kind="celeba",
                    modalities=("image", "text"),
                    classes=classes,
                    seed=seed,
                    params=params,
                    sources=lambda: {next(iter(files)): found.digest(), **hashes},
                    splits={
                        split: _split(faces, texts[rows], labels[rows]) for split, rows in rows_of.items()
                    },
                )

        while True:
            try:
                write()
                break
            except Unreadable as error:
                skipped |= error.reasons
    seconds = time.perf_counter() - started
    if not sys.stderr.isatty():
        rate = f"{len(names)} images in {seconds:.0f} s, {len(names) / seconds:.0f} images/s"
        print(f"{images}: {rate}", flush=True)
    if skipped:
        some = ", ".join(f"{name} {skipped[name]}" for name in sorted(skipped)[:5])
        more = f" and {len(skipped) - 5} others" if len(skipped) > 5 else ""
        print(f"{images}: skipped {len(skipped)} images: {some}{more}", flush=True)


def _split(faces: Iterator[NDArray[np.uint8]], texts: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """A split of N samples: the next N of ``faces``, the texts (N, L), the labels (N, A)."""
    blocks = islice(faces, math.ceil(len(labels) / _BLOCK))
    images: Any = Stream((len(labels), 3, SIZE, SIZE), np.dtype(np.uint8), blocks)
    pairs = np.arange(len(labels), dtype=np.int32)
    return Split(
        {"image": Table("image", images, labels), "text": Table("text", texts, labels, ALPHABET)},
        np.stack([pairs, pairs], axis=1),
        labels,
    )
