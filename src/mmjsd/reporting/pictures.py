"""Figures as data of a page: small, and as sharp as they were drawn."""

import base64
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, features

from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import read_json
from mmjsd.reporting.catalogue import CAPTIONS, is_shown_at_once

__all__ = ["Picture", "embedded", "linked"]

#: At these qualities neither looks other than the PNG, several times as large; AVIF is a third less than
#: WebP. Its other speeds take much longer, or save nothing.
_AVIF: dict[str, Any] = {"format": "avif", "quality": 57, "speed": 8, "max_threads": 1}
_WEBP: dict[str, Any] = {"format": "webp", "quality": 82, "method": 4}


class Picture(NamedTuple):
    """A figure of a page."""

    name: str
    """Without ending."""
    caption: str
    source: str
    """Its address: the data themselves, or a file."""
    width: int = 0
    """In pixels of the page, of which there are two of the picture's in each; 0 if it is linked."""
    height: int = 0

    @property
    def is_shown_at_once(self) -> bool:
        """Whether it does not fold out."""
        return is_shown_at_once(self.name)


def embedded(folder: Path) -> list[Picture]:
    """Read the figures of a folder with their captions, those first that are shown at once.

    Raises:
        MmjsdError: one is missing or damaged.
    """
    captions = dict(_captions(folder))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the encoder leaves Python to others meanwhile
        pictures = list(pool.map(_encoded, (folder / name for name in captions), captions.values()))
    return sorted(pictures, key=lambda picture: not picture.is_shown_at_once)


def linked(folder: Path, page: Path) -> list[Picture]:
    """List the figures of a folder by their addresses, seen from a page.

    Raises:
        MmjsdError: the list is missing or damaged.
    """
    place = Path(os.path.relpath(folder, page.parent))
    return [Picture(Path(name).stem, text, (place / name).as_posix()) for name, text in _captions(folder)]


def _captions(folder: Path) -> Iterator[tuple[str, str]]:
    for name, caption in read_json(folder / CAPTIONS, "figures").items():
        if Path(name).name != name or not isinstance(caption, str):
            raise MmjsdError(f"{folder / CAPTIONS}: damaged; make it again with `mmjsd figures`")
        yield name, caption


def _encoded(path: Path, caption: str) -> Picture:
    options = _AVIF if features.check("avif") else _WEBP
    buffer = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, **options)
            width, height = image.size
    except PermissionError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except Exception:  # Pillow raises whatever the damaged bytes lead it to
        raise MmjsdError(f"{path}: missing or damaged; draw it again with `mmjsd figures`") from None
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(
        path.stem, caption, f"data:image/{options['format']};base64,{data}", width // 2, height // 2
    )
