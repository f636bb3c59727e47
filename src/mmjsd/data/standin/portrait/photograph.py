"""The scene before the face is drawn, and the photograph made of it."""

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from mmjsd.data.standin.portrait.pen import HEIGHT, SCALE, WIDTH, Floats

__all__ = ["NEUTRAL", "develop", "draw_ground"]

#: Of the layer of light, which multiplies the picture by value / 200.
NEUTRAL = 200


def draw_ground(rng: np.random.Generator) -> Image.Image:
    """Paint the canvas with an indistinct background."""
    base = rng.uniform(15, 235) + rng.normal(0, 18, 3)
    patches = base + rng.normal(0, rng.uniform(4, 34), (5, 4, 1)) + rng.normal(0, 6, (5, 4, 3))
    ground = Image.fromarray(patches.clip(0, 255).astype(np.uint8))
    ground = ground.resize((WIDTH // 3, HEIGHT // 3), Image.Resampling.BICUBIC)
    return ground.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.BILINEAR)


@cache
def _grain() -> Floats:
    """Noise (436, 356, 3), grey, from which each picture takes a part."""
    grey = np.random.default_rng(1).normal(0, 1, (2 * HEIGHT, 2 * WIDTH, 1)).astype(np.float32)
    return grey.repeat(3, axis=2)


@cache
def _ramp() -> Floats:
    """-1..1 from left to right (1, 178, 1)."""
    return np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]


def develop(
    canvas: Image.Image, light: Image.Image, *, blurry: bool, rng: np.random.Generator
) -> Image.Image:
    """Photograph the canvas under the light, with a camera's exposure, tint and noise: 178x218 pixels."""
    soft = light.filter(ImageFilter.BoxBlur(3)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    exposure = rng.uniform(0.84, 1.1) * (1 + rng.uniform(-0.16, 0.16) * _ramp()) / NEUTRAL
    warmth = 1 + rng.normal(0.015, 0.03) * np.array([1, 0, -1], np.float32)
    picture = np.asarray(canvas.reduce(SCALE), np.float32)
    picture *= np.asarray(soft)
    picture *= exposure * warmth
    y, x = rng.integers(HEIGHT), rng.integers(WIDTH)
    picture += rng.uniform(1, 4) * _grain()[y : y + HEIGHT, x : x + WIDTH]
    image = Image.fromarray(picture.clip(0, 255, out=picture).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(2, 3.2))) if blurry else image
