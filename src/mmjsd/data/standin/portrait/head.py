"""The head without its hair: outline, ears, chin and cheeks."""

from collections.abc import Sequence

import numpy as np

from mmjsd.data.standin.portrait.look import Look
from mmjsd.data.standin.portrait.pen import EYE_LEVEL, EYES, MIDDLE, Pen, arc, shaded

__all__ = ["across", "draw_head", "sides"]


def sides(look: Look) -> tuple[float, float]:
    """Measure the half widths of the face left and right of its middle; the side turned away is narrower."""
    return look.half + 4 * look.turn, look.half - 4 * look.turn


def across(look: Look, shares: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Shape what is symmetrical to the face.

    Args:
        shares: Points (share of the half width, y) down its right side.

    Returns:
        Points (x, y) down its right side and up its left one.
    """
    left, right = sides(look)
    points = [(MIDDLE + right * share, y) for share, y in shares]
    return points + [(MIDDLE - left * share, y) for share, y in reversed(shares) if share]


def _outline(look: Look) -> list[tuple[float, float]]:
    """The head without its hair."""
    jaw = (0.82 if look.has["Male"] else 0.74) + 0.08 * look.has["Chubby"] - 0.05 * look.has["Oval_Face"]
    points = across(
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


def draw_head(look: Look, pen: Pen, glow: Pen) -> None:
    """Draw skin, ears and chin on the canvas, and cheeks and shadows on the layer of light."""
    has, skin = look.has, look.skin
    left, right = sides(look)
    if has["Double_Chin"] or has["Chubby"]:
        drop = 9 if has["Double_Chin"] else 4
        roll = across(
            look,
            [(0, look.chin - 20), (0.8, look.chin - 16), (0.62, look.chin + drop - 5), (0, look.chin + drop)],
        )
        pen.blob(roll, shaded(skin, 0.97))
        glow.blob(roll, (178, 172, 170))
    for x, side in ((MIDDLE - left, -1), (MIDDLE + right, 1)):
        pen.oval(x + 2 * side, 120, 6, 12, shaded(skin, 0.9))
        pen.oval(x + 2.5 * side, 120, 3, 7, shaded(skin, 0.74))
    outline = _outline(look)
    pen.blob(outline, skin)
    if has["Double_Chin"]:
        pen.line(arc(MIDDLE + 2 * look.turn, look.chin - 3, 16, 4), (*shaded(skin, 0.68), 190), 1.2)
    glow.blob(outline, (176, 172, 172))
    toward = -5 * np.sign(look.turn) if look.turn else 0
    glow.blob(
        [(MIDDLE + (x - MIDDLE) * 0.76 + toward, 112 + (y - 112) * 0.84) for x, y in outline],
        (206, 205, 204),
    )
    for side in (-1, 1):
        eye = EYES[side > 0]
        glow.oval(eye, EYE_LEVEL - 1, 13, 8, (182, 176, 174, 150))
        x = MIDDLE + 0.62 * look.half * side
        if has["High_Cheekbones"]:
            glow.oval(x - 2 * side, 127, 9, 5, (232, 228, 224))
            glow.oval(x + 2 * side, 144, 7, 7, (172, 164, 162))
        if has["Rosy_Cheeks"]:
            glow.oval(x, 134, 11, 8, (226, 142, 146))
        elif has["Heavy_Makeup"]:
            glow.oval(x + 2 * side, 135, 9, 6, (210, 168, 168))
    if has["Bald"]:
        glow.oval(MIDDLE - 10, 60, 15, 7, (255, 252, 248))
