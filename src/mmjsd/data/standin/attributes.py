"""The attributes of CelebA: sampled about as often, and as often together, as there."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["ATTRIBUTES", "sample_attributes"]

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
    """Sample attributes (``count``, 40) with frequencies and dependencies much like CelebA's."""
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
