"""House numbers as in SVHN: drawn in many fonts on uneven ground, cropped at one digit."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmjsd.data.standin.warping import Floats, Ints, grid, interpolate, smooth_noise, uniform

__all__ = ["street_numbers"]

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


def street_numbers(labels: Ints, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw crops (N, 32, 32, 3) of house numbers, each centred at the digit of its label (N,)."""
    count = len(labels)
    ink = _number(labels, rng)
    ground_colour, ink_colour = _colours(count, rng)
    light = _uneven_light(count, rng)
    shadow = np.roll(ink, (1, 1), (1, 2)) * uniform(rng, -0.2, 0.25, count).clip(0)
    ground = ground_colour * (1 + light - shadow)[:, None]
    image = ground + ink[:, None] * (ink_colour * (1 + 0.5 * light)[:, None] - ground)
    image = _blurred(image, uniform(rng, 0.35, 1.7, count))
    image += rng.standard_normal(image.shape, np.float32) * uniform(rng, 0, 0.02, count)[:, None]
    return (255 * image.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 1)


def _number(labels: Ints, rng: np.random.Generator) -> Floats:
    """Coverage (N, 32, 32) of a digit and, usually, of its neighbours in the same font."""
    count = len(labels)
    masks, widths = _glyphs()
    y, x = grid(32)
    angle, slant, tilt = (
        rng.normal(0, spread, (count, 1, 1)).astype(np.float32) for spread in (0.07, 0.12, 0.004)
    )
    size = _TALL / uniform(rng, 21, 28, count)
    y, x = y - uniform(rng, -1.5, 1.5, count), x - uniform(rng, -1.5, 1.5, count)
    y, x = y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)
    size = size * (1 + tilt * x)
    y, x = y * size, (x + slant * y) * size * uniform(rng, 0.85, 1.2, count)

    font = rng.integers(len(_FONTS), size=count)
    glyph = font * 10 + labels
    middle = (_CELL - 1) / 2
    coverage = interpolate(masks, glyph, y + middle, x + middle)
    gap = uniform(rng, 2, 9, count)
    for side in (-1, 1):
        neighbour = font * 10 + rng.integers(10, size=count)
        shift = side * ((widths[glyph] + widths[neighbour])[:, None, None] / 2 + gap)
        present = uniform(rng, 0, 1, count) < 0.5
        coverage = np.maximum(
            coverage, present * interpolate(masks, neighbour, y + middle, x + middle - shift)
        )
    return coverage


def _colours(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colours (N, 3, 1, 1) of ground and digits: muted, digits mostly the lighter."""
    dark = uniform(rng, 0.03, 0.35, count)
    light = (dark + uniform(rng, 0.35, 0.6, count)).clip(0, 0.97)
    swap = uniform(rng, 0, 1, count) < 0.9
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
    y, x = grid(32)
    shade = 0.08 * smooth_noise(rng, count, 3, 32)
    texture = uniform(rng, 0, 0.08, count) * smooth_noise(rng, count, 11, 32)
    angle = rng.integers(4, size=(count, 1, 1)) * (np.pi / 2) + rng.normal(0, 0.08, (count, 1, 1))
    beyond = (y * np.sin(angle) + x * np.cos(angle) > uniform(rng, 9, 30, count)).astype(np.float32)
    return shade + texture + beyond * uniform(rng, -0.25, 0.25, count)


def _blurred(images: Floats, spread: Floats) -> Floats:
    """Images (N, 3, 32, 32) under a Gaussian blur of the given standard deviations (N, 1, 1), in pixels."""
    axis = np.arange(images.shape[-1], dtype=np.float32)
    kernel = np.exp(-(((axis[:, None] - axis) / spread) ** 2) / 2)
    kernel = (kernel / kernel.sum(axis=2, keepdims=True))[:, None]
    return kernel @ images @ kernel.transpose(0, 1, 3, 2)
