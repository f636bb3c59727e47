"""Backgrounds as those of PolyMNIST: five large pictures that differ in colours and pattern."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmjsd.data.standin.warping import Floats, grid, smooth_noise

__all__ = ["textures"]

_SIZE = 256

#: Of each picture, RGB along its pattern. No channel crosses the middle: on ground as often dark as bright,
#: inverted digits are on average invisible, and models learn the pattern long before they see a digit.
_PALETTES = (
    ((10, 60, 150), (40, 85, 200), (95, 110, 250)),  # clouds
    ((150, 60, 5), (205, 85, 20), (250, 110, 60)),  # grain
    ((5, 150, 25), (45, 190, 50), (90, 245, 100)),  # ripples
    ((150, 5, 150), (210, 40, 180), (250, 100, 225)),  # cells
    ((10, 8, 5), (50, 40, 30), (105, 95, 80)),  # weave
)


def textures(seed: int) -> list[NDArray[np.uint8]]:
    """Draw the pictures (3, 256, 256): clouds, grain of wood, ripples, cells and weave."""
    rng = np.random.default_rng(seed)
    y, x = grid(_SIZE)
    bent = _rough(rng, 3, (5, 9, 17))
    patterns = (
        np.tanh(_rough(rng, 1, (6, 12, 24, 48))[0]),
        np.sin(x / 4 + 2.5 * bent[0]),
        np.sin(np.hypot(x - 40, y + 30) / 4 + bent[1]),
        _cells(rng),
        np.sign(np.sin(x / 3)) * np.sin(y / 5 + bent[2] / 2),
    )
    return [_coloured(pattern, palette) for pattern, palette in zip(patterns, _PALETTES, strict=True)]


def _rough(rng: np.random.Generator, count: int, knots: tuple[int, ...]) -> Floats:
    """Random fields (count, 256, 256), smooth and, the finer the less, rough."""
    return np.sum([5 / number * smooth_noise(rng, count, number, _SIZE) for number in knots], axis=0)


def _cells(rng: np.random.Generator) -> Floats:
    """Shades in -1..1 (256, 256) of the cells of random points, each of one shade but darker at its rim."""
    points = rng.uniform(0, _SIZE, (300, 2))
    pixels = np.stack(np.meshgrid(np.arange(_SIZE), np.arange(_SIZE), indexing="ij"), 2)
    distance, nearest = map(np.asarray, cKDTree(points).query(pixels, k=2))
    rim = (distance[..., 1] - distance[..., 0]).clip(0, 2) / 2
    return (rng.uniform(-0.6, 1, len(points))[nearest[..., 0]] + 1) * rim - 1


def _coloured(pattern: Floats, palette: tuple[tuple[int, int, int], ...]) -> NDArray[np.uint8]:
    """Colour a pattern in -1..1 (H, W): (3, H, W)."""
    stops = np.linspace(-1, 1, len(palette))
    channels = [np.interp(pattern, stops, channel) for channel in zip(*palette, strict=True)]
    return np.stack(channels).round().astype(np.uint8)
