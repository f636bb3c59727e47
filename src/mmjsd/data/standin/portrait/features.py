"""Eyes with their brows, nose and mouth, and the lines of age."""

import numpy as np

from mmjsd.data.standin.portrait.look import Look
from mmjsd.data.standin.portrait.pen import EYE_LEVEL, EYES, MIDDLE, Colour, Pen, arc, even, mixed, shaded

__all__ = ["draw_age", "draw_eye", "draw_mouth", "draw_nose"]

_IRIS = ((84, 56, 34), (60, 40, 26), (86, 116, 140), (88, 110, 78))


def draw_eye(look: Look, pen: Pen, glow: Pen, side: int) -> None:
    """Draw the left (-1) or right (1) eye of the picture, and its brow."""
    has, skin = look.has, look.skin
    x = EYES[side > 0]
    wide = 9.2 - 0.8 * look.turn * side + (0.4 if not has["Male"] else 0)
    high = 2.1 if has["Narrow_Eyes"] else 4.3 + 0.5 * (not has["Male"]) - 0.5 * has["Smiling"]
    across = even(-1, 1, 13)
    lid = 1 - across**2
    corner = 0.8 * across * side  # the outer corner is a little higher
    upper = np.stack([x + wide * across, EYE_LEVEL - corner - high * lid], axis=1)
    lower = np.stack([x + wide * across, EYE_LEVEL - corner + 0.62 * high * lid], axis=1)
    if has["Heavy_Makeup"]:
        shadow = ((110, 70, 90), (70, 70, 96), (120, 84, 60))[int(look.chance * 3)]
        pen.shape(np.concatenate([upper - np.array([0, 4.2]), upper[::-1]]), (*shadow, 130))
    pen.shape(np.concatenate([upper, lower[::-1]]), (238, 235, 232))
    # the iris ends at the lids
    dark = sum(skin) < 480 or has["Black_Hair"]
    iris = _IRIS[int(look.chance * (2 if dark else 4))]
    gaze = x + 1.6 * look.turn
    for radius, colour in ((4.4, shaded(iris, 0.62)), (3.7, iris), (1.9, (16, 14, 16))):
        angle = even(0, 2 * np.pi, 20)
        rim_x, rim_y = gaze + radius * np.cos(angle), EYE_LEVEL - 0.6 + radius * np.sin(angle)
        room = (1 - ((rim_x - x) / wide) ** 2).clip(0)
        rim_y = rim_y.clip(EYE_LEVEL - high * room, EYE_LEVEL + 0.62 * high * room)
        pen.shape(np.stack([rim_x, rim_y], axis=1), colour)
    pen.oval(gaze - 1.2, EYE_LEVEL - 1.6, 0.9, 0.9, (255, 255, 255))
    lash = (24, 18, 18) if has["Heavy_Makeup"] else shaded(skin, 0.36)
    pen.line(upper, lash, 2.0 if has["Heavy_Makeup"] else (1.3 if not has["Male"] else 1.0))
    pen.line(lower, (*shaded(skin, 0.5), 150), 0.6)
    if has["Heavy_Makeup"] or (not has["Male"] and has["Wearing_Lipstick"]):
        outer = upper[-1] if side > 0 else upper[0]
        pen.line(np.array([outer, outer + np.array([3.4 * side, -2.4])]), lash, 1.4)
    pen.line(upper[2:-2] - np.array([0, 2.6]), (*shaded(skin, 0.6), 160), 0.8)
    if has["Bags_Under_Eyes"]:
        glow.oval(x, EYE_LEVEL + 9, 9, 3, (158, 148, 152))
        pen.line(arc(x, EYE_LEVEL + 7.5, 8, 3), (*shaded(skin, 0.66), 170), 1.0)
    # the brow, thick toward the nose
    thick = 4.6 if has["Bushy_Eyebrows"] else (2.7 if has["Male"] else 1.9)
    rise = 4.6 if has["Arched_Eyebrows"] else 1.6
    level = EYE_LEVEL - (12.5 if has["Male"] else 14) - 0.4 * thick
    along = even(0, 1, 7)  # from the nose outward
    bend = level + 2 - rise * np.sin(np.pi * (0.15 + 0.75 * along) ** 1.3) + 1.5 * along
    brow_x = x + side * (-9.5 + 21 * along)
    body = thick * (1 - 0.75 * along**1.6)
    brow = np.concatenate([np.stack([brow_x, bend], 1), np.stack([brow_x, bend + body], 1)[::-1]])
    colour = mixed(shaded(look.hair, 0.62), (60, 44, 36), 0.35)
    pen.shape(brow, (*colour, 235))


def draw_nose(look: Look, pen: Pen, glow: Pen) -> None:
    """Draw the nose and the light on it."""
    has, skin = look.has, look.skin
    x = MIDDLE + 5 * look.turn
    wide = 8.2 + 4.2 * has["Big_Nose"] - 1.8 * has["Pointy_Nose"] + 0.8 * has["Male"]
    tip = 137.0 + 2 * has["Big_Nose"]
    dark = shaded(skin, 0.62)
    side = 1 if look.turn >= 0 else -1
    bridge = np.array([(MIDDLE + 4.5 * side, 108), (x + 3.6 * side, 122), (x + wide * 0.72 * side, tip - 4)])
    pen.line(bridge, (*shaded(skin, 0.78), 150), 1.6)
    glow.oval(x, 122, 3, 14, (222, 218, 214))
    glow.oval(x, tip + 4, wide, 3.5, (166, 156, 154))
    glow.oval(x, tip - 4, wide * 0.5, 4, (226, 222, 220))
    for sign in (-1, 1):
        pen.oval(
            x + sign * wide * 0.48, tip + 0.6, 2.1 + 0.9 * has["Big_Nose"], 1.3, (*shaded(skin, 0.36), 230)
        )
        wing = np.array([(wide * 0.82, tip - 5.5), (wide * 1.04, tip - 1.5), (wide * 0.78, tip + 1.6)])
        pen.line(wing * (sign, 1) + (x, 0), (*dark, 210), 1.3)
    base = 3.4 if has["Pointy_Nose"] else 1.6
    pen.line(arc(x, tip + 1.2, wide * 0.34, base), (*dark, 220), 1.2)


def draw_mouth(look: Look, pen: Pen, glow: Pen) -> None:
    """Draw lips and teeth, and the folds of a smile."""
    has, rng, skin = look.has, look.rng, look.skin
    x, y = MIDDLE + 4 * look.turn, 153.0
    smile, apart = has["Smiling"], has["Mouth_Slightly_Open"]
    wide = (18.5 if smile else 13.5) + 1.0 * has["Male"] - 1.0 * abs(look.turn)
    lift = 5.0 if smile else 0.0  # of the corners
    gap = (7.5 if smile else 4.2) if apart else 0.0
    full = (4.4 if has["Big_Lips"] else 2.6) + 0.5 * (not has["Male"])
    lips: Colour
    if has["Wearing_Lipstick"]:
        lips = ((190, 30, 52), (206, 64, 100), (168, 42, 60), (214, 92, 92), (140, 24, 60))[rng.integers(5)]
    else:
        lips = mixed(shaded(skin, 0.8), (176, 82, 82), 0.42 if not has["Male"] else 0.25)
    t = even(-1, 1, 15)
    arch = 1 - t**2
    corner = y - lift * t**2
    inner_top = np.stack([x + wide * t, corner - 0.25 * gap * arch], axis=1)
    inner_low = np.stack([x + wide * t, corner + 0.85 * gap * arch], axis=1)
    bow = full * np.sqrt(arch) * (1 - 0.22 * np.exp(-((t / 0.13) ** 2)))
    outer_top = inner_top - np.stack([0 * t, 0.85 * bow], axis=1)
    outer_low = inner_low + np.stack([0 * t, 1.25 * full * arch**0.7], axis=1)
    glow.oval(x, y + gap + 2.2 * full + 3, 9, 2.5, (170, 160, 158))
    pen.shape(np.concatenate([outer_top, inner_top[::-1]]), shaded(lips, 0.88))
    pen.shape(np.concatenate([inner_low, outer_low[::-1]]), lips)
    if apart:
        pen.shape(np.concatenate([inner_top, inner_low[::-1]]), (58, 20, 22))
        room = 0.75 if smile else 0.45
        teeth = inner_top + (inner_low - inner_top) * np.array([1, room])
        pen.shape(np.concatenate([inner_top[1:-1], teeth[1:-1][::-1]]), (240, 238, 230))
    else:
        pen.line(inner_top, shaded(lips, 0.42), 1.1)
    pen.oval(x - wide * 0.2, y + gap + full * 0.55, wide * 0.22, full * 0.22, (*shaded(lips, 1.4), 120))
    if smile:
        for sign in (-1, 1):
            fold = np.array([(11.5, 138), (wide + 2.5, 144), (wide + 4.5, 152)])
            pen.line(fold * (sign, 1) + (x, 0), (*shaded(skin, 0.7), 150), 1.3)
            glow.oval(x + sign * (wide + 4), 140, 6, 5, (222, 214, 210))


def draw_age(look: Look, pen: Pen) -> None:
    """Draw the lines of those who are not young."""
    if look.has["Young"]:
        return
    crease = (*shaded(look.skin, 0.6), 165)
    for y, wide in ((80, 20), (86, 23), (92, 17)):
        pen.line(arc(MIDDLE + 2 * look.turn, y, wide, -2), crease, 1.1)
    for side in (-1, 1):
        outer = EYES[side > 0] + 11 * side
        for angle in (-2.5, 0.5, 3.5):
            pen.line(
                np.array([(outer, EYE_LEVEL + 0.4 * angle), (outer + 5 * side, EYE_LEVEL + angle * 1.3)]),
                crease,
                0.8,
            )
        fold = np.array([(11, 139), (17, 146), (20, 157)])
        pen.line(fold * (side, 1) + (MIDDLE + 3 * look.turn, 0), crease, 1.5)
