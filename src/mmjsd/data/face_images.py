"""The images of CelebA: read from a folder or zip file, decoded on all cores."""

import hashlib
import multiprocessing
import os
import re
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

from mmjsd.data.face_lists import IMAGE_NAME, REPLACE
from mmjsd.data.preparation import FACE, Unfit, prepare_image, upright_size
from mmjsd.errors import MmjsdError
from mmjsd.records import sha256_file

__all__ = ["SIZE", "SKIP", "Images", "Unreadable", "decode", "digest_images", "opened"]

Bytes = NDArray[np.uint8]

#: Side of the decoded images, in pixels.
SIZE = 64
#: The remedy for images that are missing or damaged.
SKIP = "replace it, or set the option skip_unreadable"

_LARGEST = 1 << 24  # bytes of one image file; official ones have some 10 kB
_WORTH_A_WORKER = 2000  # images; fewer are decoded in the time a process takes to start


class Images(NamedTuple):
    """The images in an opened folder or zip file."""

    names: Set[str]
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

        yield Images({file.name for file in path.glob("[!.]*.jpg")}, read, digest)
        return
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises whatever the damaged bytes lead it to
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise MmjsdError(f"{path}: is no intact zip file{reason}; {REPLACE}") from None
    with archive, ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(sha256_file, path)  # GBs, which are hashed while others decode
        entries: dict[str, zipfile.ZipInfo] = {}
        ours = re.compile(rf"(?:img_align_celeba/)*({IMAGE_NAME})")
        for entry in archive.infolist():
            # whatever else is in there, hidden files or names that lead elsewhere, is none of ours
            if found := ours.fullmatch(entry.filename):
                if found[1] in entries:
                    raise MmjsdError(f"{path}: has {found[1]} twice; {REPLACE}")
                entries[sys.intern(found[1])] = entry
        yield Images(entries.keys(), lambda name: _read_entry(archive, entries[name]), sha256.result)


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
    pass


class _Fault(NamedTuple):
    reason: str
    skippable: bool = True


#: By position in a block.
Faults = dict[int, _Fault]


def decode(
    images: Path, blocks: Sequence[list[str]], read: Callable[[str], bytes], skip: bool
) -> Generator[Bytes]:
    """The faces (N, 3, 64, 64) of the images named in each block.

    Raises:
        MmjsdError: an image is unreadable (unless ``skip``) or of another size.
        Unreadable: some are unreadable. Nothing follows the first of them, but all the rest is looked at.
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
                    raise MmjsdError(f"{where} {reason}; {SKIP if skippable else REPLACE}")
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


def _read_face(content: bytes) -> Bytes:
    """The image (3, 64, 64) of an aligned 178x218 JPEG: its central 148x148 pixels, bicubically resized."""
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        if (size := upright_size(image)) != FACE.size:
            raise _WrongSize("has {}x{} pixels, not {}x{}".format(*size, *FACE.size))
        return prepare_image(image, (3, SIZE, SIZE))[0]


def _read_faces(contents: list[bytes]) -> tuple[Bytes, Faults]:
    """Images (N, 3, 64, 64) of N files, and what is wrong with those that have none."""
    faces = np.zeros((len(contents), 3, SIZE, SIZE), np.uint8)
    faults = {}
    for index, content in enumerate(contents):
        try:
            faces[index] = _read_face(content)
        except _WrongSize as error:
            faults[index] = _Fault(str(error), skippable=False)
        except Unfit as error:
            faults[index] = _Fault(str(error))
        except MemoryError:
            raise
        except Exception:  # Pillow raises whatever the damaged bytes lead it to
            faults[index] = _Fault("is no intact JPEG file")
    return faces, faults
