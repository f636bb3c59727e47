"""MNIST: the idx files of images and labels."""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mmjsd.data.official import REPLACE
from mmjsd.data.official.download import Official, download, from_urls, is_intact
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import atomic_write

__all__ = ["FILES", "SUBFOLDERS", "download_mnist", "read_idx", "read_mnist", "spellings"]

#: The file of the images and that of the labels of each split.
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
#: Where they usually lie.
SUBFOLDERS = ("mnist", "MNIST/raw")
#: md5 of the files as they are once unpacked.
_UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_CHUNK = 1 << 20
_MOST = 1 << 20  # rows of a file; official ones have 60 000 at most


def spellings(split: str) -> list[tuple[str, str]]:
    """Spell each of the two files as it may be called; plain ones are preferred to gzipped ones."""
    return [(name, f"{name}.gz") for name in FILES[split]]


def download_mnist(folder: Path) -> dict[str, Path]:
    """Fetch the files that are not there yet into ``folder``/MNIST/raw, as torchvision does, and unpack them.

    Returns:
        Name of each file -> its path.

    Raises:
        MmjsdError: see :func:`mmjsd.data.official.download.download`.
    """
    from torchvision.datasets import MNIST  # slow to import, and needed only here

    raw, files = folder / "MNIST" / "raw", {}
    for packed, md5 in MNIST.resources:
        name = packed.removesuffix(".gz")
        files[name] = raw / name
        if not is_intact(raw / name, _UNPACKED[name]):
            mirrors = from_urls(*(f"{mirror}{packed}" for mirror in MNIST.mirrors))
            official = Official(raw / packed, md5, mirrors)
            download("MNIST", [official], [packed for packed, _ in MNIST.resources])
            atomic_write(raw / name, gzip.decompress((raw / packed).read_bytes()))
    return files


def read_mnist(images: str | Path, labels: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images (N, 1, 28, 28) and labels (N,) of one split.

    Raises:
        MmjsdError: see :func:`read_idx`, or the two files do not belong together.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, values, axes, content in ((images, x, 3, "images"), (labels, y, 1, "labels")):
        if values.ndim != axes:
            raise MmjsdError(f"{path}: does not hold {content}; {REPLACE}")
    if len(x) != len(y):
        raise MmjsdError(f"{labels}: has {len(y)} labels for the {len(x)} images of {images}; {REPLACE}")
    return x[:, None], y.astype(np.int64)


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Read an idx file: images (N, 28, 28) or labels (N,) in 0..9.

    Plain or gzipped, whatever its name says: browsers unpack files and leave them their names.

    Raises:
        MmjsdError: the file is missing, damaged, not such a file, or has labels that are no digits.
    """
    path = Path(path)
    try:
        with open(path, "rb") as plain:
            start = plain.read(4)
            plain.seek(0)
            packed = start[:2] == b"\x1f\x8b" or (path.suffix == ".gz" and start[:3] != b"\0\0\x08")
            with gzip.open(plain) if packed else plain as file:
                values = _values(path, file)
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise MmjsdError(f"{path}: is no intact gzip file; {REPLACE}") from None
    except OSError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if values.ndim == 1 and values.max() > 9:
        raise MmjsdError(f"{path}: has label {values.max()}, not only 0..9; {REPLACE}")
    return values


def _values(path: Path, file: BinaryIO | gzip.GzipFile) -> NDArray[np.uint8]:
    header = file.read(8)
    magic, count = (int.from_bytes(part, "big") for part in (header[:4], header[4:]))
    if len(header) < 8 or magic not in (2049, 2051):
        raise MmjsdError(f"{path}: is not an idx file of MNIST; {REPLACE}")
    shape = [count]
    if magic == 2051:
        sides = file.read(8)
        shape += [int.from_bytes(part, "big") for part in (sides[:4], sides[4:])]
        if shape[1:] != [28, 28]:
            raise MmjsdError(f"{path}: has images of {shape[1]}x{shape[2]} pixels, not 28x28; {REPLACE}")
    if not count:
        raise MmjsdError(f"{path}: is empty; {REPLACE}")
    if count > _MOST:
        raise MmjsdError(f"{path}: declares {count} rows, more than MNIST can have; {REPLACE}")
    declared = math.prod(shape)
    # in pieces, so that a false header cannot ask for all the memory
    content = b"".join(_pieces(file, declared))
    if len(content) < declared:
        raise MmjsdError(
            f"{path}: was cut short, {len(content)} of {declared} bytes of data are there; {REPLACE}"
        )
    if file.read(1):
        raise MmjsdError(f"{path}: has more data than the {declared} bytes it declares; {REPLACE}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _pieces(file: BinaryIO | gzip.GzipFile, size: int) -> Iterator[bytes]:
    while size and (piece := file.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece
