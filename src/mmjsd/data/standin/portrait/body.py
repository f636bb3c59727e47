"""Neck and shoulders, and what they wear."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmjsd.data.standin.portrait.hair import Texture, hair_outline, paste_hair
from mmjsd.data.standin.portrait.head import across
from mmjsd.data.standin.portrait.look import Look
from mmjsd.data.standin.portrait.pen import MIDDLE, Floats, Pen, arc, shaded

__all__ = ["draw_body"]


def draw_body(look: Look, canvas: Image.Image, pen: Pen, glow: Pen, texture: Texture) -> None:
    """Draw neck, clothes and necklace, behind them long hair, and the shadow of the chin."""
    rng, has = look.rng, look.has
    if look.long_hair:
        paste_hair(canvas, texture, hair_outline(look))
    neck = look.half * (0.66 if has["Male"] else 0.52) + 3 * has["Chubby"]
    wide = 84 if has["Male"] else 72
    shoulder = look.chin + (14 if has["Male"] else 20)
    bust = [
        (MIDDLE - wide, 236),
        (MIDDLE - wide + 6, shoulder + 18),
        (MIDDLE - neck - 14, shoulder + 4),
        (MIDDLE - neck, shoulder - 6),
        (MIDDLE + neck, shoulder - 6),
        (MIDDLE + neck + 14, shoulder + 4),
        (MIDDLE + wide - 6, shoulder + 18),
        (MIDDLE + wide, 236),
    ]
    skin = shaded(look.skin, 0.93)
    cloth = tuple(int(value) for value in rng.integers(15, 235, 3))
    if has["Wearing_Necktie"]:
        cloth = ((32, 34, 44), (60, 62, 70), (36, 44, 74), (84, 74, 66))[rng.integers(4)]
    bare = not has["Male"] and rng.random() < 0.45
    pen.blob(bust, skin if bare else cloth)
    column = np.array(
        [(-neck, 140), (-neck, shoulder + 2), (0, shoulder + 26), (neck, shoulder + 2), (neck, 140)]
    )
    column[:, 0] += MIDDLE
    if has["Wearing_Necktie"]:
        top = look.chin + 8
        shirt = (236, 238, 242) if rng.random() < 0.8 else (170, 196, 226)
        pen.shape(symmetrical([(neck + 2, top - 6), (neck + 4, top + 6), (0, 250)]), shirt)
        pen.shape(symmetrical([(neck, 140), (neck, top - 3), (0, top + 3)]), skin)
        tie = ((150, 26, 36), (32, 50, 120), (90, 30, 96), (196, 150, 40), (20, 90, 70))[rng.integers(5)]
        pen.shape(symmetrical([(neck + 3, top - 9), (neck + 1, top + 13), (1, top + 1)]), shaded(shirt, 0.9))
        pen.shape(symmetrical([(6.5, top), (4.5, top + 9), (0, top + 9)]), shaded(tie, 0.8))
        pen.shape(symmetrical([(4, top + 9), (9, 225), (0, 225)]), tie)
    else:
        pen.shape(column, skin)
        if not bare and rng.random() < 0.5:
            for side in (-1, 1):
                collar = np.array([(neck + 3, shoulder - 9), (neck + 12, shoulder + 6), (4, shoulder + 30)])
                pen.shape(collar * (side, 1) + (MIDDLE, 0), shaded(cloth, 1.25))
        if bare:
            for side in (-1, 1):
                strap = np.array([(neck + 22, shoulder), (neck + 30, shoulder), (44, 225), (30, 225)])
                pen.shape(strap * (side, 1) + (MIDDLE, 0), cloth)
    glow.blob(
        across(look, [(0, look.chin - 16), (0.6, look.chin - 8), (0.5, look.chin + 9), (0, look.chin + 13)]),
        (128, 118, 116),
    )
    if has["Wearing_Necklace"]:
        metal = ((236, 206, 110), (226, 230, 236), (250, 246, 236), (200, 40, 60))[rng.integers(4)]
        pen.line(arc(MIDDLE, look.chin + 7, neck, 9), shaded(metal, 0.7), 2.4)
        for x, y in arc(MIDDLE, look.chin + 7, neck, 9, 15):
            pen.oval(x, y, 1.7, 1.7, metal)
        pen.oval(MIDDLE, look.chin + 19, 3, 3.6, metal)


def symmetrical(half: Sequence[tuple[float, float]]) -> Floats:
    """The shape whose right half, measured from the middle, is given."""
    points = [(MIDDLE + x, y) for x, y in half]
    return np.array(points + [(MIDDLE - x, y) for x, y in reversed(half)])
