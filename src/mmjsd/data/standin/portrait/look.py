"""What a face looks like as a whole: that which its parts have to agree on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.data.standin.portrait.pen import Colour, mixed, shaded

__all__ = ["Look", "look_of"]

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


class Look(NamedTuple):
    """What the parts of a face share. Lengths in pixels of the picture."""

    has: dict[str, bool]
    """Which attributes it has."""
    rng: np.random.Generator
    """Of all that the attributes leave open."""
    skin: Colour
    hair: Colour
    half: float
    """Half width of the face at the eyes."""
    turn: float
    """-1..1: to which side the head is turned."""
    chin: float
    """From above."""
    long_hair: bool
    chance: float
    """0..1, for what varies freely but has to agree between left and right."""


def look_of(attributes: NDArray[np.bool_], rng: np.random.Generator) -> Look:
    """Sample a look that has these attributes (40,)."""
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
            hair = mixed(hair, (150, 146, 142), 0.35)
    return Look(
        has=has,
        rng=rng,
        skin=shaded(skin, rng.uniform(0.94, 1.04)),
        hair=shaded(hair, rng.uniform(0.9, 1.1)),
        half=(43 if has["Male"] else 40) + 6 * has["Chubby"] - 2 * has["Oval_Face"] + rng.uniform(-1.5, 1.5),
        turn=float(np.clip(rng.normal(0, 0.45), -1, 1)),
        chin=170 + 2 * has["Oval_Face"] + 1.5 * has["Male"] + rng.uniform(-2, 2),
        long_hair=rng.random() < (0.04 if has["Male"] else 0.82),
        chance=rng.random(),
    )
