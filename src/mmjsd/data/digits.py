"""MNIST-SVHN-Text: the official files of MNIST and SVHN, matched by class with the word of the digit."""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io
from numpy.typing import NDArray

from mmjsd.data.download import Official, download, from_urls, is_intact
from mmjsd.data.official import find
from mmjsd.data.standin import write_mnist, write_svhn
from mmjsd.data.store import Split, Table, write_store
from mmjsd.data.text import word_table
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET
from mmjsd.records import atomic_write, sha256_file

__all__ = ["build", "fetch_sources", "find_sources", "read_idx", "read_mnist", "read_svhn"]

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

#: Files of each split: images and labels of MNIST, and SVHN.
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train_32x32.mat"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "test_32x32.mat"),
}
_FOLDERS = ("mnist", "MNIST/raw", "svhn", "SVHN")
#: md5 of the idx files as they are once unpacked.
_UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_REPLACE = "replace it with the official file"
_CHUNK = 1 << 20
_MOST = 1 << 20  # rows of a file; official ones have 60 000 at most


def read_idx(path: str | Path) -> Bytes:
    """An idx file of MNIST: images (N, 28, 28) or labels (N,) in 0..9.

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
                values = _idx_values(path, file)
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise MmjsdError(f"{path}: is no intact gzip file; {_REPLACE}") from None
    except OSError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if values.ndim == 1 and values.max() > 9:
        raise MmjsdError(f"{path}: has label {values.max()}, not only 0..9; {_REPLACE}")
    return values


def _idx_values(path: Path, file: BinaryIO | gzip.GzipFile) -> Bytes:
    header = file.read(8)
    magic, count = (int.from_bytes(part, "big") for part in (header[:4], header[4:]))
    if len(header) < 8 or magic not in (2049, 2051):
        raise MmjsdError(f"{path}: is not an idx file of MNIST; {_REPLACE}")
    shape = [count]
    if magic == 2051:
        sides = file.read(8)
        shape += [int.from_bytes(part, "big") for part in (sides[:4], sides[4:])]
        if shape[1:] != [28, 28]:
            raise MmjsdError(f"{path}: has images of {shape[1]}x{shape[2]} pixels, not 28x28; {_REPLACE}")
    if not count:
        raise MmjsdError(f"{path}: is empty; {_REPLACE}")
    if count > _MOST:
        raise MmjsdError(f"{path}: declares {count} rows, more than MNIST can have; {_REPLACE}")
    declared = math.prod(shape)
    # in pieces, so that a false header cannot ask for all the memory
    content = b"".join(_pieces(file, declared))
    if len(content) < declared:
        raise MmjsdError(
            f"{path}: was cut short, {len(content)} of {declared} bytes of data are there; {_REPLACE}"
        )
    if file.read(1):
        raise MmjsdError(f"{path}: has more data than the {declared} bytes it declares; {_REPLACE}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _pieces(file: BinaryIO | gzip.GzipFile, size: int) -> Iterator[bytes]:
    while size and (piece := file.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece


def read_mnist(images: str | Path, labels: str | Path) -> tuple[Bytes, Ints]:
    """Images (N, 1, 28, 28) and labels (N,) of one split of MNIST.

    Raises:
        MmjsdError: see :func:`read_idx`, or the two files do not belong together.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, values, axes, content in ((images, x, 3, "images"), (labels, y, 1, "labels")):
        if values.ndim != axes:
            raise MmjsdError(f"{path}: does not hold {content}; {_REPLACE}")
    if len(x) != len(y):
        raise MmjsdError(f"{labels}: has {len(y)} labels for the {len(x)} images of {images}; {_REPLACE}")
    return x[:, None], y.astype(np.int64)


def read_svhn(path: str | Path) -> tuple[Bytes, Ints]:
    """Images (N, 3, 32, 32) and labels (N,) in 0..9 of one split of SVHN (cropped digits); label 10 means 0.

    Raises:
        MmjsdError: the file is missing, damaged, not such a file, or has labels outside 1..10.
    """
    path = Path(path)
    if not path.is_file():
        raise MmjsdError(f"{path}: no such file; check the path")
    try:
        content: dict[str, Any] = scipy.io.loadmat(str(path), appendmat=False, variable_names=["X", "y"])
    except OSError as error:
        if error.errno:  # without, the bytes are at fault
            raise MmjsdError(
                f"{path}: cannot be read ({error.strerror}); check disk and permissions"
            ) from None
        raise MmjsdError(f"{path}: is no intact MATLAB 5 file; {_REPLACE}") from None
    except MemoryError:
        raise
    except NotImplementedError:
        raise MmjsdError(
            f"{path}: is a MATLAB 7.3 file, not one of MATLAB 5 like the official; {_REPLACE}"
        ) from None
    except Exception:  # scipy raises whatever the damaged bytes lead it to
        raise MmjsdError(f"{path}: is no intact MATLAB 5 file; {_REPLACE}") from None
    for name in ("X", "y"):
        if name not in content:
            raise MmjsdError(f"{path}: has no {name}, or was cut short; {_REPLACE}")
    x, y = content["X"], content["y"]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or not x.size:
        raise MmjsdError(f"{path}: X is {x.dtype} {x.shape}, not uint8 (32, 32, 3, N); {_REPLACE}")
    if y.dtype.kind not in "uif" or y.shape != (x.shape[3], 1):
        raise MmjsdError(
            f"{path}: y is {y.dtype} {y.shape}, not labels ({x.shape[3]}, 1) of the images; {_REPLACE}"
        )
    if not np.isin(y, range(1, 11)).all():
        raise MmjsdError(f"{path}: y has labels outside 1..10; {_REPLACE}")
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y[:, 0].astype(np.int64) % 10


def find_sources(folder: str | Path) -> dict[str, Path]:
    """The official files in ``folder`` or its usual subfolders (mnist, MNIST/raw, svhn, SVHN).

    Returns:
        Official name of each file -> its path; a plain idx file is preferred to a gzipped one.

    Raises:
        MmjsdError: files are missing; names all of them.
    """
    names = [name for names in _FILES.values() for name in names]
    return find(
        folder, [(name,) if name.endswith(".mat") else (name, f"{name}.gz") for name in names], _FOLDERS
    )


def fetch_sources(
    source: str, folder: str | Path, *, seed: int, standin_train: int, standin_test: int
) -> dict[str, Path]:
    """The source files: generated into ``folder``, downloaded into it, or found in the folder ``source``.

    Args:
        source: ``standin``, ``download``, or a folder with the official files.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: the files cannot be written, had or found.
    """
    match source:
        case "standin":
            counts = {"train": standin_train, "test": standin_test, "seed": seed}
            return write_mnist(folder, **counts) | write_svhn(folder, **counts)
        case "download":
            return _download(Path(folder))
        case _:
            return find_sources(source)


def _download(folder: Path) -> dict[str, Path]:
    from torchvision.datasets import MNIST, SVHN  # slow to import, and needed only here

    raw, files = folder / "MNIST" / "raw", {}
    for packed, md5 in MNIST.resources:
        name = packed.removesuffix(".gz")
        files[name] = raw / name
        if not is_intact(raw / name, _UNPACKED[name]):
            official = Official(
                raw / packed, md5, from_urls(*(f"{mirror}{packed}" for mirror in MNIST.mirrors))
            )
            download("MNIST", [official], [packed for packed, _ in MNIST.resources])
            atomic_write(raw / name, gzip.decompress((raw / packed).read_bytes()))
    parts = [SVHN.split_list[split] for split in _FILES]
    files |= {name: folder / "svhn" / name for _, name, _ in parts}
    download(
        "SVHN", [Official(files[name], md5, from_urls(url)) for url, name, md5 in parts], list(files)[4:]
    )
    return files


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    max_per_class: int = 10000,
    pairs_per_sample: int = 20,
    standin_train: int,
    standin_test: int,
) -> None:
    """Build the store of the kind ``mnist_svhn_text``.

    Per class and split, the first n = min(count in MNIST, count in SVHN, ``max_per_class``) images of each
    are matched by independent random permutations, ``pairs_per_sample`` times, and each pair with the word
    at a random offset.

    Args:
        path: Store to write.
        source: ``standin``, ``download``, or a folder with the official files.
        source_folder: Where stand-in or downloaded files go.
        seed: Seed of the stand-in and of the pairing.
        standin_train: Training images of each stand-in source.
        standin_test: Test images of each stand-in source.

    Raises:
        MmjsdError: the sources are faulty (see the readers), or a class has no images in one of them.
    """
    files = fetch_sources(
        source, source_folder, seed=seed, standin_train=standin_train, standin_test=standin_test
    )
    of_name = {name.removesuffix(".gz"): path for name, path in files.items()}
    rng = np.random.default_rng(seed)
    splits = {
        split: _pair([of_name[name] for name in names], split, rng, max_per_class, pairs_per_sample)
        for split, names in _FILES.items()
    }
    # where the files lie is not part of the data: the same files give the same bytes from any folder
    kind = source if source in ("standin", "download") else "folder"
    params: dict[str, Any] = {
        "source": kind,
        "max_per_class": max_per_class,
        "pairs_per_sample": pairs_per_sample,
    }
    if kind == "standin":
        params |= {"standin_train": standin_train, "standin_test": standin_test}
    write_store(
        path,
        kind="mnist_svhn_text",
        modalities=("mnist", "svhn", "text"),
        classes=[str(digit) for digit in range(10)],
        seed=seed,
        params=params,
        sources={name: sha256_file(file) for name, file in files.items()},
        splits=splits,
    )


def _pair(files: list[Path], split: str, rng: np.random.Generator, max_per_class: int, times: int) -> Split:
    mnist_images, mnist_labels = read_mnist(*files[:2])
    svhn_images, svhn_labels = read_svhn(files[2])
    words, word_labels = word_table()
    rows: dict[str, list[Ints]] = {"mnist": [], "svhn": []}
    pairs, start = [], 0
    for digit in range(10):
        of_digit = {
            "mnist": np.flatnonzero(mnist_labels == digit),
            "svhn": np.flatnonzero(svhn_labels == digit),
        }
        for file, found in zip(files[1:], of_digit.values(), strict=True):
            if not len(found):
                raise MmjsdError(f"{file}: has no {digit} for the {split} split; {_REPLACE}")
        n = min(max_per_class, *map(len, of_digit.values()))
        for modality, found in of_digit.items():
            rows[modality].append(found[:n])
        # row r of both tables is of this class for start <= r < start + n
        orders = [rng.permuted(np.tile(np.arange(n), (times, 1)), axis=1).ravel() + start for _ in of_digit]
        texts = rng.choice(np.flatnonzero(word_labels == digit), times * n)
        pairs.append(np.stack([*orders, texts], axis=1))
        start += n
    chosen = {modality: np.concatenate(parts) for modality, parts in rows.items()}
    samples = np.concatenate(pairs).astype(np.int32)
    tables = {
        "mnist": Table("image", mnist_images[chosen["mnist"]], mnist_labels[chosen["mnist"]]),
        "svhn": Table("image", svhn_images[chosen["svhn"]], svhn_labels[chosen["svhn"]]),
        "text": Table("text", words, word_labels, ALPHABET),
    }
    return Split(tables, samples, tables["mnist"].labels[samples[:, 0]])
