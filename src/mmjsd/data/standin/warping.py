"""What bends drawn digits: images interpolated at other positions, and smooth random fields."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Floats", "Ints", "grid", "interpolate", "smooth_noise", "uniform"]

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


def interpolate(stack: Floats, index: Ints, y: Floats, x: Floats) -> Floats:
    """Interpolate the images ``stack[index]`` bilinearly at pixel positions y, x; edges continue.

    Args:
        stack: Images (M, H, W).
        index: (N,).
        y: Positions (N, h, w) along the height, in pixels.
        x: Positions (N, h, w) along the width.

    Returns:
        Values (N, h, w).
    """
    height, width = stack.shape[1:]
    y, x = y.clip(0, height - 1.001), x.clip(0, width - 1.001)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y, x = y - row, x - column
    corner = (index.astype(np.int32)[:, None, None] * height + row) * width + column
    flat = stack.ravel()
    top = flat[corner] * (1 - x) + flat[corner + 1] * x
    bottom = flat[corner + width] * (1 - x) + flat[corner + width + 1] * x
    return top * (1 - y) + bottom * y


def grid(size: int) -> tuple[Floats, Floats]:
    """Measure the positions y, x (size, size) of pixels' centres, in pixels from the centre of the image."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    return np.meshgrid(axis, axis, indexing="ij")


def uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    """Draw uniform numbers (count, 1, 1)."""
    return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)


@cache
def _spline(knots: int, size: int) -> Floats:
    """Matrix (size, knots) that interpolates equally spaced values smoothly at ``size`` positions."""
    zoomed = [
        ndimage.zoom(unit, size / knots, order=3, mode="nearest") for unit in np.eye(knots, dtype=np.float32)
    ]
    return np.stack(zoomed, axis=1)


def smooth_noise(rng: np.random.Generator, count: int, knots: int, size: int) -> Floats:
    """Draw smooth random fields (count, size, size) of roughly unit variance."""
    coarse = rng.standard_normal((count, knots, knots), dtype=np.float32)
    spline = _spline(knots, size)
    return spline @ coarse @ spline.T
