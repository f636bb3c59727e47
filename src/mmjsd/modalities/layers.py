"""Layers that networks are built of: for inputs of any size, for characters, and of any width.

Convolutions halve each side that is longer than 4, rounding down, until none is; one as large as what is left
makes features of it. Transposed ones lead back to the very sizes.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mmjsd.modalities.convolutions import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d

__all__ = ["Characters", "Logits", "convolution", "grow", "halve", "halvings", "one_hot", "scaled", "shrink"]

LEAST = 4
"""Sides up to this long are not halved."""

_CONVOLUTIONS: dict[int, tuple[Any, Any]] = {
    1: (Conv1d, ConvTranspose1d),
    2: (Conv2d, ConvTranspose2d),
}

Sides = tuple[int, ...]


def scaled(width: float, *channels: int) -> list[int]:
    """Multiply numbers of channels or hidden units by the relative width; one at least remains."""
    return [max(1, round(width * number)) for number in channels]


# --- Inputs of any size -----------------------------------------------------------------------------------


def halvings(sides: Sides) -> list[Sides]:
    """List the sizes from that of the input to the first of which no side is longer than 4."""
    sizes = [sides]
    while max(sizes[-1]) > LEAST:
        sizes.append(halve(sizes[-1]))
    return sizes


def halve(sides: Sides) -> Sides:
    """Tell the size after a convolution."""
    return tuple(side // 2 if side > LEAST else side for side in sides)


def convolution(inputs: int, outputs: int, sides: Sides, *, bias: bool = True) -> nn.Module:
    """Build a convolution (B, inputs, *sides) -> (B, outputs, *halved sides)."""
    kernel, stride, padding, _ = _geometry(sides)
    return _CONVOLUTIONS[len(sides)][0](inputs, outputs, kernel, stride, padding, bias=bias)


def _geometry(sides: Sides) -> Iterable[Sides]:
    """Kernel, stride, padding, and output padding of the way back, each along every side."""
    return zip(*((4, 2, 1, side % 2) if side > LEAST else (3, 1, 1, 0) for side in sides), strict=True)


def shrink(channels: list[int], sizes: list[Sides]) -> list[nn.Module]:
    """Build the layers (B, channels[0], *sizes[0]) -> (B, channels[-1]), with a ReLU after each convolution.

    Args:
        channels: of the input, after each convolution, and of the features: one more than sizes.
        sizes: as `halvings` lists them.
    """
    layers: list[nn.Module] = []
    for (inputs, outputs), sides in zip(pairwise(channels[:-1]), sizes[:-1], strict=True):
        layers += [convolution(inputs, outputs, sides), nn.ReLU()]
    whole, _ = _CONVOLUTIONS[len(sizes[-1])]
    return [*layers, whole(channels[-2], channels[-1], sizes[-1]), nn.ReLU(), nn.Flatten()]


def grow(latent: int, channels: list[int], sizes: list[Sides]) -> list[nn.Module]:
    """Build the mirror image of `shrink`: (B, latent) -> (B, channels[0], *sizes[0])."""
    _, transposed = _CONVOLUTIONS[len(sizes[-1])]
    layers: list[nn.Module] = [
        nn.Linear(latent, channels[-1]),
        nn.ReLU(),
        nn.Unflatten(1, (channels[-1], *(1 for _ in sizes[-1]))),
        transposed(channels[-1], channels[-2], sizes[-1]),
    ]
    for (outputs, inputs), sides in reversed(list(zip(pairwise(channels[:-1]), sizes[:-1], strict=True))):
        layers += [nn.ReLU(), transposed(inputs, outputs, *_geometry(sides))]
    return layers


# --- Characters -------------------------------------------------------------------------------------------


def one_hot(text: Tensor, symbols: int) -> Tensor:
    """Turn token ids (B, L), or probabilities (B, L, symbols) as they are, into channels (B, symbols, L)."""
    probabilities = text if text.is_floating_point() else F.one_hot(text, symbols).float()
    return probabilities.transpose(1, 2)


class Characters(nn.Sequential):
    """Layers on token ids (B, L) or character probabilities (B, L, symbols), as channels (B, symbols, L)."""

    def __init__(self, symbols: int, *layers: nn.Module):
        super().__init__(*layers)
        self.symbols = symbols

    def forward(self, text: Tensor) -> Tensor:
        return super().forward(one_hot(text, self.symbols))


class Logits(nn.Sequential):
    """Layers whose channels (B, A, L) are the logits (B, L, A) of a text."""

    def forward(self, latent: Tensor) -> Tensor:
        return super().forward(latent).transpose(1, 2)
