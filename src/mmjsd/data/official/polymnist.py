"""PolyMNIST: the released folders of pictures, a folder a modality, each named by number and label."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmjsd.data.decoding import Images, WrongSize, decode, images_of
from mmjsd.data.official import REPLACE
from mmjsd.data.official.finding import is_foreign
from mmjsd.errors import MmjsdError
from mmjsd.modalities.image import prepare, prepare_image
from mmjsd.modalities.preparation import Unfit

__all__ = [
    "SHAPE",
    "decoded",
    "digest_images",
    "extent",
    "label_of",
    "names_of",
    "pictures_of",
    "read_backgrounds",
]

#: Of an image.
SHAPE = (3, 28, 28)

_NAME = re.compile(r"([0-9]{1,9})\.([0-9])\.png")
_LARGEST = 1 << 28  # bytes of one file, which may be the photo of a background
_BLOCK = 256  # images decoded at a time


def pictures_of(folder: str | Path) -> Images:
    """Open a folder of pictures, released images or backgrounds, whatever they are called.

    Raises:
        MmjsdError: it cannot be read.
    """
    return images_of(Path(folder), {name: name for name in _sizes(Path(folder))}, _LARGEST)


def extent(folder: Path) -> list[int]:
    """Count the pictures in a folder, and their bytes together.

    Raises:
        MmjsdError: it cannot be read.
    """
    sizes = _sizes(folder)
    return [len(sizes), sum(sizes.values())]


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of each file of a folder, but of those that systems leave behind."""
    try:
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if entry.is_file() and not is_foreign(entry.name)]
            return {entry.name: entry.stat().st_size for entry in files}
    except OSError as error:
        raise MmjsdError(
            f"{error.filename or folder}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def digest_images(folder: Path) -> str:
    """Hash a folder of pictures: the sha256 of what `sha256sum *` prints there.

    Raises:
        MmjsdError: one cannot be read.
    """
    images = pictures_of(folder)
    _read(images, images.names)
    return images.digest()


def _read(images: Images, names: Iterable[str]) -> None:
    """Read pictures for no more than their digest."""
    for name in names:
        try:
            images.read(name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MmjsdError(f"{images.place(name)} cannot be read ({reason}); {REPLACE}") from None


def label_of(name: str) -> int:
    """Read the digit off the name of a released image, ``<n>.<label>.png``."""
    return int(name.split(".")[1])


def names_of(folders: Mapping[str, Images]) -> list[str]:
    """List the names that the images of a split have in the folders of all modalities: by label and number.

    Args:
        folders: Modality -> its images.

    Raises:
        MmjsdError: a folder has none, or other files, or not the same names as the others.
    """
    for images in folders.values():
        if odd := sorted(name for name in images.names if not _NAME.fullmatch(name)):
            raise MmjsdError(
                f"{images.path / odd[0]}: is not called <number>.<label>.png, with a label of 0..9; "
                "remove it, or correct its name"
            )
        if not images.names:
            raise MmjsdError(
                f"{images.path}: has no pictures <number>.<label>.png; put the released ones there"
            )
    everywhere = set().union(*(images.names for images in folders.values()))
    for images in folders.values():
        if missing := everywhere - images.names:
            name = min(missing, key=_order)
            other = next(there for there in folders.values() if name in there.names)
            number = name.split(".")[0]
            same = (f"{number}.{label}.png" for label in range(10))
            differs = [like for like in same if like in images.names and like not in other.names]
            but = f", but {differs[0]}, of another label" if differs else ""
            raise MmjsdError(
                f"{images.path}: has no {name}, which {other.path} has{but} ({len(missing)} missing); each "
                "name must be in the folders of all modalities"
            )
    return sorted(everywhere, key=_order)


def _order(name: str) -> tuple[int, int, str]:
    return label_of(name), int(name.split(".")[0]), name


def decoded(images: Images, names: list[str]) -> Iterator[NDArray[np.uint8]]:
    """Decode the images of these names on all cores: some (N, 3, 28, 28) at a time, in order.

    The others are read as well, for the digest is of the whole folder.

    Raises:
        MmjsdError: one is damaged or of another size.
    """
    blocks = [names[first : first + _BLOCK] for first in range(0, len(names), _BLOCK)]
    yield from decode(images, blocks, _read_image, SHAPE, skip=False, remedy=REPLACE)
    _read(images, images.names - set(names))


def _read_image(content: bytes) -> NDArray[np.uint8]:
    image, change = prepare(BytesIO(content), SHAPE)
    if change:
        raise WrongSize(f"has {change.split()[0]} pixels, not {SHAPE[1]}x{SHAPE[2]}; {REPLACE}")
    return image


def read_backgrounds(images: Images, count: int) -> list[NDArray[np.uint8]]:
    """Read the backgrounds (3, H, W) of as many modalities from pictures, in the order of their names.

    Raises:
        MmjsdError: there are more or fewer of them, or one is damaged or smaller than an image.
    """
    if len(images.names) != count:
        raise MmjsdError(
            f"{images.path}: has {len(images.names)} files, and not {count} pictures, one a modality; "
            "add or remove some"
        )
    return [_background(images, name) for name in sorted(images.names)]


def _background(images: Images, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(BytesIO(images.read(name))) as picture:
            upright = ImageOps.exif_transpose(picture)
            background, _ = prepare_image(upright, (3, upright.height, upright.width))
    except MemoryError:
        raise
    except Unfit as error:
        raise MmjsdError(f"{images.place(name)} {error}") from None
    except Exception as error:  # Pillow raises whatever the damaged bytes lead it to
        reason = getattr(error, "strerror", None) or "damaged, or no picture"
        raise MmjsdError(f"{images.place(name)} cannot be read ({reason}); save it as PNG or JPEG") from None
    if min(background.shape[1:]) < min(SHAPE[1:]):
        raise MmjsdError(
            f"{images.place(name)} has {upright.width}x{upright.height} pixels, fewer than the "
            f"{SHAPE[1]}x{SHAPE[2]} of an image; take a larger picture"
        )
    return background
