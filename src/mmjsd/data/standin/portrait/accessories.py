"""Things worn on the head: hats, glasses and earrings."""

import numpy as np

from mmjsd.data.standin.portrait.head import across, sides
from mmjsd.data.standin.portrait.look import Look
from mmjsd.data.standin.portrait.pen import EYE_LEVEL, EYES, MIDDLE, Pen, arc, even, shaded

__all__ = ["draw_earrings", "draw_glasses", "draw_hat"]


def draw_hat(look: Look, pen: Pen) -> None:
    """Draw a cap, a hat with a brim or a knitted one."""
    rng = look.rng
    colour = ((190, 36, 40), (36, 60, 140), (40, 40, 44), (226, 222, 210), (60, 110, 64), (150, 104, 60))[
        rng.integers(6)
    ]
    shade = shaded(colour, 0.68)
    left, right = sides(look)
    dome = [(0, 30), (0.7, 36), (1.1, 62), (1.14, 86), (0.6, 82), (0, 80)]
    match rng.integers(3):
        case 0:  # cap
            pen.blob(across(look, dome), colour)
            pen.blob(across(look, [(0, 76), (0.7, 79), (1.08, 90), (0.6, 92), (0, 90)]), shade)
            pen.line(np.array([(MIDDLE, 32), (MIDDLE + 2 * look.turn, 78)]), shade, 1.2)
        case 1:  # hat with a brim all around
            pen.blob(across(look, dome), colour)
            pen.blob(across(look, [(0, 68), (1.1, 72), (1.12, 83), (0, 80)]), (28, 26, 26))
            pen.oval(MIDDLE, 84, (left + right) / 2 + 32, 9, shade)
        case _:  # knitted
            pen.blob(across(look, dome), colour)
            pen.blob(across(look, [(0, 70), (0.8, 72), (1.18, 76), (1.18, 92), (0.8, 88), (0, 86)]), shade)
            for share in even(-1, 1, 13):
                pen.line(
                    np.array(
                        [
                            (MIDDLE + share * left, 73 + 4 * share**2),
                            (MIDDLE + share * left, 86 + 4 * share**2),
                        ]
                    ),
                    colour,
                    1,
                )


def draw_glasses(look: Look, pen: Pen) -> None:
    """Draw glasses, some of them tinted."""
    rng = look.rng
    frame = ((24, 22, 24), (84, 48, 26), (150, 150, 156), (140, 30, 40))[
        rng.choice(4, p=(0.55, 0.2, 0.15, 0.1))
    ]
    width = rng.uniform(1.6, 2.8)
    wide, high = rng.uniform(14, 16), rng.uniform(9.5, 13)
    tinted = rng.random() < 0.25
    left, right = sides(look)
    for x, end in ((EYES[0], MIDDLE - left), (EYES[1], MIDDLE + right)):
        pen.oval(x, EYE_LEVEL + 1, wide, high, (26, 24, 30, 235) if tinted else (236, 244, 255, 26))
        pen.ring(x, EYE_LEVEL + 1, wide + width / 2, high + width / 2, frame, width)
        outer = x + np.sign(x - MIDDLE) * wide
        pen.line(np.array([(outer, EYE_LEVEL - 2), (end, EYE_LEVEL - 3)]), frame, width)
    pen.line(arc(MIDDLE, EYE_LEVEL - 1, (EYES[1] - EYES[0]) / 2 - wide, -2, 5), frame, width)


def draw_earrings(look: Look, pen: Pen) -> None:
    """Draw a pair of rings, drops or studs."""
    rng = look.rng
    metal = ((240, 208, 104), (228, 232, 240), (220, 60, 80), (60, 190, 190))[
        rng.choice(4, p=(0.45, 0.35, 0.1, 0.1))
    ]
    left, right = sides(look)
    kind, size = rng.integers(3), rng.uniform(3.4, 6)
    for x in (MIDDLE - left - 3, MIDDLE + right + 3):
        pen.oval(x, 134, 1.8, 1.8, metal)
        if kind == 0:
            pen.ring(x, 135 + size, size, size * 1.2, metal, 1.7)
        elif kind == 1:
            pen.oval(x, 136 + size, 0.62 * size, size, metal)
        else:
            pen.oval(x, 135.5, 3.4, 3.4, metal)
        pen.oval(x - 0.8, 133.4, 0.8, 0.8, (255, 255, 255))
