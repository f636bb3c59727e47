"""A stand-in for CelebA: the official file layout, generated offline and reproducible to the byte.

Faces are drawn. Their attributes occur about as often, and as often together, as in CelebA, and most of them
show. Faces lie where CelebA's alignment puts them: eyes at (69, 111) and (108, 111) of 178x218 pixels.
"""

import os
import sys
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.special import ndtri
from tqdm import tqdm

from mmjsd.data.store import replacing
from mmjsd.errors import MmjsdError

__all__ = ["ATTRIBUTES", "sample_attributes", "write_faces"]

Floats = NDArray[np.floating]
Colour = tuple[int, ...]

_WIDTH, _HEIGHT = 178, 218
_QUALITY = 90


def write_faces(folder: str | Path, *, train: int, val: int, test: int, seed: int) -> dict[str, Path]:
    """Write ``train`` + ``val`` + ``test`` faces and the lists of their attributes and splits.

    Numbered images that a larger run left there are removed. Old lists are removed first and new ones written
    last, so that the images of an unfinished run have none.

    Returns:
        ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt`` -> their paths.

    Raises:
        MmjsdError: a file cannot be written.
    """
    folder = Path(folder)
    images = folder / "img_align_celeba"
    attributes_list, partition_list = folder / "list_attr_celeba.txt", folder / "list_eval_partition.txt"
    count = train + val + test
    attributes = sample_attributes(count, np.random.default_rng(seed))
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    unfinished = images / ".unfinished"  # always the same, so that a killed run leaves one at most
    try:
        images.mkdir(parents=True, exist_ok=True)
        for path in (attributes_list, partition_list):
            path.unlink(missing_ok=True)
        for left in {path.name for path in images.glob("[0-9]*.jpg")}.difference(names):
            (images / left).unlink()
        shown = tqdm(names, desc="stand-in faces", unit="face", disable=not sys.stderr.isatty())
        for number, (name, row) in enumerate(zip(shown, attributes, strict=True)):
            # a generator of its own: a face does not depend on how many others there are
            face = _face(row, np.random.default_rng([seed, number]))
            content = BytesIO()
            face.save(content, "JPEG", quality=_QUALITY)
            unfinished.write_bytes(content.getvalue())
            os.replace(unfinished, images / name)
    except OSError as error:
        raise MmjsdError(
            f"{error.filename or images}: cannot be written ({error.strerror}); "
            "check folder, permissions and space"
        ) from None
    values = np.where(attributes, " 1", "-1")
    rows = [f"{name} {' '.join(row)}" for name, row in zip(names, values, strict=True)]
    _write(attributes_list, [str(count), " ".join(ATTRIBUTES) + " ", *rows])
    parts = np.repeat([0, 1, 2], [train, val, test])
    _write(partition_list, [f"{name} {part}" for name, part in zip(names, parts, strict=True)])
    return {
        "img_align_celeba/": images,
        "list_attr_celeba.txt": attributes_list,
        "list_eval_partition.txt": partition_list,
    }


def _write(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


# --- attributes ---

#: Percent of young men, older men, young women and older women, and how much it goes with which trait.
_FREQUENCY: dict[str, tuple[float, float, float, float, str, float]] = {
    "5_o_Clock_Shadow": (34, 15, 0, 0, "beard", 0.75),
    "Arched_Eyebrows": (6, 3, 44, 39, "makeup", 0.5),
    "Attractive": (39, 7, 74, 32, "makeup", 0.5),
    "Bags_Under_Eyes": (27, 48, 9, 20, "weight", 0.3),
    "Big_Lips": (18, 13, 32, 24, "", 0),
    "Big_Nose": (33, 58, 9, 20, "weight", 0.4),
    "Blurry": (5, 8, 4, 9, "", 0),
    "Bushy_Eyebrows": (31, 13, 8, 3, "", 0),
    "Chubby": (5.5, 24, 1, 1.5, "weight", 0.95),
    "Double_Chin": (3, 20, 0.5, 2, "weight", 0.95),
    "Eyeglasses": (7, 20, 2, 5, "", 0),
    "Goatee": (14.5, 17, 0, 0, "beard", 0.92),
    "Heavy_Makeup": (0, 0, 68, 52, "makeup", 0.95),
    "High_Cheekbones": (28, 31, 53, 69, "smile", 0.9),
    "Mouth_Slightly_Open": (41, 41, 50, 66, "smile", 0.75),
    "Mustache": (7.5, 12, 0, 0, "beard", 0.9),
    "Narrow_Eyes": (12, 13, 11, 15, "smile", 0.3),
    "Oval_Face": (24, 18, 32, 19, "weight", -0.3),
    "Pale_Skin": (3, 2, 5.5, 3.5, "", 0),
    "Pointy_Nose": (17, 14, 35, 31, "makeup", 0.3),
    "Receding_Hairline": (5.5, 24, 4.5, 6, "", 0),
    "Rosy_Cheeks": (0, 1, 10, 13.5, "makeup", 0.5),
    "Sideburns": (15, 14, 0, 0, "beard", 0.9),
    "Smiling": (37, 43, 52, 69, "smile", 0.95),
    "Wearing_Earrings": (2, 0.5, 30, 53, "makeup", 0.3),
    "Wearing_Hat": (7, 7.5, 3, 1.5, "", 0),
    "Wearing_Lipstick": (1, 0, 81, 75, "makeup", 0.95),
    "Wearing_Necklace": (2, 1, 19, 36, "", 0),
    "Wearing_Necktie": (13, 29, 0, 0, "", 0),
}

#: The same of what excludes each other; the rest has none of them.
_EXCLUSIVE: tuple[dict[str, tuple[float, float, float, float]], ...] = (
    {
        "Bald": (3, 10, 0, 0),
        "Black_Hair": (40, 16, 21, 11),
        "Blond_Hair": (1.5, 1, 23, 34),
        "Brown_Hair": (18.5, 10, 24.5, 18.5),
        "Gray_Hair": (0.5, 28, 0, 9),
    },
    {"Straight_Hair": (28, 19, 20, 9), "Wavy_Hair": (14, 14, 42, 50)},
    {"Bangs": (10, 3, 18, 35)},
)


#: The official names. Their official order is the alphabetical one.
ATTRIBUTES = tuple(
    sorted([*_FREQUENCY, *(name for choices in _EXCLUSIVE for name in choices), "Male", "No_Beard", "Young"])
)


def sample_attributes(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Attributes (``count``, 40) with frequencies and dependencies much like CelebA's."""
    values: dict[str, NDArray[np.bool_]] = {"Male": rng.random(count) < 0.417}
    values["Young"] = rng.random(count) < np.where(values["Male"], 0.641, 0.88)
    group = np.where(values["Male"], 0, 2) + np.where(values["Young"], 0, 1)
    traits = {name: rng.standard_normal(count) for name in ("beard", "makeup", "smile", "weight", "")}
    for name, (*percent, trait, share) in _FREQUENCY.items():
        score = share * traits[trait] + np.sqrt(1 - share**2) * rng.standard_normal(count)
        values[name] = score < ndtri(np.array(percent) / 100)[group]
    for choices in _EXCLUSIVE:
        place = 100 * rng.random(count)
        for name, shares in choices.items():
            share_of_group = np.array(shares)[group]
            values[name] = (place >= 0) & (place < share_of_group)
            place = place - share_of_group
    values["No_Beard"] = ~np.any(
        [values[name] for name in ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")], axis=0
    )
    # under a hat, little of the hair shows
    hat, bald = values["Wearing_Hat"], values["Bald"]
    under = hat & (rng.random(count) < 0.5)
    for name in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Straight_Hair", "Wavy_Hair"):
        values[name] &= ~(under | bald)
    for name in ("Bangs", "Receding_Hairline"):
        values[name] &= ~(hat | bald)
    values["Receding_Hairline"] &= ~values["Bangs"]
    bald &= ~hat
    return np.stack([values[name] for name in ATTRIBUTES], axis=1)


# --- drawing ---

_SCALE = 2  # of the canvas, to smooth edges
_EYES = (69.0, 108.0)
_EYE_LEVEL = 111.0
_MIDDLE = 88.5

_SKIN = ((242, 200, 172), (232, 182, 146), (210, 156, 116), (168, 114, 80), (114, 74, 52))
_PALE = (248, 222, 208)
_HAIR = {
    "Black_Hair": (30, 26, 26),
    "Blond_Hair": (218, 180, 110),
    "Brown_Hair": (104, 66, 40),
    "Gray_Hair": (178, 178, 180),
}
#: Hair of none of the four: dark blond, auburn, dark brown, almost black.
_OTHER_HAIR = ((140, 104, 70), (128, 64, 42), (84, 60, 44), (52, 40, 34))
_IRIS = ((84, 56, 34), (60, 40, 26), (86, 116, 140), (88, 110, 78))
_NEUTRAL = 200  # of the layer of light, which multiplies the picture by value / 200


class _Look(NamedTuple):
    """What of a face the parts of it share. Lengths in pixels of the picture."""

    has: dict[str, bool]
    rng: np.random.Generator
    skin: Colour
    hair: Colour
    half: float
    """Half width of the face at the eyes."""
    turn: float
    """-1..1: to which side the head is turned."""
    chin: float
    long_hair: bool
    chance: float
    """0..1, for what varies freely but has to agree between left and right."""


def _face(attributes: NDArray[np.bool_], rng: np.random.Generator) -> Image.Image:
    """A picture, 178x218, of a face with the given attributes (40,)."""
    # camera and background have generators of their own: an attribute changes nothing but what it shows
    scenery, camera = rng.spawn(2)
    look = _look(attributes, rng)
    canvas = _ground(scenery)
    light = Image.new("RGB", (_WIDTH // 2, _HEIGHT // 2), (_NEUTRAL,) * 3)
    pen, glow = _Pen(canvas, _SCALE), _Pen(light, 0.5)
    texture = _hair_texture(look)
    _draw_body(look, canvas, pen, glow, texture)
    _draw_head(look, pen, glow)
    _draw_beard(look, canvas, texture)
    _draw_mouth(look, pen, glow)
    _draw_nose(look, pen, glow)
    for side in (-1, 1):
        _draw_eye(look, pen, glow, side)
    _draw_age(look, pen)
    _draw_hair(look, canvas, texture)
    if look.has["Wearing_Hat"]:
        _draw_hat(look, pen)
    if look.has["Eyeglasses"]:
        _draw_glasses(look, pen)
    if look.has["Wearing_Earrings"]:
        _draw_earrings(look, pen)
    return _developed(canvas, light, blurry=look.has["Blurry"], rng=camera)


def _look(attributes: NDArray[np.bool_], rng: np.random.Generator) -> _Look:
    has = dict(zip(ATTRIBUTES, attributes.tolist(), strict=True))
    fair = has["Blond_Hair"] or has["Pale_Skin"] or has["Rosy_Cheeks"]
    odds = (0.6, 0.4, 0, 0, 0) if fair else (0.36, 0.32, 0.2, 0.08, 0.04)
    if has["Black_Hair"]:
        odds = (0.2, 0.25, 0.25, 0.16, 0.14)
    tone = int(rng.choice(5, p=odds))
    skin = _PALE if has["Pale_Skin"] else _SKIN[tone]
    other = _OTHER_HAIR[rng.choice(4, p=(0.35, 0.15, 0.3, 0.2))]
    hair: Colour
    if named := [colour for name, colour in _HAIR.items() if has[name]]:
        hair = named[0]
    else:
        hair = _OTHER_HAIR[3] if tone > 2 else other
        if not has["Young"]:
            hair = _mixed(hair, (150, 146, 142), 0.35)
    return _Look(
        has=has,
        rng=rng,
        skin=_shaded(skin, rng.uniform(0.94, 1.04)),
        hair=_shaded(hair, rng.uniform(0.9, 1.1)),
        half=(43 if has["Male"] else 40) + 6 * has["Chubby"] - 2 * has["Oval_Face"] + rng.uniform(-1.5, 1.5),
        turn=float(np.clip(rng.normal(0, 0.45), -1, 1)),
        chin=170 + 2 * has["Oval_Face"] + 1.5 * has["Male"] + rng.uniform(-2, 2),
        long_hair=rng.random() < (0.04 if has["Male"] else 0.82),
        chance=rng.random(),
    )


def _shaded(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, round(value * factor)) for value in colour)


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """``share`` of the other colour in one."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


class _Pen:
    """Draws shapes, given in pixels of the picture, on a canvas of another scale."""

    def __init__(self, canvas: Image.Image, scale: float):
        self.draw = ImageDraw.Draw(canvas, "RGBA" if canvas.mode == "RGB" else None)
        self.scale = scale

    def shape(self, points: Floats, colour: Colour | int) -> None:
        self.draw.polygon((points * self.scale).ravel().tolist(), fill=colour)

    def blob(self, points: Sequence[tuple[float, float]], colour: Colour | int) -> None:
        """A shape with a smooth edge through ``points``."""
        self.shape(_smooth(points), colour)

    def oval(self, x: float, y: float, wide: float, high: float, colour: Colour | int) -> None:
        box = np.array([x - wide, y - high, x + wide, y + high]) * self.scale
        self.draw.ellipse(box.tolist(), fill=colour)

    def ring(self, x: float, y: float, wide: float, high: float, colour: Colour, width: float) -> None:
        box = np.array([x - wide, y - high, x + wide, y + high]) * self.scale
        self.draw.ellipse(box.tolist(), outline=colour, width=max(1, round(width * self.scale)))

    def line(self, points: Floats, colour: Colour, width: float) -> None:
        self.draw.line(
            (points * self.scale).ravel().tolist(), colour, max(1, round(width * self.scale)), "curve"
        )


@cache
def _spline(count: int) -> Floats:
    """Matrix (6 * count, count) of the closed curve (Catmull-Rom) through ``count`` points."""
    t = np.arange(6) / 6
    weights = np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], axis=1
    )
    matrix = np.zeros((count, 6, count))
    for segment in range(count):
        for step in range(4):
            matrix[segment, :, (segment + step - 1) % count] += weights[:, step] / 2
    return matrix.reshape(6 * count, count)


def _smooth(points: Sequence[tuple[float, float]]) -> Floats:
    """The closed curve (6 * N, 2) through N points."""
    return _spline(len(points)) @ np.array(points)


def _arc(x: float, y: float, wide: float, bend: float, count: int = 9) -> Floats:
    """A curve (count, 2) of half width ``wide`` whose middle is ``bend`` below its ends."""
    t = np.linspace(-1, 1, count)
    return np.stack([x + wide * t, y + bend * (1 - t**2)], axis=1)


def _ground(rng: np.random.Generator) -> Image.Image:
    """The canvas with an indistinct background."""
    base = rng.uniform(15, 235) + rng.normal(0, 18, 3)
    patches = base + rng.normal(0, rng.uniform(4, 34), (5, 4, 1)) + rng.normal(0, 6, (5, 4, 3))
    ground = Image.fromarray(patches.clip(0, 255).astype(np.uint8))
    ground = ground.resize((_WIDTH // 3, _HEIGHT // 3), Image.Resampling.BICUBIC)
    return ground.resize((_WIDTH * _SCALE, _HEIGHT * _SCALE), Image.Resampling.BILINEAR)


# --- body and head ---


def _sides(look: _Look) -> tuple[float, float]:
    """Half widths of the face left and right of its middle: the side turned away is the narrower."""
    return look.half + 4 * look.turn, look.half - 4 * look.turn


def _across(look: _Look, shares: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A shape symmetrical to the face: points (share of the half width, y), down its right side, and back."""
    left, right = _sides(look)
    points = [(_MIDDLE + right * share, y) for share, y in shares]
    return points + [(_MIDDLE - left * share, y) for share, y in reversed(shares) if share]


def _outline(look: _Look) -> list[tuple[float, float]]:
    """The head without its hair."""
    jaw = (0.82 if look.has["Male"] else 0.74) + 0.08 * look.has["Chubby"] - 0.05 * look.has["Oval_Face"]
    points = _across(
        look,
        [
            (0, 46),
            (0.45, 50),
            (0.8, 63),
            (0.97, 86),
            (1.0, 110),
            (0.95, 132),
            (jaw, 150),
            (jaw * 0.6, look.chin - 5),
            (0.2, look.chin),
        ],
    )
    return [(x + 3 * look.turn, y) if y > look.chin - 6 else (x, y) for x, y in points]


def _draw_body(look: _Look, canvas: Image.Image, pen: _Pen, glow: _Pen, texture: Image.Image) -> None:
    rng, has = look.rng, look.has
    if look.long_hair:
        _paste_hair(canvas, texture, _crown(look))
    neck = look.half * (0.66 if has["Male"] else 0.52) + 3 * has["Chubby"]
    wide = 84 if has["Male"] else 72
    shoulder = look.chin + (14 if has["Male"] else 20)
    bust = [
        (_MIDDLE - wide, 236),
        (_MIDDLE - wide + 6, shoulder + 18),
        (_MIDDLE - neck - 14, shoulder + 4),
        (_MIDDLE - neck, shoulder - 6),
        (_MIDDLE + neck, shoulder - 6),
        (_MIDDLE + neck + 14, shoulder + 4),
        (_MIDDLE + wide - 6, shoulder + 18),
        (_MIDDLE + wide, 236),
    ]
    skin = _shaded(look.skin, 0.93)
    cloth = tuple(int(value) for value in rng.integers(15, 235, 3))
    if has["Wearing_Necktie"]:
        cloth = ((32, 34, 44), (60, 62, 70), (36, 44, 74), (84, 74, 66))[rng.integers(4)]
    bare = not has["Male"] and rng.random() < 0.45
    pen.blob(bust, skin if bare else cloth)
    column = np.array(
        [(-neck, 140), (-neck, shoulder + 2), (0, shoulder + 26), (neck, shoulder + 2), (neck, 140)]
    )
    column[:, 0] += _MIDDLE
    if has["Wearing_Necktie"]:
        top = look.chin + 8
        shirt = (236, 238, 242) if rng.random() < 0.8 else (170, 196, 226)
        pen.shape(_symmetrical([(neck + 2, top - 6), (neck + 4, top + 6), (0, 250)]), shirt)
        pen.shape(_symmetrical([(neck, 140), (neck, top - 3), (0, top + 3)]), skin)
        tie = ((150, 26, 36), (32, 50, 120), (90, 30, 96), (196, 150, 40), (20, 90, 70))[rng.integers(5)]
        pen.shape(
            _symmetrical([(neck + 3, top - 9), (neck + 1, top + 13), (1, top + 1)]), _shaded(shirt, 0.9)
        )
        pen.shape(_symmetrical([(6.5, top), (4.5, top + 9), (0, top + 9)]), _shaded(tie, 0.8))
        pen.shape(_symmetrical([(4, top + 9), (9, 225), (0, 225)]), tie)
    else:
        pen.shape(column, skin)
        if not bare and rng.random() < 0.5:
            for side in (-1, 1):
                collar = np.array([(neck + 3, shoulder - 9), (neck + 12, shoulder + 6), (4, shoulder + 30)])
                pen.shape(collar * (side, 1) + (_MIDDLE, 0), _shaded(cloth, 1.25))
        if bare:
            for side in (-1, 1):
                strap = np.array([(neck + 22, shoulder), (neck + 30, shoulder), (44, 225), (30, 225)])
                pen.shape(strap * (side, 1) + (_MIDDLE, 0), cloth)
    glow.blob(
        _across(look, [(0, look.chin - 16), (0.6, look.chin - 8), (0.5, look.chin + 9), (0, look.chin + 13)]),
        (128, 118, 116),
    )
    if has["Wearing_Necklace"]:
        metal = ((236, 206, 110), (226, 230, 236), (250, 246, 236), (200, 40, 60))[rng.integers(4)]
        pen.line(_arc(_MIDDLE, look.chin + 7, neck, 9), _shaded(metal, 0.7), 2.4)
        for x, y in _arc(_MIDDLE, look.chin + 7, neck, 9, 15):
            pen.oval(x, y, 1.7, 1.7, metal)
        pen.oval(_MIDDLE, look.chin + 19, 3, 3.6, metal)


def _symmetrical(half: Sequence[tuple[float, float]]) -> Floats:
    """The shape whose right half, measured from the middle, is given."""
    points = [(_MIDDLE + x, y) for x, y in half]
    return np.array(points + [(_MIDDLE - x, y) for x, y in reversed(half)])


def _draw_head(look: _Look, pen: _Pen, glow: _Pen) -> None:
    has, skin = look.has, look.skin
    left, right = _sides(look)
    if has["Double_Chin"] or has["Chubby"]:
        drop = 9 if has["Double_Chin"] else 4
        roll = _across(
            look,
            [(0, look.chin - 20), (0.8, look.chin - 16), (0.62, look.chin + drop - 5), (0, look.chin + drop)],
        )
        pen.blob(roll, _shaded(skin, 0.97))
        glow.blob(roll, (178, 172, 170))
    for x, side in ((_MIDDLE - left, -1), (_MIDDLE + right, 1)):
        pen.oval(x + 2 * side, 120, 6, 12, _shaded(skin, 0.9))
        pen.oval(x + 2.5 * side, 120, 3, 7, _shaded(skin, 0.74))
    outline = _outline(look)
    pen.blob(outline, skin)
    if has["Double_Chin"]:
        pen.line(_arc(_MIDDLE + 2 * look.turn, look.chin - 3, 16, 4), (*_shaded(skin, 0.68), 190), 1.2)
    glow.blob(outline, (176, 172, 172))
    toward = -5 * np.sign(look.turn) if look.turn else 0
    glow.blob(
        [(_MIDDLE + (x - _MIDDLE) * 0.76 + toward, 112 + (y - 112) * 0.84) for x, y in outline],
        (206, 205, 204),
    )
    for side in (-1, 1):
        eye = _EYES[side > 0]
        glow.oval(eye, _EYE_LEVEL - 1, 13, 8, (182, 176, 174, 150))
        x = _MIDDLE + 0.62 * look.half * side
        if has["High_Cheekbones"]:
            glow.oval(x - 2 * side, 127, 9, 5, (232, 228, 224))
            glow.oval(x + 2 * side, 144, 7, 7, (172, 164, 162))
        if has["Rosy_Cheeks"]:
            glow.oval(x, 134, 11, 8, (226, 142, 146))
        elif has["Heavy_Makeup"]:
            glow.oval(x + 2 * side, 135, 9, 6, (210, 168, 168))
    if has["Bald"]:
        glow.oval(_MIDDLE - 10, 60, 15, 7, (255, 252, 248))


# --- features ---


def _draw_eye(look: _Look, pen: _Pen, glow: _Pen, side: int) -> None:
    has, skin = look.has, look.skin
    x = _EYES[side > 0]
    wide = 9.2 - 0.8 * look.turn * side + (0.4 if not has["Male"] else 0)
    high = 2.1 if has["Narrow_Eyes"] else 4.3 + 0.5 * (not has["Male"]) - 0.5 * has["Smiling"]
    across = np.linspace(-1, 1, 13)
    lid = 1 - across**2
    corner = 0.8 * across * side  # the outer corner is a little higher
    upper = np.stack([x + wide * across, _EYE_LEVEL - corner - high * lid], axis=1)
    lower = np.stack([x + wide * across, _EYE_LEVEL - corner + 0.62 * high * lid], axis=1)
    if has["Heavy_Makeup"]:
        shadow = ((110, 70, 90), (70, 70, 96), (120, 84, 60))[int(look.chance * 3)]
        pen.shape(np.concatenate([upper - np.array([0, 4.2]), upper[::-1]]), (*shadow, 130))
    pen.shape(np.concatenate([upper, lower[::-1]]), (238, 235, 232))
    # the iris ends at the lids
    dark = sum(skin) < 480 or has["Black_Hair"]
    iris = _IRIS[int(look.chance * (2 if dark else 4))]
    gaze = x + 1.6 * look.turn
    for radius, colour in ((4.4, _shaded(iris, 0.62)), (3.7, iris), (1.9, (16, 14, 16))):
        angle = np.linspace(0, 2 * np.pi, 20)
        rim_x, rim_y = gaze + radius * np.cos(angle), _EYE_LEVEL - 0.6 + radius * np.sin(angle)
        room = (1 - ((rim_x - x) / wide) ** 2).clip(0)
        rim_y = rim_y.clip(_EYE_LEVEL - high * room, _EYE_LEVEL + 0.62 * high * room)
        pen.shape(np.stack([rim_x, rim_y], axis=1), colour)
    pen.oval(gaze - 1.2, _EYE_LEVEL - 1.6, 0.9, 0.9, (255, 255, 255))
    lash = (24, 18, 18) if has["Heavy_Makeup"] else _shaded(skin, 0.36)
    pen.line(upper, lash, 2.0 if has["Heavy_Makeup"] else (1.3 if not has["Male"] else 1.0))
    pen.line(lower, (*_shaded(skin, 0.5), 150), 0.6)
    if has["Heavy_Makeup"] or (not has["Male"] and has["Wearing_Lipstick"]):
        outer = upper[-1] if side > 0 else upper[0]
        pen.line(np.array([outer, outer + np.array([3.4 * side, -2.4])]), lash, 1.4)
    pen.line(upper[2:-2] - np.array([0, 2.6]), (*_shaded(skin, 0.6), 160), 0.8)
    if has["Bags_Under_Eyes"]:
        glow.oval(x, _EYE_LEVEL + 9, 9, 3, (158, 148, 152))
        pen.line(_arc(x, _EYE_LEVEL + 7.5, 8, 3), (*_shaded(skin, 0.66), 170), 1.0)
    # the brow, thick toward the nose
    thick = 4.6 if has["Bushy_Eyebrows"] else (2.7 if has["Male"] else 1.9)
    rise = 4.6 if has["Arched_Eyebrows"] else 1.6
    level = _EYE_LEVEL - (12.5 if has["Male"] else 14) - 0.4 * thick
    along = np.linspace(0, 1, 7)  # from the nose outward
    bend = level + 2 - rise * np.sin(np.pi * (0.15 + 0.75 * along) ** 1.3) + 1.5 * along
    brow_x = x + side * (-9.5 + 21 * along)
    body = thick * (1 - 0.75 * along**1.6)
    brow = np.concatenate([np.stack([brow_x, bend], 1), np.stack([brow_x, bend + body], 1)[::-1]])
    colour = _mixed(_shaded(look.hair, 0.62), (60, 44, 36), 0.35)
    pen.shape(brow, (*colour, 235))


def _draw_nose(look: _Look, pen: _Pen, glow: _Pen) -> None:
    has, skin = look.has, look.skin
    x = _MIDDLE + 5 * look.turn
    wide = 8.2 + 4.2 * has["Big_Nose"] - 1.8 * has["Pointy_Nose"] + 0.8 * has["Male"]
    tip = 137.0 + 2 * has["Big_Nose"]
    dark = _shaded(skin, 0.62)
    side = 1 if look.turn >= 0 else -1
    bridge = np.array([(_MIDDLE + 4.5 * side, 108), (x + 3.6 * side, 122), (x + wide * 0.72 * side, tip - 4)])
    pen.line(bridge, (*_shaded(skin, 0.78), 150), 1.6)
    glow.oval(x, 122, 3, 14, (222, 218, 214))
    glow.oval(x, tip + 4, wide, 3.5, (166, 156, 154))
    glow.oval(x, tip - 4, wide * 0.5, 4, (226, 222, 220))
    for sign in (-1, 1):
        pen.oval(
            x + sign * wide * 0.48, tip + 0.6, 2.1 + 0.9 * has["Big_Nose"], 1.3, (*_shaded(skin, 0.36), 230)
        )
        wing = np.array([(wide * 0.82, tip - 5.5), (wide * 1.04, tip - 1.5), (wide * 0.78, tip + 1.6)])
        pen.line(wing * (sign, 1) + (x, 0), (*dark, 210), 1.3)
    base = 3.4 if has["Pointy_Nose"] else 1.6
    pen.line(_arc(x, tip + 1.2, wide * 0.34, base), (*dark, 220), 1.2)


def _draw_mouth(look: _Look, pen: _Pen, glow: _Pen) -> None:
    has, rng, skin = look.has, look.rng, look.skin
    x, y = _MIDDLE + 4 * look.turn, 153.0
    smile, apart = has["Smiling"], has["Mouth_Slightly_Open"]
    wide = (18.5 if smile else 13.5) + 1.0 * has["Male"] - 1.0 * abs(look.turn)
    lift = 5.0 if smile else 0.0  # of the corners
    gap = (7.5 if smile else 4.2) if apart else 0.0
    full = (4.4 if has["Big_Lips"] else 2.6) + 0.5 * (not has["Male"])
    lips: Colour
    if has["Wearing_Lipstick"]:
        lips = ((190, 30, 52), (206, 64, 100), (168, 42, 60), (214, 92, 92), (140, 24, 60))[rng.integers(5)]
    else:
        lips = _mixed(_shaded(skin, 0.8), (176, 82, 82), 0.42 if not has["Male"] else 0.25)
    t = np.linspace(-1, 1, 15)
    arch = 1 - t**2
    corner = y - lift * t**2
    inner_top = np.stack([x + wide * t, corner - 0.25 * gap * arch], axis=1)
    inner_low = np.stack([x + wide * t, corner + 0.85 * gap * arch], axis=1)
    bow = full * np.sqrt(arch) * (1 - 0.22 * np.exp(-((t / 0.13) ** 2)))
    outer_top = inner_top - np.stack([0 * t, 0.85 * bow], axis=1)
    outer_low = inner_low + np.stack([0 * t, 1.25 * full * arch**0.7], axis=1)
    glow.oval(x, y + gap + 2.2 * full + 3, 9, 2.5, (170, 160, 158))
    pen.shape(np.concatenate([outer_top, inner_top[::-1]]), _shaded(lips, 0.88))
    pen.shape(np.concatenate([inner_low, outer_low[::-1]]), lips)
    if apart:
        pen.shape(np.concatenate([inner_top, inner_low[::-1]]), (58, 20, 22))
        room = 0.75 if smile else 0.45
        teeth = inner_top + (inner_low - inner_top) * np.array([1, room])
        pen.shape(np.concatenate([inner_top[1:-1], teeth[1:-1][::-1]]), (240, 238, 230))
    else:
        pen.line(inner_top, _shaded(lips, 0.42), 1.1)
    pen.oval(x - wide * 0.2, y + gap + full * 0.55, wide * 0.22, full * 0.22, (*_shaded(lips, 1.4), 120))
    if smile:
        for sign in (-1, 1):
            fold = np.array([(11.5, 138), (wide + 2.5, 144), (wide + 4.5, 152)])
            pen.line(fold * (sign, 1) + (x, 0), (*_shaded(skin, 0.7), 150), 1.3)
            glow.oval(x + sign * (wide + 4), 140, 6, 5, (222, 214, 210))


def _draw_age(look: _Look, pen: _Pen) -> None:
    if look.has["Young"]:
        return
    crease = (*_shaded(look.skin, 0.6), 165)
    for y, wide in ((80, 20), (86, 23), (92, 17)):
        pen.line(_arc(_MIDDLE + 2 * look.turn, y, wide, -2), crease, 1.1)
    for side in (-1, 1):
        outer = _EYES[side > 0] + 11 * side
        for angle in (-2.5, 0.5, 3.5):
            pen.line(
                np.array([(outer, _EYE_LEVEL + 0.4 * angle), (outer + 5 * side, _EYE_LEVEL + angle * 1.3)]),
                crease,
                0.8,
            )
        fold = np.array([(11, 139), (17, 146), (20, 157)])
        pen.line(fold * (side, 1) + (_MIDDLE + 3 * look.turn, 0), crease, 1.5)


# --- hair ---


@cache
def _strands() -> dict[str, Image.Image]:
    """Patterns of hair, of the canvas' size; 128 is the colour itself."""
    rng = np.random.default_rng(0)
    size = (_WIDTH * _SCALE, _HEIGHT * _SCALE)
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


def _hair_texture(look: _Look) -> Image.Image:
    kind = "wavy" if look.has["Wavy_Hair"] else "straight" if look.long_hair else "short"
    pattern = _strands()[kind]
    if look.rng.random() < 0.5:
        pattern = pattern.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tones = np.arange(256) / 128
    return Image.merge(
        "RGB",
        [
            pattern.point((tones * value + 6 * (tones - 1)).clip(0, 255).round().tolist())
            for value in look.hair
        ],
    )


def _paste_hair(
    canvas: Image.Image, texture: Image.Image, shape: Floats, opening: Floats | None = None
) -> None:
    """Hair in ``shape`` and not in ``opening``."""
    mask = Image.new("L", canvas.size)
    pen = _Pen(mask, _SCALE)
    pen.shape(shape, 255)
    if opening is not None:
        pen.shape(opening, 0)
    canvas.paste(texture, mask=mask)


def _crown(look: _Look) -> Floats:
    """The outline of all hair on the head."""
    has = look.has
    volume = 4 + 5 * has["Wavy_Hair"] - 2 * has["Straight_Hair"] + 3 * (not has["Male"])
    top = 47 - volume - 3 * (look.half > 42)
    if look.long_hair:
        points = _across(
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
                (x + (3 + 3 * min(1, (y - top) / 60)) * np.sin(y / 7) + (x - _MIDDLE) * 0.06, y)
                for x, y in points
            ]
    else:
        side = 1 + volume / 70
        points = _across(
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
    return _smooth(points)


def _hairline(look: _Look) -> Floats:
    """The face that the hair leaves free: from below up to the hairline."""
    has, rng = look.has, look.rng
    level = 73 + 4 * look.chance - 3 * (not has["Male"])
    low = 236.0 if look.long_hair else 140.0
    if has["Bangs"]:
        edge = np.linspace(0.86, -0.86, 15)
        fringe = [
            (share, 96 + 3 * (index % 2) + 4 * share**2 + float(rng.normal(0, 1)))
            for index, share in enumerate(edge)
        ]
        beside = (
            [(0.84, low), (0.92, 150.0), (0.93, 118.0)] if look.long_hair else [(0.93, low), (0.93, 112.0)]
        )
        left, right = _sides(look)
        points = beside + fringe + [(-share, y) for share, y in reversed(beside)]
        return np.array([(_MIDDLE + (right if share > 0 else left) * share, y) for share, y in points])
    line: list[tuple[float, float]]
    if has["Receding_Hairline"]:
        line = [(0.9, 92), (0.84, 76), (0.62, 58), (0.36, 58), (0.14, 65), (0, 66)]
    elif look.long_hair:
        line = [(0.9, 104), (0.8, 86), (0.5, level + 2), (0.12, level - 8), (0, level - 9)]
    else:
        line = [(0.93, 100), (0.86, 84), (0.72, level + 1), (0.36, level - 2), (0, level)]
    side = [(0.8, low), (0.9, 172.0), (0.94, 140.0)] if look.long_hair else [(0.93, low), (0.94, 112.0)]
    return _smooth(_across(look, (side + line)[::-1]))


def _draw_hair(look: _Look, canvas: Image.Image, texture: Image.Image) -> None:
    if look.has["Bald"]:
        if not look.has["Young"]:
            crown = _smooth(_across(look, [(0, 80), (0.9, 84), (1.07, 92), (1.07, 108), (0.98, 116)]))
            _paste_hair(
                canvas, texture, crown, _smooth(_across(look, [(0, 20), (0.88, 60), (0.95, 90), (0.93, 130)]))
            )
        return
    _paste_hair(canvas, texture, _crown(look), _hairline(look))


def _draw_beard(look: _Look, canvas: Image.Image, texture: Image.Image) -> None:
    has = look.has
    if has["No_Beard"]:
        return
    mask = Image.new("L", canvas.size)
    pen = _Pen(mask, _SCALE)
    x = _MIDDLE + 4 * look.turn
    jaw = _across(
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
        left, right = _sides(look)
        for sign, half in ((-1, left), (1, right)):
            strip = np.array([(0.98, 100), (0.84, 100), (0.8, 138), (0.84, 144), (0.93, 140), (0.99, 122)])
            pen.shape(strip * (sign * half, 1) + (_MIDDLE, 0), 225)
        if has["Goatee"]:
            pen.blob(
                _across(
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
    box = (20 * _SCALE, 96 * _SCALE, 158 * _SCALE, 184 * _SCALE)
    soft = mask.crop(box).filter(ImageFilter.GaussianBlur(1.6 * _SCALE))
    dark = texture.crop(box).point(lambda value: value * 0.72)
    canvas.paste(dark, box[:2], soft)


# --- things worn ---


def _draw_hat(look: _Look, pen: _Pen) -> None:
    rng = look.rng
    colour = ((190, 36, 40), (36, 60, 140), (40, 40, 44), (226, 222, 210), (60, 110, 64), (150, 104, 60))[
        rng.integers(6)
    ]
    shade = _shaded(colour, 0.68)
    left, right = _sides(look)
    dome = [(0, 30), (0.7, 36), (1.1, 62), (1.14, 86), (0.6, 82), (0, 80)]
    match rng.integers(3):
        case 0:  # cap
            pen.blob(_across(look, dome), colour)
            pen.blob(_across(look, [(0, 76), (0.7, 79), (1.08, 90), (0.6, 92), (0, 90)]), shade)
            pen.line(np.array([(_MIDDLE, 32), (_MIDDLE + 2 * look.turn, 78)]), shade, 1.2)
        case 1:  # hat with a brim all around
            pen.blob(_across(look, dome), colour)
            pen.blob(_across(look, [(0, 68), (1.1, 72), (1.12, 83), (0, 80)]), (28, 26, 26))
            pen.oval(_MIDDLE, 84, (left + right) / 2 + 32, 9, shade)
        case _:  # knitted
            pen.blob(_across(look, dome), colour)
            pen.blob(_across(look, [(0, 70), (0.8, 72), (1.18, 76), (1.18, 92), (0.8, 88), (0, 86)]), shade)
            for share in np.linspace(-1, 1, 13):
                pen.line(
                    np.array(
                        [
                            (_MIDDLE + share * left, 73 + 4 * share**2),
                            (_MIDDLE + share * left, 86 + 4 * share**2),
                        ]
                    ),
                    colour,
                    1,
                )


def _draw_glasses(look: _Look, pen: _Pen) -> None:
    rng = look.rng
    frame = ((24, 22, 24), (84, 48, 26), (150, 150, 156), (140, 30, 40))[
        rng.choice(4, p=(0.55, 0.2, 0.15, 0.1))
    ]
    width = rng.uniform(1.6, 2.8)
    wide, high = rng.uniform(14, 16), rng.uniform(9.5, 13)
    tinted = rng.random() < 0.25
    left, right = _sides(look)
    for x, end in ((_EYES[0], _MIDDLE - left), (_EYES[1], _MIDDLE + right)):
        pen.oval(x, _EYE_LEVEL + 1, wide, high, (26, 24, 30, 235) if tinted else (236, 244, 255, 26))
        pen.ring(x, _EYE_LEVEL + 1, wide + width / 2, high + width / 2, frame, width)
        outer = x + np.sign(x - _MIDDLE) * wide
        pen.line(np.array([(outer, _EYE_LEVEL - 2), (end, _EYE_LEVEL - 3)]), frame, width)
    pen.line(_arc(_MIDDLE, _EYE_LEVEL - 1, (_EYES[1] - _EYES[0]) / 2 - wide, -2, 5), frame, width)


def _draw_earrings(look: _Look, pen: _Pen) -> None:
    rng = look.rng
    metal = ((240, 208, 104), (228, 232, 240), (220, 60, 80), (60, 190, 190))[
        rng.choice(4, p=(0.45, 0.35, 0.1, 0.1))
    ]
    left, right = _sides(look)
    kind, size = rng.integers(3), rng.uniform(3.4, 6)
    for x in (_MIDDLE - left - 3, _MIDDLE + right + 3):
        pen.oval(x, 134, 1.8, 1.8, metal)
        if kind == 0:
            pen.ring(x, 135 + size, size, size * 1.2, metal, 1.7)
        elif kind == 1:
            pen.oval(x, 136 + size, 0.62 * size, size, metal)
        else:
            pen.oval(x, 135.5, 3.4, 3.4, metal)
        pen.oval(x - 0.8, 133.4, 0.8, 0.8, (255, 255, 255))


# --- from the canvas to the picture ---


@cache
def _grain() -> Floats:
    return np.random.default_rng(1).normal(0, 1, (2 * _HEIGHT, 2 * _WIDTH, 1)).astype(np.float32)


@cache
def _ramp() -> Floats:
    """-1..1 from left to right (1, 178, 1)."""
    return np.linspace(-1, 1, _WIDTH, dtype=np.float32)[None, :, None]


def _developed(
    canvas: Image.Image, light: Image.Image, *, blurry: bool, rng: np.random.Generator
) -> Image.Image:
    """The picture of the canvas under the light, with a camera's exposure, tint and noise."""
    soft = light.filter(ImageFilter.BoxBlur(3)).resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    picture = np.asarray(canvas.reduce(_SCALE), np.float32)
    exposure = rng.uniform(0.84, 1.1) * (1 + rng.uniform(-0.16, 0.16) * _ramp()) / _NEUTRAL
    warmth = 1 + rng.normal(0.015, 0.03) * np.array([1, 0, -1], np.float32)
    picture = picture * np.asarray(soft, np.float32) * (exposure * warmth).astype(np.float32)
    y, x = rng.integers(_HEIGHT), rng.integers(_WIDTH)
    picture += rng.uniform(1, 4) * _grain()[y : y + _HEIGHT, x : x + _WIDTH]
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(2, 3.2))) if blurry else image
