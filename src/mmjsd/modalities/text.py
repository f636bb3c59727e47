"""Texts: token ids of one alphabet in the store, a categorical likelihood for each character."""

import itertools
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mmjsd.errors import MmjsdError
from mmjsd.modalities.preparation import Unfit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2DBase
    from torch import Tensor, nn

__all__ = [
    "ALPHABET",
    "AXES",
    "DTYPE",
    "FROM_FILES",
    "LIKELIHOODS",
    "LONG",
    "RANGE",
    "SCORE_IS_ERROR",
    "as_input",
    "classifier_body",
    "decode",
    "decoder",
    "draw",
    "draw_compared",
    "encode",
    "encoder",
    "likelihood_mean",
    "log_likelihood",
    "prepare",
    "score",
    "vary",
]

#: The 70 symbols of the character-level texts; a token id is a position in it.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"\\/|_@#$%^&*~`+=<>()[]{} \n"
DTYPE = np.uint8
AXES = 2
RANGE = (0.0, len(ALPHABET) - 1.0)
FROM_FILES = False
LIKELIHOODS = {"categorical": None}
SCORE_IS_ERROR = False

CHANNELS = 128

Shape = tuple[int, ...]

_SYMBOLS = frozenset(ALPHABET)
_CODES = np.frombuffer(ALPHABET.encode("ascii"), np.uint8)
_UNKNOWN = 255
_IDS = np.full(256, _UNKNOWN, np.uint8)
_IDS[_CODES] = np.arange(len(ALPHABET))

#: Characters beyond which a text is long: its cells are larger.
LONG = 32

#: Characters of a line in the largest letters, of short texts and of long ones. Texts of more than the first
#: are wrapped between words, and what fills them up is left out.
_LINE, _LONG_LINE = 8, 14
_FILLING = "*"

#: Width of a character, and distance of lines, relative to the size of the font that texts are drawn in.
_ADVANCE, _LEADING = 0.602, 1.2

#: The form that a kind of dataset says its texts have, if they name attributes as those of CelebA.
_ATTRIBUTES = "attributes"


# --- In the store -----------------------------------------------------------------------------------------


def encode(texts: Sequence[str], length: int, pad: str = " ") -> NDArray[np.uint8]:
    """Token ids (N, ``length``) of N texts, filled up with ``pad`` on the right.

    Raises:
        MmjsdError: a text is longer than ``length`` or has a symbol outside the alphabet.
    """
    for text in texts:
        if len(text) > length:
            raise MmjsdError(f"{text!r} has {len(text)} characters; shorten it to {length}")
        if not _SYMBOLS.issuperset(text):
            unknown = ", ".join(map(repr, sorted(set(text) - _SYMBOLS)))
            raise MmjsdError(f"{text!r} has {unknown}, which the alphabet has not; replace it")
    codes = "".join(text.ljust(length, pad) for text in texts).encode("ascii")
    return _IDS[np.frombuffer(codes, np.uint8)].reshape(len(texts), length)


def decode(ids: NDArray[np.integer]) -> list[str]:
    """The N texts of token ids (N, L), padding included.

    Raises:
        MmjsdError: an id is outside the alphabet.
    """
    ids = np.asarray(ids)
    if ids.size and not (ids.min() >= 0 and ids.max() < len(ALPHABET)):
        raise MmjsdError(f"token ids: must be 0..{len(ALPHABET) - 1} (got {ids.min()}..{ids.max()})")
    return [row.tobytes().decode("ascii") for row in _CODES[ids]]


def prepare(item: Any, shape: Shape, form: str = "") -> tuple[NDArray[np.uint8], str]:
    """Token ids (L,) of words as the build writes them: from the first character on, filled up behind.

    With blanks; of the form `attributes` with `*`, and their underscores are blanks.
    """
    if not isinstance(item, str) or not item:
        raise Unfit(f"{item!r} is no text of at least a character")
    words, padding = item.lower(), " "
    if form == _ATTRIBUTES:
        words, padding = words.replace("_", " "), "*"
    try:
        return encode([words], shape[0], pad=padding)[0], ""
    except MmjsdError as error:
        raise Unfit(str(error)) from None


# --- In the model -----------------------------------------------------------------------------------------


def as_input(rows: "Tensor") -> "Tensor":
    """Token ids (B, L) as int64."""
    return rows.long()


def log_likelihood(
    output: "Tensor", x: "Tensor", likelihood: str, scale: "float | Tensor | None"
) -> "Tensor":
    """log p(x | decoder output) in nats, each character categorical: logits (B, L, A), ids (B, L) -> (B,)."""
    from torch.nn.functional import cross_entropy

    return -cross_entropy(output.float().flatten(0, 1), x.flatten(), reduction="none").view_as(x).sum(1)


def likelihood_mean(output: "Tensor", likelihood: str) -> "Tensor":
    """The probabilities of the characters (B, L, A)."""
    return output.float().softmax(-1)


def encoder(shape: Shape, width: float) -> "tuple[nn.Module, int]":
    """Default encoder: a 1-wide convolution to 128 channels, 4-wide ones of stride 2, 128 features."""
    from torch import nn

    from mmjsd.modalities.convolutions import Conv1d
    from mmjsd.modalities.layers import Characters, halvings, scaled, shrink

    (channels,), sizes = scaled(width, CHANNELS), halvings(shape)
    layers = [Conv1d(len(ALPHABET), channels, 1), nn.ReLU()]
    layers += shrink([channels] * (len(sizes) + 1), sizes)
    return Characters(len(ALPHABET), *layers), channels


def decoder(shape: Shape, latent: int, width: float) -> "nn.Module":
    """Default decoder: the mirror image of the encoder, to logits (B, L, A)."""
    from torch import nn

    from mmjsd.modalities.convolutions import Conv1d
    from mmjsd.modalities.layers import Logits, grow, halvings, scaled

    (channels,), sizes = scaled(width, CHANNELS), halvings(shape)
    layers = grow(latent, [channels] * (len(sizes) + 1), sizes)
    return Logits(*layers, nn.ReLU(), Conv1d(channels, len(ALPHABET), 1))


# --- Judged and drawn -------------------------------------------------------------------------------------


def classifier_body(shape: Shape) -> "nn.Module":
    """Convolutions on token ids (B, L) or character probabilities (B, L, A), to judge a text as a whole."""
    from torch import nn

    from mmjsd.modalities.convolutions import RowConv1d
    from mmjsd.modalities.layers import Characters

    wide = 3 if shape[0] <= 8 else 7  # of a long text, whole words must fit
    layers = [nn.Unflatten(2, (1, shape[0])), RowConv1d(len(ALPHABET), 64, 1), nn.ReLU()]
    for inputs in (64, 128):
        # a batch of a single value has no variance
        norm = nn.BatchNorm2d(128) if shape[0] > 1 else nn.Identity()
        layers += [RowConv1d(inputs, 128, wide, padding=wide // 2, bias=False), norm, nn.ReLU()]
    # a word counts wherever it stands
    return Characters(len(ALPHABET), *layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())


def vary(x: "Tensor") -> "Tensor":
    """Uncertain characters (B, L, A)."""
    import torch

    share = 0.5 * torch.rand(len(x), 1, 1, device=x.device)
    noise = torch.rand(*x.shape, len(ALPHABET), device=x.device).square_().square_()
    total = noise.sum(-1, keepdim=True)
    # in place, for these are many numbers
    noise.mul_(share).div_(total)
    return noise.scatter_add_(2, x[..., None], (1 - share).expand(*x.shape, 1))


def score(predicted: "Tensor", x: "Tensor") -> float:
    """Share of the characters of texts (B, L) that are the most likely ones (B, L, A)."""
    return float((predicted.argmax(-1) == x).float().mean())


def draw(axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0) -> None:
    """Write texts, token ids (N, L) or character probabilities (N, L, A): the most likely characters."""
    draw_compared(axes, values, None, columns, left=left, top=top)


def draw_compared(
    axes: "Axes",
    values: "Tensor",
    reference: "Tensor | None",
    columns: int,
    *,
    left: float = 0,
    top: float = 0,
) -> None:
    """Write texts as `draw` does, and underline words that the reference, token ids (N, L), lacks."""
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import AffineDeltaTransform

    ids = (values.argmax(-1) if values.is_floating_point() else values).cpu().numpy()
    expected = [None] * len(ids) if reference is None else decode(reference.cpu().numpy())
    data = cast("Affine2DBase", axes.transData)  # of linear axes
    places: dict[tuple[str, int, bool], list[tuple[float, float]]] = {}
    for cell, (text, other) in enumerate(zip(decode(ids), expected, strict=True)):
        known = None if other is None else _words(other)
        lines, width = _laid_out(text)
        size = _size(width)
        for number, line in enumerate(lines):
            y = top + cell // columns + 0.5 + _LEADING * size * (number - (len(lines) - 1) / 2 + 0.3)
            for word in re.finditer(r"\S+", line):
                marked = known is not None and not known.issuperset(_words(word[0]))
                for place, character in enumerate(word[0], word.start()):
                    x = left + cell % columns + 0.5 + _ADVANCE * size * (place - width / 2)
                    for symbol in (character, "_") if marked else character:
                        places.setdefault((symbol, width, marked), []).append((x, y))
    # each character once, with all its places: as strings, thousands of texts would take seconds
    for (symbol, width, marked), offsets in places.items():
        glyphs = PathCollection(
            [_glyph(symbol, _size(width))],
            offsets=offsets,
            offset_transform=data,
            color="#b3261e" if marked else "black",
            linewidths=0,
            snap=False,
        )
        glyphs.set_transform(AffineDeltaTransform(data))
        axes.add_collection(glyphs, autolim=False)


def _laid_out(text: str) -> tuple[list[str], int]:
    """The lines of a text, and how many characters there is room for in each."""
    if len(text) <= _LINE:  # as it is, for where words begin is part of it
        return [text], _LINE
    words = text.replace(_FILLING, " ").split()
    longest = max(map(len, words), default=0)
    least = max(_LINE if len(text) <= LONG else _LONG_LINE, min(longest, 2 * _LONG_LINE))
    for width in itertools.count(least):
        lines = textwrap.wrap(" ".join(words), width)
        if _LEADING * _size(width) * len(lines) <= 1:
            return lines, width
    raise AssertionError


def _words(text: str) -> set[str]:
    return set(text.replace(_FILLING, " ").replace(",", " ").split())


def _size(width: int) -> float:
    """Of the font, in cells, of which a line has room for as many characters."""
    return 1 / (0.65 * width)


@cache
def _glyph(symbol: str, size: float) -> "Path":
    """The outline of a character where the vertical axis points down."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    outline = TextPath((0, 0), symbol, size=1, prop=FontProperties(family="monospace"))
    return outline.transformed(Affine2D().scale(size, -size))
