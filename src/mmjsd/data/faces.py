"""CelebA: aligned faces, each with the text that names its attributes."""

import hashlib
import math
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mmjsd.data.download import download
from mmjsd.data.standin_faces import write_faces
from mmjsd.data.store import Split, Stream, Table, write_store
from mmjsd.data.text import ALPHABET, attribute_texts, spelled
from mmjsd.errors import MmjsdError
from mmjsd.records import sha256_file

__all__ = [
    "SIZE",
    "build",
    "digest_images",
    "fetch_sources",
    "find_sources",
    "read_attributes",
    "read_partition",
]

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

#: Side of the stored images, in pixels.
SIZE = 64

_ALIGNED = (178, 218)
_CROP = 148
_ATTRIBUTES = 40
#: Number of each split in the list of the official partition.
_SPLITS = ("train", "val", "test")

_IMAGES = ("img_align_celeba.zip", "img_align_celeba/")
_LISTS = ("list_attr_celeba", "list_eval_partition")
# as torchvision downloads them, and as the official site has them
_FOLDERS = ("", "celeba", "CelebA", "Img", "Anno", "Eval")
# no separators and no leading dot: it never leads out of the folder of the images
_NAME = r"\w[\w.-]*\.jpg"
_REPLACE = "replace it with the official file"
_SKIP = "replace it, or set the option skip_unreadable"

_BLOCK = 256
_LARGEST = 1 << 24  # bytes of one image file; official ones have some 10 kB
_WORTH_A_WORKER = 2000  # images; fewer are decoded in the time a process takes to start


# --- lists ---


def read_attributes(path: str | Path) -> tuple[list[str], list[str], Bytes]:
    """The list of attributes, ``list_attr_celeba.txt`` or its ``.csv`` variant.

    Returns:
        Names of the N images, names of the 40 attributes, and their values (N, 40), 1 = present.

    Raises:
        MmjsdError: the list is missing, damaged or contradicts itself; names the line.
    """
    path = Path(path)
    lines = _fields(path)
    declared = None
    if path.suffix != ".csv":
        number, count = next(lines, (1, []))
        if len(count) != 1 or not re.fullmatch("[0-9]{1,9}", count[0]):
            raise _faulty(path, number, "does not start with the count of its rows")
        declared = int(count[0])
    number, header = next(lines, (1, []))
    names = header[1:] if path.suffix == ".csv" else header
    if len(names) != _ATTRIBUTES:
        raise _faulty(path, number, f"has {len(names)} names of attributes, not {_ATTRIBUTES}")
    for name in names:
        if set(spelled(name)) - set(ALPHABET) or names.count(name) > 1:
            raise _faulty(path, number, f"has the attribute {name!r} twice or in unknown characters")
    images: dict[str, None] = {}
    present = bytearray()
    for number, (image, *values) in lines:
        if len(values) != _ATTRIBUTES:
            raise _faulty(path, number, f"has {len(values)} values, not {_ATTRIBUTES}")
        if not {"1", "-1"}.issuperset(values):
            wrong = next(value for value in values if value not in ("1", "-1"))
            raise _faulty(path, number, f"has the value {wrong!r}, neither -1 nor 1")
        _add(images, image, None, path, number)
        present += bytes(value == "1" for value in values)
    if declared is not None and declared != len(images):
        raise MmjsdError(f"{path}: declares {declared} rows and has {len(images)}; {_REPLACE}")
    if not images:
        raise MmjsdError(f"{path}: has no rows; {_REPLACE}")
    return list(images), names, np.frombuffer(present, np.uint8).reshape(-1, _ATTRIBUTES)


def read_partition(path: str | Path) -> dict[str, int]:
    """The official partition, ``list_eval_partition.txt`` or its ``.csv`` variant.

    Returns:
        Name of each image -> 0 (train), 1 (val) or 2 (test).

    Raises:
        MmjsdError: the list is missing, damaged or contradicts itself; names the line.
    """
    path = Path(path)
    lines = _fields(path)
    if path.suffix == ".csv":
        next(lines, None)
    partition: dict[str, int] = {}
    for number, fields in lines:
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise _faulty(path, number, "is not the name of an image and 0, 1 or 2")
        _add(partition, fields[0], int(fields[1]), path, number)
    if not partition:
        raise MmjsdError(f"{path}: has no rows; {_REPLACE}")
    return partition


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank."""
    separator = "," if path.suffix == ".csv" else None
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line := line.strip():
                    yield number, line.split(separator)
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise MmjsdError(f"{path}: cannot be read ({reason}); {_REPLACE}") from None


def _faulty(path: Path, number: int, fault: str) -> MmjsdError:
    return MmjsdError(f"{path}: line {number} {fault}; {_REPLACE}")


def _add(rows: dict[str, Any], image: str, value: Any, path: Path, number: int) -> None:
    if not re.fullmatch(_NAME, image):
        raise _faulty(path, number, f"has {image[:40]!r} where the name of an image is expected")
    if image in rows:
        raise _faulty(path, number, f"repeats {image}")
    rows[sys.intern(image)] = value  # one copy of each name, whichever list it is read from


# --- images ---


class _WrongSize(Exception):
    pass


class _Fault(NamedTuple):
    reason: str
    skippable: bool = True


#: By position in a block.
Faults = dict[int, _Fault]


def _read_face(content: bytes) -> Bytes:
    """The image (3, 64, 64) of an aligned 178x218 JPEG: its central 148x148 pixels, bicubically resized."""
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        if image.size != _ALIGNED:
            raise _WrongSize(f"has {image.width}x{image.height} pixels, not {_ALIGNED[0]}x{_ALIGNED[1]}")
        left, top = ((side - _CROP) // 2 for side in _ALIGNED)
        face = image.crop((left, top, left + _CROP, top + _CROP)).convert("RGB")
    return np.asarray(face.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def _read_faces(contents: list[bytes]) -> tuple[Bytes, Faults]:
    """Images (N, 3, 64, 64) of N files, and what is wrong with those that have none."""
    faces = np.zeros((len(contents), 3, SIZE, SIZE), np.uint8)
    faults = {}
    for index, content in enumerate(contents):
        try:
            faces[index] = _read_face(content)
        except _WrongSize as error:
            faults[index] = _Fault(str(error), skippable=False)
        except Exception:  # Pillow raises whatever the damaged bytes lead it to
            faults[index] = _Fault("is no intact JPEG file")
    return faces, faults


class _Images(NamedTuple):
    """The images in an opened folder or zip file."""

    names: Set[str]
    read: Callable[[str], bytes]
    digest: Callable[[], str]
    """The sha256 of the zip file, or one over all files of the folder that have been read."""


@contextmanager
def _opened(path: Path) -> Iterator[_Images]:
    """Open a folder or zip file of images.

    Raises:
        MmjsdError: no folder and no intact zip file, or the zip file has a name twice.
    """
    if path.is_dir():
        digests: dict[str, str] = {}

        def read(name: str) -> bytes:
            content = _read_file(f"{path}/{name}")
            digests[name] = hashlib.sha256(content).hexdigest()
            return content

        def digest() -> str:
            lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
            return hashlib.sha256(lines.encode()).hexdigest()

        yield _Images({file.name for file in path.glob("[!.]*.jpg")}, read, digest)
        return
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises whatever the damaged bytes lead it to
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise MmjsdError(f"{path}: is no intact zip file{reason}; {_REPLACE}") from None
    with archive, ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(sha256_file, path)  # GBs, which are hashed while others decode
        entries: dict[str, zipfile.ZipInfo] = {}
        ours = re.compile(rf"(?:img_align_celeba/)*({_NAME})")
        for entry in archive.infolist():
            # whatever else is in there, hidden files or names that lead elsewhere, is none of ours
            if found := ours.fullmatch(entry.filename):
                if found[1] in entries:
                    raise MmjsdError(f"{path}: has {found[1]} twice; {_REPLACE}")
                entries[sys.intern(found[1])] = entry
        yield _Images(entries.keys(), lambda name: _read_entry(archive, entries[name]), sha256.result)


def _read_file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise ValueError("too large")
        return file.readall()


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > _LARGEST:
        raise ValueError("too large")
    with archive.open(entry) as file:
        return file.read(entry.file_size)  # no more than that is inflated, if it lies


def digest_images(folder: str | Path) -> str:
    """One sha256 over a folder of images: that of what ``sha256sum *.jpg`` prints there.

    Raises:
        OSError: an image cannot be read.
    """
    with _opened(Path(folder)) as images:
        for name in images.names:
            images.read(name)
        return images.digest()


class _Unreadable(Exception):
    """Images that cannot be read."""

    def __init__(self, reasons: dict[str, str]):
        self.reasons = reasons


def _faces(
    images: Path, blocks: Sequence[list[str]], read: Callable[[str], bytes], skip: bool
) -> Generator[Bytes]:
    """The faces (N, 3, 64, 64) of the images named in each block.

    Raises:
        MmjsdError: an image is unreadable (unless ``skip``) or of another size.
        _Unreadable: some are unreadable. Nothing follows the first of them, but all the rest is looked at.
    """
    count = sum(map(len, blocks))
    workers = min(_cores(), count // _WORTH_A_WORKER)
    unreadable: dict[str, str] = {}
    with (
        tqdm(total=count, desc=images.name, unit="image", disable=not sys.stderr.isatty()) as bar,
        closing(_decoded(_read_blocks(blocks, read), workers)) as decoded,
    ):
        for names, (faces, faults) in zip(blocks, decoded, strict=True):
            for index, (reason, skippable) in sorted(faults.items()):
                if not (skip and skippable):
                    where = f"{images / names[index]}:" if images.is_dir() else f"{images}: {names[index]}"
                    raise MmjsdError(f"{where} {reason}; {_SKIP if skippable else _REPLACE}")
                unreadable[names[index]] = reason
            bar.update(len(names))
            if not unreadable:
                yield faces
    if unreadable:
        raise _Unreadable(unreadable)


def _read_blocks(
    blocks: Iterable[list[str]], read: Callable[[str], bytes]
) -> Iterator[tuple[list[bytes], Faults]]:
    """The files named in each block; those that cannot be read are empty, and why."""
    for names in blocks:
        contents, faults = [], {}
        for index, name in enumerate(names):
            content = b""
            try:
                content = read(name)
            except Exception as error:  # zipfile raises whatever the damaged bytes lead it to
                reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:80]
                faults[index] = _Fault(f"cannot be read ({reason})")
            contents.append(content)
        yield contents, faults


def _decoded(blocks: Iterable[tuple[list[bytes], Faults]], workers: int) -> Generator[tuple[Bytes, Faults]]:
    """The images (N, 3, 64, 64) of each block, in order, and what is wrong with those that have none.

    Processes, for threads are a fifth slower on two cores: Pillow holds the interpreter's lock for too much
    of the time. Only some blocks are under way at any time, however many there are.
    """
    if workers < 2:
        for contents, unread in blocks:
            faces, faults = _read_faces(contents)
            yield faces, faults | unread
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker)
    under_way: deque[tuple[Future[tuple[Bytes, Faults]], Faults]] = deque()
    try:
        for contents, unread in blocks:
            under_way.append((pool.submit(_read_faces, contents), unread))
            if len(under_way) > 2 * workers:
                yield _next_result(under_way)
        while under_way:
            yield _next_result(under_way)
    except BrokenProcessPool:
        raise MmjsdError(
            f"images: one of the {workers} processes that decode them died; free some memory, "
            "and in a script of your own, guard the calls by `if __name__ == '__main__'`"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _next_result(under_way: deque[tuple[Future[tuple[Bytes, Faults]], Faults]]) -> tuple[Bytes, Faults]:
    future, unread = under_way.popleft()
    faces, faults = future.result()
    return faces, faults | unread


def _prepare_worker() -> None:
    # Ctrl+C is left to the parent, which stops its workers; if it dies otherwise, they follow
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- sources ---


def find_sources(folder: str | Path) -> dict[str, Path]:
    """The images and the lists in ``folder`` or its usual subfolders (celeba, CelebA, Img, Anno, Eval).

    Returns:
        ``img_align_celeba.zip`` (preferred) or ``img_align_celeba/``, then the name of the list of
        attributes, then that of the partition (each ``.txt``, preferred, or ``.csv``) -> its path.

    Raises:
        MmjsdError: some are missing; names all of them.
    """
    folder = Path(folder)
    found, missing = {}, []
    for spellings in (_IMAGES, *((f"{name}.txt", f"{name}.csv") for name in _LISTS)):
        places = [(name, folder / sub / name) for name in spellings for sub in _FOLDERS]
        place = next(((n, p) for n, p in places if (p.is_dir() if n.endswith("/") else p.is_file())), None)
        if place is None:
            missing.append(" or ".join(spellings))
        else:
            name, path = place
            # an archive unpacked into a folder of its own name
            nested = path / path.name
            found[name] = nested if nested.is_dir() else path
    if missing:
        raise MmjsdError(
            f"{folder}: no {', no '.join(missing)}; put the official files there "
            f"(looked in it and in its folders {', '.join(_FOLDERS[1:])})"
        )
    return found


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
            _download(Path(folder))
            return find_sources(folder)
        case _:
            return find_sources(source)


def _download(folder: Path) -> None:
    def fetch() -> None:
        # slow to import, and needed only here
        from torchvision.datasets import CelebA

        CelebA(folder, split="all", download=True)

    download(folder, "CelebA", (_IMAGES[0], *(f"{name}.txt" for name in _LISTS)), fetch)


# --- the store ---


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
    names, classes, labels = read_attributes(attributes)
    part_of = read_partition(partition)
    _check_same_images(names, attributes, part_of, partition)
    order = np.argsort(names)
    names, labels = [names[row] for row in order], labels[order]
    parts = np.array([part_of[name] for name in names])
    _check_parts(parts, partition)
    at_first = np.zeros(len(names), np.int64)
    texts = attribute_texts(labels, classes, np.random.default_rng(seed) if random_offset else at_first)

    # where the files lie is not part of the data: the same files give the same bytes from any folder
    kind = source if source in ("standin", "download") else "folder"
    options = {"random_offset": random_offset, "skip_unreadable": skip_unreadable}
    params = {"source": kind, **options, **(counts if kind == "standin" else {})}
    with _opened(images) as opened:
        skipped = {name: "is missing" for name in names if name not in opened.names}
        if skipped and not skip_unreadable:
            raise MmjsdError(f"{images}: has no {_some(skipped)}, listed in {attributes}; {_SKIP}")
        if extra := opened.names - set(names):
            raise MmjsdError(f"{attributes}: has no row for {_some(extra)} of {images}; {_REPLACE}")

        def write() -> None:
            kept = np.array([name not in skipped for name in names])
            _check_parts(parts[kept], partition)
            rows_of = {split: np.flatnonzero(kept & (parts == part)) for part, split in enumerate(_SPLITS)}
            blocks = [
                [names[row] for row in rows[start : start + _BLOCK]]
                for rows in rows_of.values()
                for start in range(0, len(rows), _BLOCK)
            ]
            with closing(_faces(images, blocks, opened.read, skip_unreadable)) as faces:
                write_store(
                    path,
                    kind="celeba",
                    modalities=("image", "text"),
                    classes=classes,
                    seed=seed,
                    params=params,
                    sources=lambda: dict(
                        zip(
                            files,
                            (opened.digest(), sha256_file(attributes), sha256_file(partition)),
                            strict=True,
                        )
                    ),
                    splits={
                        split: _split(faces, texts[rows], labels[rows]) for split, rows in rows_of.items()
                    },
                )

        started = time.perf_counter()
        while True:
            try:
                write()
                break
            except _Unreadable as found:
                skipped |= found.reasons
    seconds = time.perf_counter() - started
    if not sys.stderr.isatty():
        rate = f"{len(names)} images in {seconds:.0f} s, {len(names) / seconds:.0f} images/s"
        print(f"{images}: {rate}", flush=True)
    if skipped:
        some = ", ".join(f"{name} {skipped[name]}" for name in sorted(skipped)[:5])
        more = f" and {len(skipped) - 5} others" if len(skipped) > 5 else ""
        print(f"{images}: skipped {len(skipped)} images: {some}{more}", flush=True)


def _split(faces: Iterator[Bytes], texts: Bytes, labels: Bytes) -> Split:
    """A split of N samples: the next N of ``faces``, the texts (N, L), the labels (N, A)."""
    blocks = islice(faces, math.ceil(len(labels) / _BLOCK))
    images: Any = Stream((len(labels), 3, SIZE, SIZE), np.dtype(np.uint8), blocks)
    pairs = np.arange(len(labels), dtype=np.int32)
    return Split(
        {"image": Table("image", images, labels), "text": Table("text", texts, labels, ALPHABET)},
        np.stack([pairs, pairs], axis=1),
        labels,
    )


def _check_same_images(
    names: list[str], attributes: Path, partition_names: Collection[str], partition: Path
) -> None:
    for path, without in (
        (partition, set(names).difference(partition_names)),
        (attributes, set(partition_names).difference(names)),
    ):
        if without:
            other = attributes if path is partition else partition
            raise MmjsdError(f"{path}: has no row for {_some(without)} of {other}; {_REPLACE}")


def _check_parts(parts: Ints, partition: Path) -> None:
    for part, split in enumerate(_SPLITS):
        if part not in parts:
            raise MmjsdError(f"{partition}: has no image of the split {split} ({part}); {_REPLACE}")


def _some(names: Collection[str]) -> str:
    return min(names) + (f" and {len(names) - 1} others" if len(names) > 1 else "")
