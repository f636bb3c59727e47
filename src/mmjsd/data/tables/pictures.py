"""The images of a table: files that a column of the manifest names, relative to its folder."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmjsd.data.decoding import Images, content_of, decode, digest_of_sums
from mmjsd.data.store import Stream, Table
from mmjsd.data.tables.items import Items, codes_of, first_rows
from mmjsd.data.tables.options import outside
from mmjsd.data.tables.reading import TableFile, at_rows
from mmjsd.errors import MmjsdError
from mmjsd.modalities.image import prepare

__all__ = ["Pictures", "digest_of", "sizes_of"]

_BLOCK = 256  # images decoded at a time
_LARGEST = 1 << 28  # bytes of one file


class Pictures:
    """Opens the images of a table, and hashes each as it is read.

    Args:
        folder: that their names are relative to.
        manifest: the table that names them.
    """

    def __init__(self, folder: Path, manifest: TableFile):
        self.folder, self.manifest = folder, manifest
        self.digests: dict[str, str] = {}

    def items(self, column: str, names: pa.ChunkedArray, shape: Sequence[int]) -> Items:
        """Take the images that a column names.

        Raises:
            MmjsdError: one is missing, or outside of the folder; the line names the row.
        """
        codes, distinct = codes_of(names)
        files = distinct.to_pylist()
        rows = first_rows(codes)
        sizes_of(self.manifest, self.folder, column, files, rows)
        place = dict(zip(files, rows, strict=True))
        images = Images(
            self.folder,
            set(files),
            lambda name: f"{self.folder / name} ({at_rows(self.manifest, [place[name]])} of the manifest):",
            self._read,
            self.digest,
        )

        def table(items: NDArray[np.int64]) -> Table:
            stream: Any = Stream(
                (len(items), *shape),
                np.dtype(np.uint8),
                _decoded(images, [files[i] for i in items], tuple(shape)),
            )
            return Table("image", stream)

        return Items(codes, table)

    def digest(self) -> str:
        """The sha256 of what ``sha256sum`` prints of all images that have been read, by name."""
        return digest_of_sums(self.digests)

    def _read(self, name: str) -> bytes:
        content = content_of(self.folder / name, _LARGEST)
        self.digests[name] = hashlib.sha256(content).hexdigest()
        return content


def _decoded(images: Images, names: list[str], shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    blocks = [names[first : first + _BLOCK] for first in range(0, len(names), _BLOCK)]
    remedy = "replace it, or empty the cell"
    yield from decode(images, blocks, partial(_image, shape=shape), shape, skip=False, remedy=remedy)


def _image(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return prepare(BytesIO(content), shape)[0]


def sizes_of(
    manifest: TableFile,
    folder: Path,
    column: str,
    names: Sequence[str],
    rows: Sequence[int] | NDArray[np.int64],
) -> list[int]:
    """Give the bytes of image files.

    Args:
        manifest: names them.
        folder: that the names are relative to.
        column: of the manifest.
        names: of the files.
        rows: where each is named.

    Raises:
        MmjsdError: one is missing, or outside of the folder; the line names the row.
    """
    sizes = []
    for name, row in zip(names, rows, strict=True):
        where = f"{manifest.path}: {at_rows(manifest, [row])}: {column} is {name!r},"
        if outside(name):
            raise MmjsdError(f"{where} but has to name a file below {folder}, from there and without ..")
        path = folder / name
        try:
            if not path.is_file():
                slashes = "; write / for \\" if "\\" in name else ""
                raise MmjsdError(f"{where} and {path} is no file{slashes}; put it there, or empty the cell")
            sizes.append(path.stat().st_size)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MmjsdError(f"{where} which cannot be read ({reason}); correct it") from None
    return sizes


def digest_of(folder: Path, names: Sequence[str]) -> str:
    """Hash image files as :meth:`Pictures.digest` does.

    Raises:
        OSError: one cannot be read.
    """
    return digest_of_sums(
        {name: hashlib.sha256(content_of(folder / name, _LARGEST)).hexdigest() for name in names}
    )
