"""Files of MNIST and SVHN: handwritten digits and house numbers."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from mmjsd.data.standin.handwriting import handwritten, originals, split_originals
from mmjsd.data.standin.street_numbers import street_numbers
from mmjsd.data.standin.warping import Ints
from mmjsd.data.writing import replacing

__all__ = ["write_mnist", "write_svhn"]

_BATCH = 1000


def write_mnist(folder: str | Path, train: int, test: int, seed: int) -> dict[str, Path]:
    """Write the four idx files of MNIST with ``train`` and ``test`` images into ``folder``.

    No handwritten original is used for both splits.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    strokes, classes = originals()
    pools = split_originals(classes, rng)
    written = {}
    for prefix, count, pool in zip(("train", "t10k"), (train, test), pools, strict=True):
        labels = _balanced(count, rng)
        rows = np.empty(count, np.int64)
        for digit in range(10):
            of_digit = labels == digit
            rows[of_digit] = rng.choice(pool[classes[pool] == digit], of_digit.sum())
        images = np.concatenate([handwritten(strokes[batch], rng) for batch in _batches(rows)])
        for name, magic, values in (
            (f"{prefix}-images-idx3-ubyte.gz", 2051, images),
            (f"{prefix}-labels-idx1-ubyte.gz", 2049, labels.astype(np.uint8)),
        ):
            header = np.array([magic, *values.shape], ">i4").tobytes()
            content = gzip.compress(header + values.tobytes(), compresslevel=6, mtime=0)
            written[name] = _write(Path(folder) / name, content)
    return written


def write_svhn(folder: str | Path, train: int, test: int, seed: int) -> dict[str, Path]:
    """Write the two MATLAB files of SVHN (cropped digits) with ``train`` and ``test`` images into ``folder``.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    written = {}
    for split, count in (("train", train), ("test", test)):
        labels = _balanced(count, rng)
        images = np.concatenate([street_numbers(batch, rng) for batch in _batches(labels)])
        name = f"{split}_32x32.mat"
        written[name] = _write(Path(folder) / name, _mat(images, labels))
    return written


def _balanced(count: int, rng: np.random.Generator) -> Ints:
    """Shuffled digits (count,), each as often as the others, or once more."""
    return rng.permutation(np.arange(count) % 10)


def _batches(values: Ints) -> Iterator[Ints]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _write(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _mat(images: NDArray[np.uint8], labels: Ints) -> bytes:
    """MATLAB 5 file of images (N, 32, 32, 3) and labels, where 10 stands for digit 0."""
    buffer = io.BytesIO()
    y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    content = {"X": images.transpose(1, 2, 3, 0), "y": y}
    scipy.io.savemat(buffer, content)  # type: ignore[arg-type]  # open files are fine, the stubs are too strict
    # the first 116 bytes are free text, where scipy puts the time of day
    return b"MATLAB 5.0 MAT-file, stand-in of mmjsd".ljust(116) + buffer.getvalue()[116:]
