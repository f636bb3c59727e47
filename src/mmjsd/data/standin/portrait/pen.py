"""The pen, the curves it draws, and where a face lies in its picture.

Faces lie where CelebA's alignment puts them: the eyes at (69, 111) and (108, 111) of 178x218 pixels.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = [
    "EYES",
    "EYE_LEVEL",
    "HEIGHT",
    "MIDDLE",
    "SCALE",
    "WIDTH",
    "Colour",
    "Floats",
    "Pen",
    "arc",
    "even",
    "mixed",
    "shaded",
    "smooth",
]

Floats = NDArray[np.floating]
Colour = tuple[int, ...]


WIDTH, HEIGHT = 178, 218
SCALE = 2
"""Of the canvas, to smooth edges."""
EYES = (69.0, 108.0)
"""From the left, of the left and the right one in the picture."""
EYE_LEVEL = 111.0
MIDDLE = 88.5
"""Of the face, from the left."""


class Pen:
    """Draws on a canvas of another scale what is measured in pixels of the picture.

    Colours have three values, or four with the opacity; a mask has one.
    """

    def __init__(self, canvas: Image.Image, scale: float):
        self.draw = ImageDraw.Draw(canvas, "RGBA" if canvas.mode == "RGB" else None)
        self.scale = scale

    def shape(self, points: Floats, colour: Colour | int) -> None:
        """Fill the polygon of ``points`` (N, 2)."""
        self.draw.polygon((points * self.scale).ravel().tolist(), fill=colour)

    def blob(self, points: Sequence[tuple[float, float]], colour: Colour | int) -> None:
        """Fill the shape whose smooth edge goes through ``points``."""
        self.shape(smooth(points), colour)

    def oval(self, x: float, y: float, wide: float, high: float, colour: Colour | int) -> None:
        """Fill the ellipse around (x, y) with these half axes."""
        box = np.array([x - wide, y - high, x + wide, y + high]) * self.scale
        self.draw.ellipse(box.tolist(), fill=colour)

    def ring(self, x: float, y: float, wide: float, high: float, colour: Colour, width: float) -> None:
        """Draw the edge of such an ellipse."""
        box = np.array([x - wide, y - high, x + wide, y + high]) * self.scale
        self.draw.ellipse(box.tolist(), outline=colour, width=max(1, round(width * self.scale)))

    def line(self, points: Floats, colour: Colour, width: float) -> None:
        """Draw the line through ``points`` (N, 2)."""
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


def smooth(points: Sequence[tuple[float, float]]) -> Floats:
    """Interpolate the closed curve (6 * N, 2) through N points."""
    return _spline(len(points)) @ np.array(points)


def arc(x: float, y: float, wide: float, bend: float, count: int = 9) -> Floats:
    """Bend a line (count, 2) of half width ``wide``, so that its middle is ``bend`` below its ends."""
    t = even(-1, 1, count)
    return np.stack([x + wide * t, y + bend * (1 - t**2)], axis=1)


#: Evenly spaced numbers, which the pen needs again for each face; not to be written to.
even = cache(np.linspace)


def shaded(colour: Colour, factor: float) -> Colour:
    """Darken a colour, or lighten it."""
    return tuple(min(255, round(value * factor)) for value in colour)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """Mix ``share`` of the other colour into one."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
