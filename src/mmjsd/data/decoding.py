"""Images decoded on all cores, whatever file they are in and however they are cut to size."""

import hashlib
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mmjsd.data.workers import mapped
from mmjsd.errors import MmjsdError
from mmjsd.modalities.preparation import Unfit

__all__ = ["SKIP", "Images", "Unreadable", "WrongSize", "content_of", "decode", "digest_of_sums", "images_of"]

Bytes = NDArray[np.uint8]
Shape = tuple[int, ...]

#: The remedy for images that are missing or damaged.
SKIP = "replace it, or set the option skip_unreadable"

_WORTH_A_WORKER = 2000  # images; fewer are decoded in the time a process takes to start


class Images(NamedTuple):
    """The images in an opened folder or zip file, by name."""

    path: Path
    """Of the folder or zip file."""
    names: Set[str]
    place: Callable[[str], str]
    """Where an image is, for people."""
    read: Callable[[str], bytes]
    digest: Callable[[], str]
    """The sha256 of the zip file, or one over all files of the folder that have been read."""


def images_of(folder: Path, files: Mapping[str, str], largest: int) -> Images:
    """Give the images of a folder, and hash each as it is read.

    Args:
        folder: Where they are.
        files: Name of each -> that of its file.
        largest: Bytes that a file may have.
    """
    digests: dict[str, str] = {}

    def read(name: str) -> bytes:
        content = content_of(f"{folder}/{files[name]}", largest)
        digests[name] = hashlib.sha256(content).hexdigest()
        return content

    return Images(
        folder, files.keys(), lambda name: f"{folder / files[name]}:", read, lambda: digest_of_sums(digests)
    )


def content_of(path: str | Path, largest: int) -> bytes:
    """Read a file of no more bytes than ``largest``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger.
    """
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise ValueError("too large")
        return file.readall()


def digest_of_sums(digests: Mapping[str, str]) -> str:
    """Hash what ``sha256sum`` prints of files, by name: name -> sha256 of each."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


class Unreadable(Exception):
    """Images that cannot be read."""

    def __init__(self, reasons: dict[str, str]):
        self.reasons = reasons


class WrongSize(Exception):
    """How an image has another size than all must have, and what to do."""


class _Fault(NamedTuple):
    reason: str
    skippable: bool = True


#: By position in a block.
Faults = dict[int, _Fault]


def decode(
    images: Images,
    blocks: Sequence[list[str]],
    read: Callable[[bytes], Bytes],
    shape: Shape,
    *,
    skip: bool,
    remedy: str = SKIP,
) -> Generator[Bytes]:
    """Decode the images that are named in each block, one process a core, and yield them in order.

    Args:
        images: Where they are.
        blocks: Names.
        read: Makes an image of the content of a file; raises :class:`WrongSize`, or ``Unfit`` where there is
            none. Processes import it by its name.
        shape: Of an image.
        skip: Whether to go on after images that cannot be read.
        remedy: What people are told to do about one.

    Yields:
        uint8 (N, *shape) for each block of N names.

    Raises:
        MmjsdError: an image cannot be read (unless ``skip``) or has another size.
        Unreadable: some cannot be read. Nothing follows the first of them, but all the rest is looked at.
    """
    count = sum(map(len, blocks))
    unreadable: dict[str, str] = {}
    work = partial(_read_images, read=read, shape=shape)
    with (
        tqdm(total=count, desc=images.path.name, unit="image", disable=not sys.stderr.isatty()) as bar,
        closing(mapped(work, _read_blocks(blocks, images.read), count // _WORTH_A_WORKER)) as decoded,
    ):
        for names, (values, faults) in zip(blocks, decoded, strict=True):
            for index, (reason, skippable) in sorted(faults.items()):
                if not (skip and skippable):
                    what_to_do = f"; {remedy}" if skippable else ""
                    raise MmjsdError(f"{images.place(names[index])} {reason}{what_to_do}")
                unreadable[names[index]] = reason
            bar.update(len(names))
            if not unreadable:
                yield values
    if unreadable:
        raise Unreadable(unreadable)


def _read_blocks(
    blocks: Iterable[list[str]], read: Callable[[str], bytes]
) -> Iterator[tuple[list[bytes], Faults]]:
    """Read the files named in each block: empty contents, and why, where one cannot be read."""
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


def _read_images(
    block: tuple[list[bytes], Faults], read: Callable[[bytes], Bytes], shape: Shape
) -> tuple[Bytes, Faults]:
    """Decode the N files that could be read: images (N, *shape), and what is wrong with the others."""
    contents, unread = block
    images = np.zeros((len(contents), *shape), np.uint8)
    faults = dict(unread)
    for index, content in enumerate(contents):
        if index in unread:
            continue
        try:
            images[index] = read(content)
        except WrongSize as error:
            faults[index] = _Fault(str(error), skippable=False)
        except Unfit as error:
            faults[index] = _Fault(str(error))
    return images, faults
