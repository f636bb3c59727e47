from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.data.standin.portrait.face import draw_face

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
            face = draw_face(row, np.random.default_rng(seed)).crop(box)
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
            draw_face(extra, np.random.default_rng(index)).save(content, "JPEG")
            assert 2000 < len(content.getvalue()) < 30000
