"""Hair on the head and of the beard."""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from mmjsd.data.standin.portrait.head import across, sides
from mmjsd.data.standin.portrait.look import Look
from mmjsd.data.standin.portrait.pen import HEIGHT, MIDDLE, SCALE, WIDTH, Floats, Pen, even, smooth

__all__ = ["Texture", "draw_beard", "draw_hair", "hair_outline", "hair_texture", "paste_hair"]


Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels of the canvas."""


@cache
def _strands() -> dict[str, Image.Image]:
    """Patterns of hair, of the canvas' size; 128 is the colour itself."""
    rng = np.random.default_rng(0)
    size = (WIDTH * SCALE, HEIGHT * SCALE)
    patterns = {}
    for name, rows, columns, spread in (
        ("straight", 4, 90, 20),
        ("wavy", 8, 60, 26),
        ("short", 34, 90, 17),
    ):
        coarse = (128 + rng.normal(0, spread, (rows, columns))).clip(30, 235).astype(np.uint8)
        pattern = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        if name == "wavy":
            y, x = np.indices(pattern.shape)
            pattern = pattern[y, (x + 9 * np.sin(y / 13 + x / 60)).astype(int) % size[0]]
        patterns[name] = Image.fromarray(pattern)
    return patterns


class Texture(NamedTuple):
    """A pattern of hair, of the canvas' size, and its colours."""

    pattern: Image.Image
    palette: bytes
    """Red, green and blue of each of its 256 tones."""

    def part(self, box: Box) -> Image.Image:
        """Colour a part of it."""
        part = self.pattern.crop(box)
        part.putpalette(self.palette)
        return part.convert("RGB")


def hair_texture(look: Look) -> Texture:
    """Choose a pattern of hair, and its colours."""
    kind = "wavy" if look.has["Wavy_Hair"] else "straight" if look.long_hair else "short"
    pattern = _strands()[kind]
    if look.rng.random() < 0.5:
        pattern = pattern.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tones = np.arange(256)[:, None] / 128
    palette = (tones * look.hair + 6 * (tones - 1)).clip(0, 255).round()
    return Texture(pattern, palette.astype(np.uint8).tobytes())


def paste_hair(canvas: Image.Image, texture: Texture, shape: Floats, opening: Floats | None = None) -> None:
    """Paste hair into ``shape``, but not into ``opening``."""
    mask = Image.new("1", canvas.size)
    pen = Pen(mask, SCALE)
    pen.shape(shape, 1)
    if opening is not None:
        pen.shape(opening, 0)
    if box := mask.getbbox():
        canvas.paste(texture.part(box), box, mask.crop(box))


def hair_outline(look: Look) -> Floats:
    """Shape all hair on the head."""
    has = look.has
    volume = 4 + 5 * has["Wavy_Hair"] - 2 * has["Straight_Hair"] + 3 * (not has["Male"])
    top = 47 - volume - 3 * (look.half > 42)
    if look.long_hair:
        points = across(
            look,
            [
                (0, top),
                (0.46, top + 4),
                (0.86, top + 17),
                (1.09, 84),
                (1.17, 112),
                (1.2, 150),
                (1.3, 190),
                (1.25, 232),
            ],
        )
        if has["Wavy_Hair"]:
            points = [
                (x + (3 + 3 * min(1, (y - top) / 60)) * np.sin(y / 7) + (x - MIDDLE) * 0.06, y)
                for x, y in points
            ]
    else:
        side = 1 + volume / 70
        points = across(
            look,
            [
                (0, top),
                (0.46, top + 4),
                (0.85, top + 16),
                (side, 80),
                (side + 0.02, 97),
                (1.03, 113),
                (0.8, 114),
            ],
        )
    return smooth(points)


def _hairline(look: Look) -> Floats:
    """Shape the face that the hair leaves free, from below up to the hairline."""
    has, rng = look.has, look.rng
    level = 73 + 4 * look.chance - 3 * (not has["Male"])
    low = 236.0 if look.long_hair else 140.0
    if has["Bangs"]:
        edge = even(0.86, -0.86, 15)
        fringe = [
            (share, 96 + 3 * (index % 2) + 4 * share**2 + float(rng.normal(0, 1)))
            for index, share in enumerate(edge)
        ]
        beside = (
            [(0.84, low), (0.92, 150.0), (0.93, 118.0)] if look.long_hair else [(0.93, low), (0.93, 112.0)]
        )
        left, right = sides(look)
        points = beside + fringe + [(-share, y) for share, y in reversed(beside)]
        return np.array([(MIDDLE + (right if share > 0 else left) * share, y) for share, y in points])
    line: list[tuple[float, float]]
    if has["Receding_Hairline"]:
        line = [(0.9, 92), (0.84, 76), (0.62, 58), (0.36, 58), (0.14, 65), (0, 66)]
    elif look.long_hair:
        line = [(0.9, 104), (0.8, 86), (0.5, level + 2), (0.12, level - 8), (0, level - 9)]
    else:
        line = [(0.93, 100), (0.86, 84), (0.72, level + 1), (0.36, level - 2), (0, level)]
    side = [(0.8, low), (0.9, 172.0), (0.94, 140.0)] if look.long_hair else [(0.93, low), (0.94, 112.0)]
    return smooth(across(look, (side + line)[::-1]))


def draw_hair(look: Look, canvas: Image.Image, texture: Texture) -> None:
    """Draw the hair around the face."""
    if look.has["Bald"]:
        if not look.has["Young"]:
            crown = smooth(across(look, [(0, 80), (0.9, 84), (1.07, 92), (1.07, 108), (0.98, 116)]))
            paste_hair(
                canvas, texture, crown, smooth(across(look, [(0, 20), (0.88, 60), (0.95, 90), (0.93, 130)]))
            )
        return
    paste_hair(canvas, texture, hair_outline(look), _hairline(look))


def draw_beard(look: Look, canvas: Image.Image, texture: Texture) -> None:
    """Draw stubble, sideburns, goatee and moustache."""
    has = look.has
    if has["No_Beard"]:
        return
    mask = Image.new("L", canvas.size)
    pen = Pen(mask, SCALE)
    x = MIDDLE + 4 * look.turn
    jaw = across(
        look,
        [
            (0, 144),
            (0.36, 144),
            (0.6, 150),
            (0.9, 124),
            (0.97, 128),
            (0.86, 152),
            (0.5, look.chin - 3),
            (0, look.chin + 1),
        ],
    )
    if has["5_o_Clock_Shadow"]:
        pen.blob(jaw, 92)
    if has["Sideburns"]:
        left, right = sides(look)
        for sign, half in ((-1, left), (1, right)):
            strip = np.array([(0.98, 100), (0.84, 100), (0.8, 138), (0.84, 144), (0.93, 140), (0.99, 122)])
            pen.shape(strip * (sign * half, 1) + (MIDDLE, 0), 225)
        if has["Goatee"]:
            pen.blob(
                across(
                    look,
                    [
                        (0, 160),
                        (0.4, 158),
                        (0.8, 134),
                        (0.95, 136),
                        (0.84, 154),
                        (0.45, look.chin - 1),
                        (0, look.chin + 3),
                    ],
                ),
                215,
            )
    if has["Goatee"]:
        pen.blob(
            [
                (x - 13, 160),
                (x - 6, 163),
                (x + 6, 163),
                (x + 13, 160),
                (x + 12, look.chin - 2),
                (x, look.chin + 5),
                (x - 12, look.chin - 2),
            ],
            230,
        )
        for sign in (-1, 1):
            pen.shape(np.array([(14, 150), (19, 150), (17, 164), (11, 166)]) * (sign, 1) + (x, 0), 205)
    if has["Mustache"]:
        pen.blob(
            [
                (x, 143.5),
                (x + 9, 143.5),
                (x + 18, 151),
                (x + 17, 155),
                (x + 8, 149),
                (x, 148.5),
                (x - 8, 149),
                (x - 17, 155),
                (x - 18, 151),
                (x - 9, 143.5),
            ],
            240,
        )
    box = (20 * SCALE, 96 * SCALE, 158 * SCALE, 184 * SCALE)
    soft = mask.crop(box).filter(ImageFilter.GaussianBlur(1.6 * SCALE))
    dark = texture.part(box).point(lambda value: value * 0.72)
    canvas.paste(dark, box[:2], soft)
