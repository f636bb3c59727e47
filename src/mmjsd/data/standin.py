"""Stand-ins for MNIST and SVHN: the official file layouts, generated offline and reproducible to the byte.

MNIST: real handwriting (the 8x8 digits that scikit-learn bundles, from 43 writers), restored to pen strokes
and deformed. SVHN: house numbers drawn in many fonts on uneven ground, cropped at one digit.
"""

import gzip
import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.datasets import load_digits

from mmjsd.data.store import replacing

__all__ = ["write_mnist", "write_svhn"]

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

_BATCH = 1000


def write_mnist(folder: str | Path, train: int, test: int, seed: int) -> dict[str, Path]:
    """Write the four idx files of MNIST with ``train`` and ``test`` images into ``folder``.

    No handwritten original is used for both splits.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    strokes, classes = _strokes()
    originals = dict(zip(("train", "t10k"), _split_originals(classes, rng), strict=True))
    written = {}
    for prefix, count in (("train", train), ("t10k", test)):
        labels = _balanced(count, rng)
        pool = originals[prefix]
        chosen = np.empty(count, np.int64)
        for digit in range(10):
            of_digit = labels == digit
            chosen[of_digit] = rng.choice(pool[classes[pool] == digit], of_digit.sum())
        images = np.concatenate([_handwritten(strokes[batch], rng) for batch in _batches(chosen)])
        for name, magic, values in (
            (f"{prefix}-images-idx3-ubyte", 2051, images),
            (f"{prefix}-labels-idx1-ubyte", 2049, labels.astype(np.uint8)),
        ):
            header = np.array([magic, *values.shape], ">i4").tobytes()
            content = gzip.compress(header + values.tobytes(), compresslevel=6, mtime=0)
            written[f"{name}.gz"] = _write(Path(folder) / f"{name}.gz", content)
    return written


def write_svhn(folder: str | Path, train: int, test: int, seed: int) -> dict[str, Path]:
    """Write the two MATLAB files of SVHN (cropped digits) with ``train`` and ``test`` images into ``folder``.

    Returns:
        Official name of each file -> its path.

    Raises:
        MmjsdError: a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    written = {}
    for split, count in (("train", train), ("test", test)):
        labels = _balanced(count, rng)
        images = np.concatenate([_street_numbers(batch, rng) for batch in _batches(labels)])
        name = f"{split}_32x32.mat"
        written[name] = _write(Path(folder) / name, _mat(images, labels))
    return written


def _balanced(count: int, rng: np.random.Generator) -> Ints:
    """Shuffled digits (count,), each as often as the others, or once more."""
    return rng.permutation(np.arange(count) % 10)


def _batches(values: Ints) -> Iterator[Ints]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _write(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _mat(images: NDArray[np.uint8], labels: Ints) -> bytes:
    """MATLAB 5 file of images (N, 32, 32, 3) and labels, where 10 stands for digit 0."""
    buffer = io.BytesIO()
    y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    content = {"X": images.transpose(1, 2, 3, 0), "y": y}
    scipy.io.savemat(buffer, content)  # type: ignore[arg-type]  # open files are fine, the stubs are too strict
    # the first 116 bytes are free text, where scipy puts the time of day
    return b"MATLAB 5.0 MAT-file, stand-in of mmjsd".ljust(116) + buffer.getvalue()[116:]


# --- geometry shared by both ---


def _sample(stack: Floats, index: Ints, y: Floats, x: Floats) -> Floats:
    """Values (N, h, w) of the images ``stack[index]`` at pixel positions y, x, bilinear; edges continue."""
    height, width = stack.shape[1:]
    y, x = y.clip(0, height - 1.001), x.clip(0, width - 1.001)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y, x = y - row, x - column
    corner = (index.astype(np.int32)[:, None, None] * height + row) * width + column
    flat = stack.ravel()
    top = flat[corner] * (1 - x) + flat[corner + 1] * x
    bottom = flat[corner + width] * (1 - x) + flat[corner + width + 1] * x
    return top * (1 - y) + bottom * y


def _grid(size: int) -> tuple[Floats, Floats]:
    """Positions y, x (size, size) of the pixels' centres, measured in pixels from the centre of the image."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    return np.meshgrid(axis, axis, indexing="ij")


def _uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    """Uniform numbers (count, 1, 1)."""
    return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)


@cache
def _spline(knots: int, size: int) -> Floats:
    """Matrix (size, knots) that interpolates equally spaced values smoothly at ``size`` positions."""
    zoomed = [
        ndimage.zoom(unit, size / knots, order=3, mode="nearest") for unit in np.eye(knots, dtype=np.float32)
    ]
    return np.stack(zoomed, axis=1)


def _smooth_noise(rng: np.random.Generator, count: int, knots: int, size: int) -> Floats:
    """Smooth random fields (count, size, size) of roughly unit variance."""
    coarse = rng.standard_normal((count, knots, knots), dtype=np.float32)
    spline = _spline(knots, size)
    return spline @ coarse @ spline.T


# --- handwriting ---


@cache
def _strokes() -> tuple[Floats, Ints]:
    """Signed distance (1797, 56, 56) to the edge of the strokes, in pixels, positive inside; and the classes.

    The 8x8 originals hold the inked share of 4x4 pixels of a scan. A smooth bitmap with just these shares is
    found by projecting back and forth; the digit is scaled to a 40 pixel box around its centre of mass, as in
    MNIST (there, 20 of 28 pixels).
    """
    digits = load_digits()
    shares = (digits.images / 16).astype(np.float32)
    bitmap = np.zeros((len(shares), 32, 32), np.float32)
    for _ in range(12):
        missing = shares - bitmap.reshape(-1, 8, 4, 8, 4).mean((2, 4))
        bitmap = bitmap + missing.repeat(4, axis=1).repeat(4, axis=2)
        bitmap = ndimage.gaussian_filter(bitmap, (0, 1, 1)).clip(0, 1)
    bitmap = np.pad(bitmap, ((0, 0), (2, 2), (2, 2)))
    ink = bitmap > 0.4
    y, x = _grid(36)
    centre_y, centre_x = (
        (ink * axis).sum((1, 2), keepdims=True) / ink.sum((1, 2), keepdims=True) for axis in (y, x)
    )
    extent = np.maximum(ink.any(1).sum(1), ink.any(2).sum(1))[:, None, None].astype(np.float32)
    y, x = _grid(56)
    y, x = y * extent / 40 + centre_y + 17.5, x * extent / 40 + centre_x + 17.5
    ink = _sample(bitmap, np.arange(len(ink)), y, x) > 0.4
    # the huge step along the first axis keeps the distances within each image
    inside, outside = (ndimage.distance_transform_edt(part, sampling=(1e6, 1, 1)) for part in (ink, ~ink))
    distance = np.where(ink, inside - 0.5, 0.5 - outside).astype(np.float32)
    return ndimage.gaussian_filter(distance, (0, 1, 1)), digits.target.astype(np.int64)


def _legible() -> NDArray[np.bool_]:
    """Which originals their four nearest others agree with: at 8x8 pixels, some can be read as two digits."""
    digits = load_digits()
    squares = (digits.data**2).sum(1)
    distance = squares[:, None] + squares - 2 * digits.data @ digits.data.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, 4, axis=1)[:, :4]
    return (digits.target[nearest] == digits.target[:, None]).all(1)


def _split_originals(classes: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Indices of the legible originals for training (three quarters of each class) and for testing."""
    train, test = [], []
    legible = _legible()
    for digit in range(10):
        of_digit = rng.permutation(np.flatnonzero((classes == digit) & legible))
        cut = len(of_digit) * 3 // 4
        train.append(of_digit[:cut])
        test.append(of_digit[cut:])
    return np.concatenate(train), np.concatenate(test)


def _handwritten(strokes: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Deformed digits (N, 28, 28), white on black, of the given distance fields (N, 56, 56)."""
    count = len(strokes)
    y, x = _grid(28)
    angle, shear = rng.normal(0, 0.08, (count, 1, 1)), rng.normal(0.1, 0.12, (count, 1, 1))
    height, width = _uniform(rng, 0.95, 1.15, count), _uniform(rng, 0.7, 1.0, count)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    y, x = (cos * y - sin * x) * height, (sin * y + cos * x) * width
    x = x + shear.astype(np.float32) * y
    bend_y, bend_x = (0.6 * _smooth_noise(rng, count, 4, 28) for _ in range(2))
    # 2 pixels of the distance field a pixel
    distance = _sample(strokes, np.arange(count), (y + bend_y) * 2 + 27.5, (x + bend_x) * 2 + 27.5) / 2
    inside = distance.clip(0)
    half = 2 * inside.sum((1, 2), keepdims=True) / (inside > 0).sum((1, 2), keepdims=True).clip(1)
    # pens of all widths, but a stroke is never worn down so far that it breaks
    thicker = np.maximum(_uniform(rng, 0.8, 1.7, count) - half, -0.4 * half)
    ink = (distance + thicker + 0.5).clip(0, 1)
    return (255 * ink).round().astype(np.uint8)


# --- street numbers ---

_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "cmr10",
    "cmss10",
    "cmtt10",
    "cmb10",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
_CELL = 64
_TALL = 40  # height of a digit in its cell


@cache
def _glyphs() -> tuple[Floats, Floats]:
    """Masks (fonts * 10, 64, 64) of the digits, centred and 40 pixels tall, and their widths in pixels."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    masks, widths = [], []
    for name in _FONTS:
        left, top, right, bottom = ImageFont.truetype(str(fonts / f"{name}.ttf"), 1000).getbbox("8")
        font = ImageFont.truetype(str(fonts / f"{name}.ttf"), round(1000 * _TALL / (bottom - top)))
        for digit in "0123456789":
            image = Image.new("L", (_CELL, _CELL))
            left, top, right, bottom = font.getbbox(digit)
            corner = ((_CELL - left - right) / 2, (_CELL - top - bottom) / 2)
            ImageDraw.Draw(image).text(corner, digit, fill=255, font=font)
            masks.append(np.asarray(image, np.float32) / 255)
            widths.append(right - left)
    return np.stack(masks), np.array(widths, np.float32)


def _street_numbers(labels: Ints, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crops (N, 32, 32, 3) of house numbers, each centred at the digit of its label."""
    count = len(labels)
    ink = _number(labels, rng)
    ground_colour, ink_colour = _colours(count, rng)
    light = _uneven_light(count, rng)
    shadow = np.roll(ink, (1, 1), (1, 2)) * _uniform(rng, -0.2, 0.25, count).clip(0)
    ground = ground_colour * (1 + light - shadow)[:, None]
    image = ground + ink[:, None] * (ink_colour * (1 + 0.5 * light)[:, None] - ground)
    image = _blurred(image, _uniform(rng, 0.35, 1.7, count))
    image += rng.standard_normal(image.shape, np.float32) * _uniform(rng, 0, 0.02, count)[:, None]
    return (255 * image.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 1)


def _number(labels: Ints, rng: np.random.Generator) -> Floats:
    """Coverage (N, 32, 32) of a digit and, usually, of its neighbours in the same font."""
    count = len(labels)
    masks, widths = _glyphs()
    y, x = _grid(32)
    angle, slant, tilt = (
        rng.normal(0, spread, (count, 1, 1)).astype(np.float32) for spread in (0.07, 0.12, 0.004)
    )
    size = _TALL / _uniform(rng, 21, 28, count)
    y, x = y - _uniform(rng, -1.5, 1.5, count), x - _uniform(rng, -1.5, 1.5, count)
    y, x = y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)
    size = size * (1 + tilt * x)
    y, x = y * size, (x + slant * y) * size * _uniform(rng, 0.85, 1.2, count)

    font = rng.integers(len(_FONTS), size=count)
    glyph = font * 10 + labels
    middle = (_CELL - 1) / 2
    coverage = _sample(masks, glyph, y + middle, x + middle)
    gap = _uniform(rng, 2, 9, count)
    for side in (-1, 1):
        neighbour = font * 10 + rng.integers(10, size=count)
        shift = side * ((widths[glyph] + widths[neighbour])[:, None, None] / 2 + gap)
        present = _uniform(rng, 0, 1, count) < 0.5
        coverage = np.maximum(coverage, present * _sample(masks, neighbour, y + middle, x + middle - shift))
    return coverage


def _colours(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colours (N, 3, 1, 1) of ground and digits: muted, digits mostly the lighter."""
    dark = _uniform(rng, 0.03, 0.35, count)
    light = (dark + _uniform(rng, 0.35, 0.6, count)).clip(0, 0.97)
    swap = _uniform(rng, 0, 1, count) < 0.9
    colours = []
    for brightness in (np.where(swap, dark, light), np.where(swap, light, dark)):
        # most walls and numbers are between blue and brown, few are green or purple
        warmth, green = rng.normal(0, 0.06, (count, 1)), rng.normal(0, 0.015, (count, 1))
        vivid = rng.choice([1, 3], (count, 1), p=[0.85, 0.15])
        tint = vivid * np.concatenate([warmth, green, -warmth], axis=1)
        colours.append((brightness + tint.astype(np.float32)[..., None])[..., None].clip(0, 1))
    return colours[0], colours[1]


def _uneven_light(count: int, rng: np.random.Generator) -> Floats:
    """Relative brightness (N, 32, 32) of the ground: shade, texture, and the edge of a plate or a door."""
    y, x = _grid(32)
    shade = 0.08 * _smooth_noise(rng, count, 3, 32)
    texture = _uniform(rng, 0, 0.08, count) * _smooth_noise(rng, count, 11, 32)
    angle = rng.integers(4, size=(count, 1, 1)) * (np.pi / 2) + rng.normal(0, 0.08, (count, 1, 1))
    beyond = (y * np.sin(angle) + x * np.cos(angle) > _uniform(rng, 9, 30, count)).astype(np.float32)
    return shade + texture + beyond * _uniform(rng, -0.25, 0.25, count)


def _blurred(images: Floats, spread: Floats) -> Floats:
    """Images (N, 3, 32, 32) under a Gaussian blur of the given standard deviations (N, 1, 1), in pixels."""
    axis = np.arange(images.shape[-1], dtype=np.float32)
    kernel = np.exp(-(((axis[:, None] - axis) / spread) ** 2) / 2)
    kernel = (kernel / kernel.sum(axis=2, keepdims=True))[:, None]
    return kernel @ images @ kernel.transpose(0, 1, 3, 2)
