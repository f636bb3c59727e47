import numpy as np
import pytest

from mmjsd.data.standin.attributes import ATTRIBUTES, sample_attributes


@pytest.fixture(scope="module")
def sampled() -> dict[str, np.ndarray]:
    return dict(zip(ATTRIBUTES, sample_attributes(20000, np.random.default_rng(0)).T, strict=True))


def test_frequencies_are_those_of_celeba(sampled: dict[str, np.ndarray]) -> None:
    # percent of the 202,599 images of CelebA
    official = (
        "11 27 51 20 2 15 24 23 24 15 5 21 14 6 5 7 6 4 39 46 42 48 4 12 83 28 4 28 8 7 6 48 21 32 19 5 "
        "47 12 7 77"
    )
    for name, percent in zip(ATTRIBUTES, official.split(), strict=True):
        assert 100 * sampled[name].mean() == pytest.approx(int(percent), abs=4), name


def test_attributes_go_together_as_in_celeba(sampled: dict[str, np.ndarray]) -> None:
    # coefficients of correlation in CelebA
    for one, other, expected in (
        ("Heavy_Makeup", "Wearing_Lipstick", 0.80),
        ("Male", "Wearing_Lipstick", -0.79),
        ("Smiling", "High_Cheekbones", 0.68),
        ("Smiling", "Mouth_Slightly_Open", 0.53),
        ("Chubby", "Double_Chin", 0.53),
        ("Goatee", "Sideburns", 0.51),
        ("Gray_Hair", "Young", -0.38),
        ("Male", "No_Beard", -0.52),
        ("Male", "Blond_Hair", -0.31),
    ):
        found = np.corrcoef(sampled[one], sampled[other])[0, 1]
        assert found == pytest.approx(expected, abs=0.15), (one, other)


def test_what_excludes_each_other_never_meets(sampled: dict[str, np.ndarray]) -> None:
    hair = ("Bald", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
    assert sum(sampled[name].astype(int) for name in hair).max() == 1
    for one, *others in (
        ("Bald", "Bangs", "Straight_Hair", "Wavy_Hair", "Receding_Hairline", "Wearing_Hat"),
        ("No_Beard", "Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow"),
        ("Straight_Hair", "Wavy_Hair"),
        ("Bangs", "Receding_Hairline"),
    ):
        for other in others:
            assert not (sampled[one] & sampled[other]).any(), (one, other)
    beards = ("Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow", "Bald")
    assert not any((sampled[name] & ~sampled["Male"]).any() for name in beards)
