"""Texts of the datasets: the table of digit words, and texts that name attributes."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from mmjsd.modalities.text import encode

__all__ = ["PADDING", "WORDS", "attribute_texts", "spelled", "word_table"]

#: The English word of each digit.
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

#: Fills up the texts that name attributes.
PADDING = "*"


def word_table(length: int = 8) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Every digit word at every offset 0..``length`` - 1 - len(word), blanks around it.

    Returns:
        Token ids (R, ``length``) of the distinct rows, by class, then offset, and their classes (R,).
    """
    rows = [
        (" " * offset + word, label)
        for label, word in enumerate(WORDS)
        for offset in range(length - len(word))
    ]
    return encode([text for text, _ in rows], length), np.array([label for _, label in rows], np.int64)


def attribute_texts(
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    start: np.random.Generator | NDArray[np.integer],
    length: int = 256,
) -> NDArray[np.uint8]:
    """Write the texts that name the attributes ``labels`` (N, A), 1 = present, as token ids (N, ``length``).

    Lower case, blanks for underscores, joined by ", "; attributes are dropped from the end until the text
    fits; ``*`` fills the rest.

    Args:
        start: Offset (N,) of each text, less where it would not fit, or what random offsets are drawn from.
    """
    words = [spelled(name) for name in classes]
    ids = np.empty((len(labels), length), np.uint8)
    for first in range(0, len(labels), 256):  # a few at a time, for strings take much more memory than ids
        rows = slice(first, first + 256)
        texts = [_fitting(list(compress(words, row)), length) for row in labels[rows].tolist()]
        room = np.array([length - len(text) for text in texts])
        if isinstance(start, np.random.Generator):
            offsets = start.integers(0, room, endpoint=True)
        else:
            offsets = np.minimum(start[rows], room)
        shifted = [PADDING * offset + text for offset, text in zip(offsets, texts, strict=True)]
        ids[rows] = encode(shifted, length, pad=PADDING)
    return ids


def spelled(attribute: str) -> str:
    """Spell an attribute as texts name it."""
    return attribute.lower().replace("_", " ")


def _fitting(words: list[str], length: int) -> str:
    while len(text := ", ".join(words)) > length:
        words = words[:-1]
    return text
