"""PolyMNIST: five pictures of one digit, each by another hand and on a background of its own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmjsd.data.decoding import Images
from mmjsd.data.official import REPLACE, mnist
from mmjsd.data.official.finding import find
from mmjsd.data.official.polymnist import (
    SHAPE,
    decoded,
    digest_images,
    extent,
    label_of,
    names_of,
    pictures_of,
    read_backgrounds,
)
from mmjsd.data.store import Split, Stream, Table, write_store
from mmjsd.errors import MmjsdError
from mmjsd.params.sources import effective, origin
from mmjsd.params.types import ImageCount
from mmjsd.provenance.files import sha256_file

__all__ = [
    "LABELS",
    "LICENCE",
    "MODALITIES",
    "ON_ALL_CORES",
    "ORIGINS",
    "build",
    "digest_images",
    "extent",
    "find_sources",
]

MODALITIES = dict.fromkeys(("m0", "m1", "m2", "m3", "m4"), "image 3x28x28")
LABELS = "class"
LICENCE = "MNIST: CC BY-SA 3.0; of the background pictures not known"
ORIGINS = ("standin", "folder")
ON_ALL_CORES = True

_SPLITS = ("train", "test")
#: As the released archive has them, and as people rename it.
_SUBFOLDERS = ("MMNIST", "PolyMNIST")
_BACKGROUNDS = "backgrounds/"

_INK = 128  # what is brighter belongs to a digit
_BLOCK = 1000  # images made at a time

Bytes = NDArray[np.uint8]


def find_sources(folder: str | Path) -> dict[str, Path]:
    """Find the released folders of images, or files of MNIST and, where there is one, a folder `backgrounds`.

    Returns:
        `train/m0/` to `test/m4/`, or the name of each file of MNIST and `backgrounds/` -> the path.

    Raises:
        MmjsdError: some are missing (names all of them), or there are more modalities than five.
    """
    folder = Path(folder)
    places = [folder / sub / split for sub in ("", *_SUBFOLDERS) for split in _SPLITS]
    if any(place.is_dir() for place in places):
        for other in (path for place in places for path in place.glob("m[0-9]*")):
            if other.is_dir() and other.name not in MODALITIES:
                raise MmjsdError(f"{other}: PolyMNIST has five modalities, m0 to m4; take the others away")
        return find(folder, [(f"{split}/{m}/",) for split in _SPLITS for m in MODALITIES], _SUBFOLDERS)
    try:
        files = find(
            folder, [names for split in _SPLITS for names in mnist.spellings(split)], mnist.SUBFOLDERS
        )
    except MmjsdError as error:
        raise MmjsdError(f"{error}, or the released folders train/m0 to test/m4") from None
    backgrounds = folder / _BACKGROUNDS
    return files | ({_BACKGROUNDS: backgrounds} if backgrounds.is_dir() else {})


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    max_per_class: Annotated[int, Field(ge=2, le=10**6)] = 10000,
    standin_train: ImageCount = 10000,
    standin_test: ImageCount = 2000,
) -> None:
    """Build the store.

    From files of MNIST it is made as the release of MoPoE does (Sutter, Daunhawer & Vogt 2021): per class and
    modality the images are permuted, and in a crop of the modality's background, at a random place, the
    pixels of the digit are inverted. Without a folder of backgrounds these are drawn. Samples are by class.

    Args:
        path: Store to write.
        source: ``standin``, or a folder with the released images, or with files of MNIST and, in its folder
            `backgrounds`, five pictures.
        source_folder: Where stand-in files go.
        seed: Seed of the stand-in, the pairing, the crops and drawn backgrounds.
        max_per_class: Rows of a class used per split, at most.
        standin_train: Training images of each stand-in source.
        standin_test: Test images of each stand-in source.

    Raises:
        MmjsdError: the sources are faulty, or a class has no images in a split.
    """
    if origin(source) == "standin":
        from mmjsd.data.standin.digits import write_mnist  # slow to import

        files = write_mnist(source_folder, standin_train, standin_test, seed)
    else:
        files = find_sources(source)
        if not any(name.endswith("/") for name in files):
            print(f"{source}: has no folder backgrounds: they are drawn", flush=True)
    folders = {name: pictures_of(path) for name, path in files.items() if name.endswith("/")}
    if _BACKGROUNDS in folders:
        made_with, backgrounds = "pictures", read_backgrounds(folders[_BACKGROUNDS], len(MODALITIES))
    elif folders:
        made_with, backgrounds = "released", None
    else:
        from mmjsd.data.standin.textures import textures  # slow to import

        made_with, backgrounds = "drawn", textures(seed)
    splits = {}
    for number, split in enumerate(_SPLITS):
        if backgrounds is None:
            of_split = {name: images for name, images in folders.items() if name.startswith(split)}
            splits[split] = _released(of_split, split, max_per_class)
        else:
            of_mnist = [files.get(name) or files[f"{name}.gz"] for name in mnist.FILES[split]]
            splits[split] = _made(of_mnist, backgrounds, split, [seed, number], max_per_class)
    options: dict[str, Any] = {
        "max_per_class": max_per_class,
        "standin_train": standin_train,
        "standin_test": standin_test,
    }
    write_store(
        path,
        kind="polymnist",
        modalities=list(MODALITIES),
        classes=[str(digit) for digit in range(10)],
        seed=seed,
        params={"source": origin(source), "backgrounds": made_with, **effective(source, options)},
        sources=lambda: {
            name: folders[name].digest() if name in folders else sha256_file(file)
            for name, file in files.items()
        },
        splits=splits,
    )


def _released(folders: Mapping[str, Images], split: str, most: int) -> Split:
    """Take the images of a split from the folders of its modalities."""
    names = names_of(folders)
    labels = np.array([label_of(name) for name in names])
    rows = _by_class(labels, most, split, next(iter(folders.values())).path)
    chosen = [names[row] for row in rows]
    blocks = {m: decoded(images, chosen) for m, images in zip(MODALITIES, folders.values(), strict=True)}
    return _split(labels[rows], blocks)


def _made(
    files: Sequence[Path], backgrounds: Sequence[Bytes], split: str, seed: list[int], most: int
) -> Split:
    """Make the images of a split from the files of MNIST's images and labels."""
    digits, labels = mnist.read_mnist(*files)
    rows = _by_class(labels, most, split, files[1])
    blocks = {}
    for number, (modality, background) in enumerate(zip(MODALITIES, backgrounds, strict=True)):
        rng = np.random.default_rng([*seed, number])
        blocks[modality] = _inverted(digits, rows, labels[rows], background, rng)
    return _split(labels[rows], blocks)


def _by_class(labels: NDArray[np.int64], most: int, split: str, place: Path) -> NDArray[np.int64]:
    """The rows of each class, no more than `most` of them, class by class."""
    of_class = [np.flatnonzero(labels == digit)[:most] for digit in range(10)]
    for digit, rows in enumerate(of_class):
        if not len(rows):
            raise MmjsdError(f"{place}: has no {digit} for the {split} split; {REPLACE}")
    return np.concatenate(of_class)


def _inverted(
    digits: Bytes,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    background: Bytes,
    rng: np.random.Generator,
) -> Iterator[Bytes]:
    """Put digits (N, 1, 28, 28) of these rows and labels (P,), permuted within labels, on a background.

    Yields:
        Some of the images (P, 3, 28, 28) at a time.
    """
    order = np.concatenate([rng.permutation(rows[labels == digit]) for digit in range(10)])
    crops = np.lib.stride_tricks.sliding_window_view(background, digits.shape[2:], axis=(1, 2))
    for first in range(0, len(order), _BLOCK):
        block = order[first : first + _BLOCK]
        top, left = (rng.integers(places, size=len(block)) for places in crops.shape[1:3])
        ground = crops[:, top, left].swapaxes(0, 1)
        yield np.where(digits[block] > _INK, 255 - ground, ground)


def _split(labels: NDArray[np.int64], blocks: Mapping[str, Iterator[Bytes]]) -> Split:
    """Make a split of P samples of these labels, and of the images of each modality in this order."""
    shape = (len(labels), *SHAPE)
    streams: dict[str, Any] = {m: Stream(shape, np.dtype(np.uint8), images) for m, images in blocks.items()}
    pairs = np.repeat(np.arange(len(labels), dtype=np.int32)[:, None], len(streams), axis=1)
    return Split({m: Table("image", stream, labels) for m, stream in streams.items()}, pairs, labels)
