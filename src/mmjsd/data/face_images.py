"""The images of CelebA: read from a folder or zip file, decoded on all cores."""

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mmjsd.data.face_lists import REPLACE, image_name
from mmjsd.data.official import is_foreign
from mmjsd.errors import MmjsdError
from mmjsd.modalities.image import FACE, prepare_image
from mmjsd.modalities.preparation import Unfit
from mmjsd.records import sha256_file

__all__ = ["FOLDER", "SIZE", "SKIP", "Images", "Unreadable", "decode", "digest_images", "extent", "opened"]

Bytes = NDArray[np.uint8]

#: Of the official images.
FOLDER = "img_align_celeba"
#: Side of the decoded images, in pixels.
SIZE = 64
#: The remedy for images that are missing or damaged.
SKIP = "replace it, or set the option skip_unreadable"

_LARGEST = 1 << 24  # bytes of one image file; official ones have some 10 kB
_WORTH_A_WORKER = 2000  # images; fewer are decoded in the time a process takes to start


class Images(NamedTuple):
    """The images in an opened folder or zip file, by the names that the lists have of them."""

    path: Path
    """Of the folder or zip file."""
    names: Set[str]
    place: Callable[[str], str]
    """Where an image is, for people."""
    read: Callable[[str], bytes]
    digest: Callable[[], str]
    """The sha256 of the zip file, or one over all files of the folder that have been read."""


class Unreadable(Exception):
    """Images that cannot be read."""

    def __init__(self, reasons: dict[str, str]):
        self.reasons = reasons


@contextmanager
def opened(path: Path) -> Iterator[Images]:
    """Open a folder or zip file of images.

    Raises:
        MmjsdError: no folder and no intact zip file, one without images, or a name twice.
    """
    if path.is_dir():
        files = {name: entry.name for name, entry in _files(path)}
        digests: dict[str, str] = {}

        def read(name: str) -> bytes:
            content = _read_file(f"{path}/{files[name]}")
            digests[name] = hashlib.sha256(content).hexdigest()
            return content

        def digest() -> str:
            lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
            return hashlib.sha256(lines.encode()).hexdigest()

        yield Images(path, files.keys(), lambda name: f"{path / files[name]}:", read, digest)
        return
    try:
        archive = zipfile.ZipFile(path)
    except PermissionError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except Exception as error:  # zipfile raises whatever the damaged bytes lead it to
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise MmjsdError(f"{path}: is no intact zip file{reason}; {REPLACE}") from None
    with archive, ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(sha256_file, path)  # GBs, which are hashed while others decode
        entries = _entries(path, archive)

        def read_entry(name: str) -> bytes:
            return _read_entry(archive, entries[name])

        def digest_file() -> str:
            try:
                return sha256.result()
            except OSError as error:
                raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check the disk") from None

        yield Images(path, entries.keys(), lambda name: f"{path}: {name}", read_entry, digest_file)


def extent(folder: Path) -> list[int]:
    """Number of the images in a folder, and their bytes together; what else is in there is not looked at.

    Raises:
        MmjsdError: a name twice, or the folder cannot be read.
    """
    try:
        sizes = [entry.stat().st_size for _, entry in _files(folder)]
    except OSError as error:
        raise MmjsdError(
            f"{error.filename or folder}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    return [len(sizes), sum(sizes)]


def _files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The images in a folder by the names that the lists have of them."""
    found: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if name := image_name(entry.name):
                if name in found:
                    raise MmjsdError(
                        f"{folder}: has {name} twice, as {found[name]} and {entry.name}; remove one"
                    )
                name = sys.intern(name)  # one copy of each, however often it is listed
                found[name] = entry.name
                yield name, entry


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The images of the one folder in a zip file that has them, whatever it is called and lies in."""
    folders: dict[tuple[str, ...], dict[str, zipfile.ZipInfo]] = {}
    for entry in archive.infolist():
        # Windows writes backslashes, some tools a leading "./"
        *folder, file = (part for part in entry.filename.replace("\\", "/").split("/") if part != ".")
        name = image_name(file)
        # whatever else is in there, hidden files or names that lead elsewhere, is none of ours
        if name and not any(not part or ":" in part or is_foreign(part) for part in folder):
            images = folders.setdefault(tuple(folder), {})
            if name in images:
                raise MmjsdError(f"{path}: has {name} twice; {REPLACE}")
            images[sys.intern(name)] = entry
    named = {folder: images for folder, images in folders.items() if (folder or ("",))[-1].lower() == FOLDER}
    found = list((named or folders).items())
    if len(found) > 1:
        several = ", ".join("/".join(folder) or "." for folder, _ in found[:3])
        raise MmjsdError(f"{path}: has images in several folders ({several}); leave those of {FOLDER} alone")
    if not found:
        several = ", ".join(archive.namelist()[:3]) or "nothing"
        raise MmjsdError(f"{path}: has no images {FOLDER}/000001.jpg ... (it has {several}); {REPLACE}")
    return found[0][1]


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
    with opened(Path(folder)) as images:
        for name in images.names:
            images.read(name)
        return images.digest()


class _WrongSize(Exception):
    """The width and height in pixels that an image has."""


class _Fault(NamedTuple):
    reason: str
    skippable: bool = True


#: By position in a block.
Faults = dict[int, _Fault]


def decode(images: Images, blocks: Sequence[list[str]], skip: bool) -> Generator[Bytes]:
    """The faces (N, 3, 64, 64) of the images named in each block.

    Raises:
        MmjsdError: an image is unreadable (unless ``skip``) or of another size.
        Unreadable: some are unreadable. Nothing follows the first of them, but all the rest is looked at.
    """
    count = sum(map(len, blocks))
    workers = min(_cores(), count // _WORTH_A_WORKER)
    unreadable: dict[str, str] = {}
    with (
        tqdm(total=count, desc=images.path.name, unit="image", disable=not sys.stderr.isatty()) as bar,
        closing(_decoded(_read_blocks(blocks, images.read), workers)) as decoded,
    ):
        for names, (faces, faults) in zip(blocks, decoded, strict=True):
            for index, (reason, skippable) in sorted(faults.items()):
                if not (skip and skippable):
                    remedy = SKIP if skippable else REPLACE
                    raise MmjsdError(f"{images.place(names[index])} {reason}; {remedy}")
                unreadable[names[index]] = reason
            bar.update(len(names))
            if not unreadable:
                yield faces
    if unreadable:
        raise Unreadable(unreadable)


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
            except MemoryError:
                raise
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
    pool = _pool(workers) if workers > 1 else None
    if pool is None:
        for contents, unread in blocks:
            faces, faults = _read_faces(contents)
            yield faces, faults | unread
        return
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


def _pool(workers: int) -> ProcessPoolExecutor | None:
    """Processes that wait for work, or None where there can be none: they talk through /dev/shm."""
    try:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker)
        pool.submit(int)  # starts them
    except (OSError, ImportError, NotImplementedError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:80]
        print(f"images: decoded by one process alone, for more cannot be started ({reason})", flush=True)
        return None
    return pool


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


def _read_face(content: bytes) -> Bytes:
    """The image (3, 64, 64) of an aligned 178x218 JPEG: its central 148x148 pixels, bicubically resized."""
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        if image.size not in (FACE.size, FACE.size[::-1]):  # not decoded, for it may be huge
            raise _WrongSize(f"{image.width}x{image.height}")
        face, change = prepare_image(image, (3, SIZE, SIZE))
        if change:  # it lies on its side
            raise _WrongSize(change.split()[0])
        return face


def _read_faces(contents: list[bytes]) -> tuple[Bytes, Faults]:
    """Images (N, 3, 64, 64) of N files, and what is wrong with those that have none."""
    faces = np.zeros((len(contents), 3, SIZE, SIZE), np.uint8)
    faults = {}
    for index, content in enumerate(contents):
        try:
            faces[index] = _read_face(content)
        except _WrongSize as error:
            reason = "has {} pixels, not {}x{}".format(error, *FACE.size)
            faults[index] = _Fault(reason, skippable=False)
        except Unfit as error:
            faults[index] = _Fault(str(error))
        except MemoryError:
            raise
        except Exception:  # Pillow raises whatever the damaged bytes lead it to
            faults[index] = _Fault("is no intact JPEG file")
    return faces, faults
