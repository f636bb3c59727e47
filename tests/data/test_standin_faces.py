import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmjsd.data.face_lists import read_attributes, read_partition
from mmjsd.data.standin_faces import ATTRIBUTES, _face, sample_attributes, write_faces
from mmjsd.errors import MmjsdError

#: The names in the order of the official list.
OFFICIAL = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup "
    "High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose "
    "Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat "
    "Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_faces(tmp_path / name, train=12, val=3, test=2, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert len(first) == 17 + 2
    shared = {name for name in first if other[name] == first[name]}
    assert shared == {"list_eval_partition.txt"}


def test_files_are_the_official_layout(tmp_path: Path) -> None:
    files = write_faces(tmp_path, train=5, val=2, test=1, seed=0)
    lines = files["list_attr_celeba.txt"].read_text().split("\n")
    assert lines[0] == "8"
    assert lines[1] == OFFICIAL + " "
    assert all(re.fullmatch(r"00000\d\.jpg( 1| -1|  1){40}", line) for line in lines[2:-1])
    assert files["list_eval_partition.txt"].read_text().startswith("000001.jpg 0\n000002.jpg 0\n")
    assert list(read_partition(files["list_eval_partition.txt"]).values()) == [0] * 5 + [1] * 2 + [2]
    names, attributes, _ = read_attributes(files["list_attr_celeba.txt"])
    assert attributes == list(ATTRIBUTES)
    assert names == sorted(path.name for path in files["img_align_celeba/"].iterdir())
    with Image.open(files["img_align_celeba/"] / "000001.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (178, 218), "RGB")


def test_a_smaller_set_replaces_a_larger(tmp_path: Path) -> None:
    write_faces(tmp_path, train=9, val=2, test=2, seed=0)
    (tmp_path / "img_align_celeba" / "mine.txt").touch()
    write_faces(tmp_path, train=4, val=1, test=1, seed=0)
    names = {path.name for path in (tmp_path / "img_align_celeba").iterdir()}
    assert names == {f"{number:06d}.jpg" for number in range(1, 7)} | {"mine.txt"}


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MmjsdError, match=r"img_align_celeba: cannot be written \(Not a directory\)"):
        write_faces(tmp_path / "file", train=1, val=1, test=1, seed=0)


# --- attributes ---


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


# --- pictures ---

#: left, top, right, bottom in the picture of 178x218 pixels
MOUTH, EYES, TOP, CHIN = (70, 144, 110, 164), (54, 100, 124, 124), (60, 46, 118, 66), (76, 162, 104, 174)


BACKGROUND = (0, 0, 16, 40)


def difference(name: str, box: tuple[int, int, int, int], **others: bool) -> float:
    """Mean change, 0..255, in a part of the picture when an attribute comes and the rest stays."""
    changes = []
    for seed in range(6):
        faces = []
        for present in (False, True):
            has = {"Male": seed % 2 == 0, "Young": True, "No_Beard": True} | others | {name: present}
            row = np.array([has.get(attribute, False) for attribute in ATTRIBUTES])
            face = _face(row, np.random.default_rng(seed)).crop(box)
            faces.append(np.asarray(face.resize((16, 16), Image.Resampling.BOX), float))
        changes.append(np.abs(faces[1] - faces[0]).mean())
    return float(np.mean(changes))


@pytest.mark.parametrize(
    ("name", "box", "others"),
    [
        ("Smiling", MOUTH, {}),
        ("Mouth_Slightly_Open", MOUTH, {}),
        ("Wearing_Lipstick", MOUTH, {"Male": False}),
        ("Big_Lips", MOUTH, {}),
        ("Eyeglasses", EYES, {}),
        ("Narrow_Eyes", EYES, {}),
        ("Heavy_Makeup", EYES, {"Male": False}),
        ("Bushy_Eyebrows", (54, 88, 124, 104), {}),
        ("Big_Nose", (74, 128, 104, 146), {}),
        ("Bald", TOP, {"Male": True}),
        ("Bangs", (60, 76, 118, 96), {}),
        ("Receding_Hairline", (50, 56, 80, 76), {}),
        ("Wearing_Hat", (50, 30, 128, 80), {}),
        ("Blond_Hair", TOP, {}),
        ("Black_Hair", TOP, {}),
        ("Gray_Hair", TOP, {}),
        ("Goatee", CHIN, {"Male": True, "No_Beard": False}),
        ("Mustache", (72, 140, 106, 152), {"Male": True, "No_Beard": False}),
        ("Sideburns", (44, 116, 58, 142), {"Male": True, "No_Beard": False}),
        ("Wearing_Necktie", (80, 180, 98, 216), {"Male": True}),
        ("Wearing_Earrings", (30, 130, 52, 150), {"Male": False}),
        ("Rosy_Cheeks", (54, 126, 72, 142), {}),
        ("Double_Chin", (60, 160, 118, 184), {}),
        ("Young", (72, 78, 104, 94), {}),
        ("Pale_Skin", (70, 80, 106, 96), {}),
    ],
)
def test_attributes_show_in_the_picture(
    name: str, box: tuple[int, int, int, int], others: dict[str, bool]
) -> None:
    assert difference(name, box, **others) > 4
    assert difference(name, BACKGROUND, **others) < 0.5


def test_every_attribute_can_be_drawn() -> None:
    for index, row in enumerate(np.eye(40, dtype=bool)):
        for extra in (row, ~row):
            content = BytesIO()
            _face(extra, np.random.default_rng(index)).save(content, "JPEG")
            assert 2000 < len(content.getvalue()) < 30000


def test_faces_all_differ(tmp_path: Path) -> None:
    write_faces(tmp_path, train=30, val=5, test=5, seed=0)
    assert len({path.read_bytes() for path in tmp_path.rglob("*.jpg")}) == 40
