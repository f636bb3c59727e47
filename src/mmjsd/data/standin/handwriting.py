"""Handwritten digits as in MNIST.

Real handwriting, the 8x8 digits of 43 writers that scikit-learn bundles, is restored to pen strokes and
deformed.
"""

from functools import cache
from importlib.metadata import distribution

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmjsd.data.standin.warping import Floats, Ints, grid, interpolate, smooth_noise, uniform

__all__ = ["handwritten", "legible", "originals", "split_originals"]


@cache
def _digits() -> tuple[Floats, Ints]:
    """Read the pixels (1797, 64), 0..16, and the classes (1797,) of scikit-learn's digits.

    Its own reader is not imported: that takes a third of the time of building a store.
    """
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    values = np.loadtxt(str(path), delimiter=",")
    return values[:, :-1], values[:, -1].astype(np.int64)


@cache
def originals() -> tuple[Floats, Ints]:
    """Restore the pen strokes of all originals.

    The 8x8 originals hold the inked share of 4x4 pixels of a scan. A smooth bitmap with just these shares is
    found by projecting back and forth; the digit is scaled to a 40 pixel box around its centre of mass, as in
    MNIST (there, 20 of 28 pixels).

    Returns:
        Signed distance (1797, 56, 56) to the edge of the strokes, in pixels, positive inside, and
        classes (1797,).
    """
    pixels, classes = _digits()
    shares = (pixels.reshape(-1, 8, 8) / 16).astype(np.float32)
    bitmap = np.zeros((len(shares), 32, 32), np.float32)
    for _ in range(12):
        missing = shares - bitmap.reshape(-1, 8, 4, 8, 4).mean((2, 4))
        bitmap = bitmap + missing.repeat(4, axis=1).repeat(4, axis=2)
        bitmap = ndimage.gaussian_filter(bitmap, (0, 1, 1)).clip(0, 1)
    bitmap = np.pad(bitmap, ((0, 0), (2, 2), (2, 2)))
    ink = bitmap > 0.4
    y, x = grid(36)
    centre_y, centre_x = (
        (ink * axis).sum((1, 2), keepdims=True) / ink.sum((1, 2), keepdims=True) for axis in (y, x)
    )
    extent = np.maximum(ink.any(1).sum(1), ink.any(2).sum(1))[:, None, None].astype(np.float32)
    y, x = grid(56)
    y, x = y * extent / 40 + centre_y + 17.5, x * extent / 40 + centre_x + 17.5
    ink = interpolate(bitmap, np.arange(len(ink)), y, x) > 0.4
    # the huge step along the first axis keeps the distances within each image
    inside, outside = (ndimage.distance_transform_edt(part, sampling=(1e6, 1, 1)) for part in (ink, ~ink))
    distance = np.where(ink, inside - 0.5, 0.5 - outside).astype(np.float32)
    return ndimage.gaussian_filter(distance, (0, 1, 1)), classes


def legible() -> NDArray[np.bool_]:
    """Tell which originals (1797,) their four nearest others agree with.

    At 8x8 pixels, some can be read as two digits.
    """
    pixels, classes = _digits()
    squares = (pixels**2).sum(1)
    distance = squares[:, None] + squares - 2 * pixels @ pixels.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, 4, axis=1)[:, :4]
    return (classes[nearest] == classes[:, None]).all(1)


def split_originals(classes: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Divide the legible originals: indices for training (three quarters of each class) and for testing."""
    train, test = [], []
    usable = legible()
    for digit in range(10):
        of_digit = rng.permutation(np.flatnonzero((classes == digit) & usable))
        cut = len(of_digit) * 3 // 4
        train.append(of_digit[:cut])
        test.append(of_digit[cut:])
    return np.concatenate(train), np.concatenate(test)


def handwritten(strokes: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Write digits (N, 28, 28), white on black, with strokes (N, 56, 56) deformed at random."""
    count = len(strokes)
    y, x = grid(28)
    angle, shear = rng.normal(0, 0.08, (count, 1, 1)), rng.normal(0.1, 0.12, (count, 1, 1))
    height, width = uniform(rng, 0.95, 1.15, count), uniform(rng, 0.7, 1.0, count)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    y, x = (cos * y - sin * x) * height, (sin * y + cos * x) * width
    x = x + shear.astype(np.float32) * y
    bend_y, bend_x = (0.6 * smooth_noise(rng, count, 4, 28) for _ in range(2))
    # 2 pixels of the distance field a pixel
    distance = interpolate(strokes, np.arange(count), (y + bend_y) * 2 + 27.5, (x + bend_x) * 2 + 27.5) / 2
    inside = distance.clip(0)
    half = 2 * inside.sum((1, 2), keepdims=True) / (inside > 0).sum((1, 2), keepdims=True).clip(1)
    # pens of all widths, but a stroke is never worn down so far that it breaks
    thicker = np.maximum(uniform(rng, 0.8, 1.7, count) - half, -0.4 * half)
    ink = (distance + thicker + 0.5).clip(0, 1)
    return (255 * ink).round().astype(np.uint8)
