from pathlib import Path

import numpy as np
from PIL import Image

from mmjsd.data.official.celeba_images import read_face
from mmjsd.data.standin.faces import write_faces
from support.faces import jpeg


def test_the_centre_is_cropped_and_resized() -> None:
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[35:183, 15:163] = (200, 100, 50)
    face = read_face(jpeg(Image.fromarray(pixels)))
    assert (face.shape, face.dtype) == ((3, 64, 64), np.uint8)
    assert np.abs(face - np.array([200, 100, 50])[:, None, None]).max() < 30
    # nothing of the black around it, and nothing beyond the crop
    assert face[0, 0].min() > 150
    pixels[35:109, 15:89] = 0
    face = read_face(jpeg(Image.fromarray(pixels)))
    assert face[:, :30, :30].max() < 20
    assert face[0, 34:].min() > 150
    assert face[0, :, 34:].min() > 150


def test_crop_and_resize_are_those_of_pillow(tmp_path: Path) -> None:
    path = write_faces(tmp_path, train=1, val=0, test=0, seed=0)["img_align_celeba/"] / "000001.jpg"
    with Image.open(path) as image:
        expected = image.crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(read_face(path.read_bytes()), np.asarray(expected).transpose(2, 0, 1))


def test_grey_images_become_coloured_ones() -> None:
    face = read_face(jpeg(Image.new("L", (178, 218), 90)))
    assert face.shape == (3, 64, 64)
    assert np.abs(face.astype(int) - 90).max() < 3
