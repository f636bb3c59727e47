"""Files of CelebA: drawn faces, and the lists of their attributes and splits."""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mmjsd.data.standin.attributes import ATTRIBUTES, sample_attributes
from mmjsd.data.standin.portrait.face import draw_face
from mmjsd.data.workers import mapped
from mmjsd.data.writing import explaining, replacing

__all__ = ["write_faces"]

_QUALITY = 90  # of the JPEG files
_BLOCK = 64  # faces drawn at a time
_WORTH_A_WORKER = 300  # faces; fewer are drawn in the time a process takes to start


def write_faces(folder: str | Path, *, train: int, val: int, test: int, seed: int) -> dict[str, Path]:
    """Write ``train`` + ``val`` + ``test`` faces and the lists of their attributes and splits.

    Numbered images that a larger run left there are removed. Old lists are removed first and new ones written
    last, so that the images of an unfinished run have none. One process a core draws, and the files do not
    depend on their number.

    Returns:
        ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt`` -> their paths.

    Raises:
        MmjsdError: a file cannot be written.
    """
    folder = Path(folder)
    images = folder / "img_align_celeba"
    attributes_list, partition_list = folder / "list_attr_celeba.txt", folder / "list_eval_partition.txt"
    count = train + val + test
    attributes = sample_attributes(count, np.random.default_rng(seed))
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    unfinished = images / ".unfinished"  # always the same, so that a killed run leaves one at most
    with explaining(images):
        images.mkdir(parents=True, exist_ok=True)
    for path in (attributes_list, partition_list):
        with explaining(path):
            path.unlink(missing_ok=True)
    with explaining(images):
        for left in {path.name for path in images.glob("[0-9]*.jpg")}.difference(names):
            (images / left).unlink()
        blocks = ((attributes[first : first + _BLOCK], first) for first in range(0, count, _BLOCK))
        with (
            tqdm(names, desc="stand-in faces", unit="face", disable=not sys.stderr.isatty()) as shown,
            closing(mapped(partial(_draw, seed=seed), blocks, count // _WORTH_A_WORKER)) as drawn,
        ):
            for name, content in zip(shown, chain.from_iterable(drawn), strict=True):
                unfinished.write_bytes(content)
                os.replace(unfinished, images / name)
    values = np.where(attributes, " 1", "-1")
    rows = [f"{name} {' '.join(row)}" for name, row in zip(names, values, strict=True)]
    _write(attributes_list, [str(count), " ".join(ATTRIBUTES) + " ", *rows])
    parts = np.repeat([0, 1, 2], [train, val, test])
    _write(partition_list, [f"{name} {part}" for name, part in zip(names, parts, strict=True)])
    return {
        "img_align_celeba/": images,
        "list_attr_celeba.txt": attributes_list,
        "list_eval_partition.txt": partition_list,
    }


def _draw(block: tuple[NDArray[np.bool_], int], seed: int) -> list[bytes]:
    """Draw faces of these attributes (N, 40), the first of this number: N JPEG files."""
    attributes, first = block
    contents = []
    for number, row in enumerate(attributes, first):
        # a generator of its own: a face does not depend on how many others there are
        face = draw_face(row, np.random.default_rng([seed, number]))
        content = BytesIO()
        face.save(content, "JPEG", quality=_QUALITY)
        contents.append(content.getvalue())
    return contents


def _write(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
