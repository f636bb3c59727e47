"""The images of CelebA: in a folder or zip file, and how they are cut to size."""

import os
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmjsd.data.decoding import Images, WrongSize, images_of
from mmjsd.data.official import REPLACE
from mmjsd.data.official.celeba_lists import image_name
from mmjsd.data.official.finding import is_foreign
from mmjsd.errors import MmjsdError
from mmjsd.modalities.image import FACE, prepare_image
from mmjsd.modalities.preparation import Unfit
from mmjsd.provenance.files import sha256_file

__all__ = ["FOLDER", "SHAPE", "digest_images", "extent", "opened", "read_face"]

#: Of the official images.
FOLDER = "img_align_celeba"
#: Of a decoded image.
SHAPE = (3, 64, 64)

_LARGEST = 1 << 24  # bytes of one image file; official ones have some 10 kB


@contextmanager
def opened(path: Path) -> Iterator[Images]:
    """Open a folder or zip file of the images.

    Raises:
        MmjsdError: no folder and no intact zip file, one without images, or a name twice.
    """
    if path.is_dir():
        yield images_of(path, {name: entry.name for name, entry in _files(path)}, _LARGEST)
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
    """Count the images in a folder, and their bytes together; what else is in there is not looked at.

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
    """List the images in a folder by the names that the lists have of them."""
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
    """List the images of the one folder in a zip file that has them, whatever it is called and lies in."""
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


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > _LARGEST:
        raise ValueError("too large")
    with archive.open(entry) as file:
        return file.read(entry.file_size)  # no more than that is inflated, if it lies


def digest_images(folder: str | Path) -> str:
    """Hash a folder of images: the sha256 of what ``sha256sum *.jpg`` prints there.

    Raises:
        OSError: an image cannot be read.
    """
    with opened(Path(folder)) as images:
        for name in images.names:
            images.read(name)
        return images.digest()


def read_face(content: bytes) -> NDArray[np.uint8]:
    """Decode an aligned 178x218 JPEG: (3, 64, 64), its central 148x148 pixels bicubically resized.

    Raises:
        WrongSize: it has other pixels than that.
        Unfit: it is damaged, or no JPEG file.
    """
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            if image.size not in (FACE.size, FACE.size[::-1]):  # not decoded, for it may be huge
                raise _wrong_size(f"{image.width}x{image.height}")
            face, change = prepare_image(image, SHAPE, FACE)
            if change:  # it lies on its side
                raise _wrong_size(change.split()[0])
            return face
    except (WrongSize, Unfit, MemoryError):
        raise
    except Exception:  # Pillow raises whatever the damaged bytes lead it to
        raise Unfit("is no intact JPEG file") from None


def _wrong_size(pixels: str) -> WrongSize:
    return WrongSize("has {} pixels, not {}x{}; {}".format(pixels, *FACE.size, REPLACE))
