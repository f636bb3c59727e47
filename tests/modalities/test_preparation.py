"""What people give a model, and what it is shown."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mmjsd.data.kinds import celeba
from mmjsd.data.official.celeba_images import read_face
from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.modalities.preparation import prepare
from mmjsd.modalities.text import decode

DIGIT, HOUSE, FACE = (1, 28, 28), (3, 32, 32), (3, 64, 64)
MODALITIES = [
    Modality("mnist", "image", DIGIT, 784),
    Modality("svhn", "image", HOUSE, 3072),
    Modality("face", "image", FACE, 12288),
    Modality("word", "text", (8,), 8),
    Modality("attributes", "text", (256,), 256),
    Modality("numbers", "vector", (3,), 3),
]
FORMS = {"face": "face", "attributes": "attributes"}
RNG = np.random.default_rng(0)
GREY = RNG.integers(256, size=(28, 28), dtype=np.uint8)
COLOUR = RNG.integers(256, size=(32, 32, 3), dtype=np.uint8)


def one(name: str, value: Any) -> np.ndarray:
    """The only row of what one modality is given."""
    (row,) = prepare({name: value}, MODALITIES, FORMS)[name]
    return row


def refused(name: str, value: Any) -> str:
    with pytest.raises(MmjsdError) as caught:
        prepare({name: value}, MODALITIES, FORMS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")
    return str(caught.value)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    """The image as it comes back from a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return Image.open(content)


# --- the same as in the build ---


def test_what_has_the_shapes_of_celeba_is_not_of_celeba() -> None:
    """Pictures of 3x64x64 are not cut like faces, nor are texts of 256 filled up like attributes."""
    wide = np.zeros((178, 178, 3), np.uint8)
    wide[:, :8] = 255  # at the border, which faces are cut by
    given = {"face": wide, "attributes": "grade_2"}
    (picture,), (words,) = (prepare(given, MODALITIES)[name] for name in given)
    (face,), (attributes,) = (prepare(given, MODALITIES, FORMS)[name] for name in given)
    assert (picture[:, :, 0] > 200).all()
    assert (face == 0).all()
    assert decode(words[None])[0].rstrip() == "grade_2"
    assert decode(attributes[None])[0].rstrip("*") == "grade 2"


def test_faces_are_prepared_as_in_the_build(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {"standin_train": 10, "standin_val": 3, "standin_test": 3}
    celeba.build(tmp_path / "x.h5", source="standin", source_folder=tmp_path, seed=0, **counts)
    store = read_store(tmp_path / "x.h5").splits["train"]
    files = [tmp_path / "img_align_celeba" / f"{number:06d}.jpg" for number in range(1, 11)]
    np.testing.assert_array_equal(
        prepare({"face": files}, MODALITIES, FORMS)["face"], store.modalities["image"].data
    )
    words = [text.strip("*") for text in decode(store.modalities["text"].data)]
    assert [
        text.rstrip("*") for text in decode(prepare({"attributes": words}, MODALITIES, FORMS)["attributes"])
    ] == words
    assert told(caplog) == []


def test_one_picture_is_the_same_in_every_form(tmp_path: Path) -> None:
    for name, pixels in (("mnist", GREY), ("svhn", COLOUR)):
        expected = np.atleast_3d(pixels).transpose(2, 0, 1)
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        chw = np.ascontiguousarray(expected)
        for value in (
            path,
            str(path),
            Image.fromarray(pixels),
            pixels,
            np.atleast_3d(pixels),
            chw,
            torch.tensor(chw),
            chw.astype(np.float32) / 255,
            torch.tensor(chw) / 255,
        ):
            np.testing.assert_array_equal(one(name, value), expected)


def test_a_batch_is_a_list_or_has_an_axis_more(tmp_path: Path) -> None:
    several = RNG.integers(256, size=(5, 3, 32, 32), dtype=np.uint8)
    for value in (
        several,
        list(several),
        tuple(several),
        several.transpose(0, 2, 3, 1),
        torch.tensor(several),
    ):
        np.testing.assert_array_equal(prepare({"svhn": value}, MODALITIES)["svhn"], several)
    words = prepare({"word": ["one", "two"]}, MODALITIES)["word"]
    assert decode(words) == ["one     ", "two     "]
    np.testing.assert_array_equal(prepare({"word": np.array(["one", "two"])}, MODALITIES)["word"], words)
    assert prepare({"numbers": [[1, 2, 3], [4, 5, 6]]}, MODALITIES)["numbers"].shape == (2, 3)
    assert prepare({"numbers": [1, 2, 3]}, MODALITIES)["numbers"].tolist() == [[1, 2, 3]]


def test_one_thing_beside_lists_stands_for_as_many() -> None:
    rows = prepare({"svhn": [COLOUR, COLOUR, 255 - COLOUR], "word": "six", "mnist": GREY}, MODALITIES)
    assert {name: len(values) for name, values in rows.items()} == {"svhn": 3, "word": 3, "mnist": 3}
    assert decode(rows["word"]) == ["six     "] * 3
    with pytest.raises(MmjsdError, match=r"^given: 3 of svhn, 2 of word; give as many of each, or one$"):
        prepare({"svhn": [COLOUR] * 3, "word": ["six", "two"]}, MODALITIES)


# --- sizes ---


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((356, 436), (30, 70, 326, 366)),  # twice as large
        ((178, 300), (15, 76, 163, 224)),  # too high: its width decides
        ((1000, 1000), (160, 160, 839, 839)),  # a square: its height decides
    ],
)
def test_faces_of_another_size_are_cropped_where_it_corresponds(
    size: tuple[int, int], box: tuple[int, int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = RNG.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).crop(box).resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(one("face", pixels), np.asarray(expected).transpose(2, 0, 1))
    side = box[2] - box[0]
    assert told(caplog) == [f"face: {size[0]}x{size[1]} pixels, its central {side}x{side} resized to 64x64"]


def test_a_face_of_the_size_of_the_store_is_taken_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    pixels = RNG.integers(256, size=(64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one("face", pixels), pixels.transpose(2, 0, 1))
    assert told(caplog) == []


def test_digits_of_another_size_are_cropped_to_a_square_and_smoothed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stripes = np.zeros((280, 400), np.uint8)
    stripes[:, ::2] = 200  # finer than a pixel of the result: its mean, without antialiasing 0 or 200
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    digit = one("mnist", tmp_path / "wide.png")
    assert np.abs(digit.astype(int) - 100).max() < 10
    assert told(caplog) == [
        f"mnist: {tmp_path / 'wide.png'}: 400x280 pixels, its central 280x280 resized to 28x28"
    ]
    one("mnist", np.zeros((56, 56), np.uint8))
    assert told(caplog) == ["mnist: 56x56 pixels resized to 28x28"]
    assert one("mnist", np.full((1, 900), 255, np.uint8)).min() == 255


def test_what_is_changed_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths[:3]:
        Image.fromarray(COLOUR).resize((99, 99)).save(path)
    Image.fromarray(COLOUR).save(paths[3])
    prepare({"svhn": paths}, MODALITIES)
    assert told(caplog) == [f"svhn: {paths[0]} and 2 others: 99x99 pixels resized to 32x32"]


def test_what_is_changed_is_one_line_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any configuration of logging, which pytest has."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        one("svhn", np.zeros((64, 64, 3), np.uint8))
    finally:
        root.handlers = handlers
    assert capsys.readouterr().err == "svhn: 64x64 pixels resized to 32x32\n"


# --- pixels ---


def with_alpha(alpha: int) -> Image.Image:
    image = Image.fromarray(COLOUR)
    image.putalpha(255)
    image.putpixel((3, 4), (*image.getpixel((3, 4))[:3], alpha))
    return image


def test_16_bits_become_8() -> None:
    deep = GREY.astype(np.uint16) * 257
    for image in (
        Image.fromarray(deep),
        saved(Image.fromarray(deep)),
        saved(Image.fromarray(deep), "TIFF"),
        saved(Image.fromarray(deep), "PPM"),
        saved(Image.fromarray(65535 - deep), "TIFF", tiffinfo={262: 0}),  # white is 0
    ):
        np.testing.assert_array_equal(one("mnist", image)[0], GREY)
    assert one("mnist", Image.fromarray(np.full((28, 28), 32768, np.uint16)))[0, 0, 0] == 128


def test_colours_that_are_all_there_are_kept() -> None:
    expected = COLOUR.transpose(2, 0, 1)
    np.testing.assert_array_equal(one("svhn", with_alpha(255)), expected)
    np.testing.assert_array_equal(one("svhn", saved(with_alpha(255))), expected)
    few = Image.fromarray(COLOUR // 64 * 64).quantize(256)
    np.testing.assert_array_equal(one("svhn", saved(few)), (COLOUR // 64 * 64).transpose(2, 0, 1))
    opaque = few.copy()
    opaque.info["transparency"] = bytes([255] * 256)
    np.testing.assert_array_equal(one("svhn", opaque), (COLOUR // 64 * 64).transpose(2, 0, 1))
    grey = Image.fromarray(GREY)
    both = Image.merge("LA", (grey, Image.new("L", grey.size, 255)))
    np.testing.assert_array_equal(one("mnist", both)[0], GREY)
    np.testing.assert_array_equal(one("mnist", Image.fromarray(GREY > 99))[0], np.where(GREY > 99, 255, 0))
    assert one("svhn", Image.new("YCbCr", (32, 32), (90, 128, 128)))[:, 0, 0].tolist() == [90, 90, 90]


def tinted(*values: int) -> np.ndarray:
    return np.full((28, 28, 3), values, np.uint8)


def test_colours_of_a_grey_modality_become_brightness_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert one("mnist", tinted(200, 100, 50))[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert told(caplog) == ["mnist: its colours become brightness"]
    np.testing.assert_array_equal(one("mnist", np.stack([GREY] * 3, 2))[0], GREY)
    assert told(caplog) == []


def test_grey_becomes_colour() -> None:
    row = one("svhn", COLOUR[..., 0])
    np.testing.assert_array_equal(row, np.stack([COLOUR[..., 0]] * 3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_photo_is_followed(orientation: int) -> None:
    photo = Image.fromarray(RNG.integers(256, size=(40, 56, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = saved(photo, exif=exif)
    seen = ImageOps.exif_transpose(turned)
    np.testing.assert_array_equal(one("svhn", turned), one("svhn", seen))
    if orientation > 1:
        assert (one("svhn", turned) != one("svhn", photo)).any()


def test_a_face_on_its_side_is_turned_in_the_build_too() -> None:
    upright = Image.fromarray(RNG.integers(256, size=(218, 178, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    content, plain = io.BytesIO(), io.BytesIO()
    lossless: dict[str, Any] = {"quality": 100, "subsampling": 0}
    upright.transpose(Image.Transpose.ROTATE_90).save(content, "JPEG", exif=exif, **lossless)
    upright.save(plain, "JPEG", **lossless)
    face, expected = (read_face(file.getvalue()).astype(int) for file in (content, plain))
    assert np.abs(face - expected).max() < 12  # JPEG sees other blocks


@pytest.mark.filterwarnings("error")
def test_a_damaged_header_says_nothing_of_the_orientation(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(COLOUR).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert one("svhn", path).shape == HOUSE


def animated(kind: str) -> Image.Image:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_alpha(254), "is transparent in 0.1% of its pixels; put it on a background"),
        (lambda: saved(with_alpha(0)), "is transparent in 0.1%"),
        (
            lambda: saved(Image.fromarray(COLOUR), transparency=tuple(map(int, COLOUR[0, 0]))),
            "is transparent in 0.1%",
        ),
        (
            lambda: saved(Image.fromarray(COLOUR).quantize(9), transparency=0),
            "is transparent in ",
        ),
        (lambda: saved(Image.fromarray(GREY), transparency=int(GREY[0, 0])), "is transparent in "),
        (
            lambda: saved(Image.fromarray(GREY.astype(np.uint16)), transparency=int(GREY[0, 0])),
            "is transparent in ",
        ),
        (lambda: animated("GIF"), "has 2 frames; save the one that is meant"),
        (lambda: animated("PNG"), "has 2 frames"),
        (lambda: animated("WEBP"), "has 2 frames"),
        (lambda: animated("TIFF"), "has 2 frames"),
        (lambda: saved(Image.new("CMYK", (32, 32)), "JPEG"), "colours of print (CMYK)"),
        (lambda: Image.new("LAB", (32, 32)), "pixels of the mode LAB, whose white is unknown"),
        (lambda: saved(Image.new("F", (32, 32)), "TIFF"), "pixels of the mode F, whose white"),
        (lambda: saved(Image.new("I", (32, 32)), "TIFF"), "pixels of the mode I, whose white"),
        (lambda: np.full((32, 32, 3), 1.2), "has values 1.2..1.2; floats must be in 0..1"),
        (lambda: np.full((32, 32, 3), np.nan), "has values nan..nan"),
        (lambda: COLOUR.astype(np.int64), "has values of the type int64; give uint8"),
        (lambda: np.zeros((32, 32, 2), np.uint8), "an array (32, 32, 2) is no image (H, W)"),
        (lambda: np.zeros((0, 32), np.uint8), "an array (0, 32) is no image"),
        (lambda: np.zeros((1, 1, 1, 32, 32), np.uint8), "an array (1, 1, 1, 32, 32) is no image"),
        (lambda: torch.zeros(3, 32, 32, device="meta"), "a Tensor is no file, PIL image or array"),
        (lambda: 7, "an array () is no image"),
        (lambda: None, "a NoneType is no file, PIL image or array"),
        (lambda: b"\x89PNG", "a bytes is no file, PIL image or array"),
        (lambda: [], "an empty list; give one image at least"),
    ],
)
def test_what_cannot_be_shown_faithfully_is_refused(make: Callable[[], Any], message: str) -> None:
    assert message in refused("svhn", make())


def test_an_array_that_may_be_one_colour_image_or_three_grey_ones_is_refused() -> None:
    assert "an array (3, 28, 28) is no image" in refused("mnist", np.zeros((3, 28, 28), np.uint8))
    assert "several are a list" in refused("mnist", np.zeros((60, 28, 28), np.uint8))


def test_which_of_a_batch_is_refused_is_told(tmp_path: Path) -> None:
    assert refused("svhn", [COLOUR, COLOUR.astype(float)]).startswith("svhn: number 2: has values ")
    assert refused("word", ["one", "höhe"]).startswith("word: number 2: 'höhe' has 'ö'")
    path = tmp_path / "x.png"
    with_alpha(3).save(path)
    assert refused("svhn", [COLOUR, path]) == (
        f"svhn: {path}: is transparent in 0.1% of its pixels; put it on a background"
    )


def test_a_photo_with_a_preview_is_the_photo() -> None:
    """MPO, the JPEG of many telephones: what follows the first picture belongs to it."""
    photo, preview = Image.new("RGB", (32, 32), "white"), Image.new("RGB", (32, 32))
    both = saved(photo, "MPO", save_all=True, append_images=[preview])
    assert (both.format, both.n_frames) == ("MPO", 2)
    assert one("svhn", both).min() == 255


# --- files ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such image file; check the path"),
        (b"", "is no image of a known format; save it as PNG or JPEG"),
        (b"<html></html>", "is no image of a known format"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    assert refused("svhn", str(path)) == f"svhn: {path}: {message}" + (
        "" if ";" in message else "; save it as PNG or JPEG"
    )


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(COLOUR).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    assert "is cut short, damaged or far too large" in refused("svhn", path)
    path.write_bytes(whole[:100] + bytes(500) + whole[600:])
    assert "is cut short, damaged or far too large" in refused("svhn", path)
    assert f"svhn: {tmp_path}: cannot be read (Is a directory)" in refused("svhn", tmp_path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", denied)
    assert "cannot be read (Permission denied); check the path and its permissions" in refused("svhn", path)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves it as it is in `--given svhn=~/x.png`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    assert one("svhn", "~/x.png").shape == HOUSE


# --- texts, vectors, names ---


def test_texts_are_written_and_filled_up_as_in_the_build() -> None:
    assert decode(one("word", "Seven")[None]) == ["seven   "]
    assert decode(one("word", " six")[None]) == [" six    "]
    assert decode(one("attributes", "Smiling, Wearing_Hat")[None]) == ["smiling, wearing hat" + "*" * 236]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("word", "seventeen", "'seventeen' has 9 characters; shorten it to 8"),
        ("word", "Üé", "has 'é', 'ü', which the alphabet has not; replace it"),
        ("word", "a\tb", r"has '\t'"),
        ("attributes", "a" * 257, "has 257 characters; shorten it to 256"),
        ("word", "", "'' is no text of at least a character"),
        ("word", 7, "7 is no text"),
        ("word", b"six", "b'six' is no text"),
        ("numbers", [1, 2], "must be 3 finite numbers"),
        ("numbers", [1, 2, np.inf], "must be 3 finite numbers"),
        ("numbers", "123", "must be 3 finite numbers"),
        ("numbers", [[1, 2, 3], [1, 2]], "number 2: must be 3 finite numbers"),
        ("sound", "x", "the model has no such modality; it has mnist, svhn, face, word, attributes, numbers"),
    ],
)
def test_other_refusals(name: str, value: Any, message: str) -> None:
    assert message in refused(name, value)


@pytest.mark.parametrize("given", [{}, None, "face.jpg"])
def test_something_must_be_given(given: Any) -> None:
    with pytest.raises(MmjsdError, match=r"^given: nothing is; give one or more of mnist, svhn, "):
        prepare(given, MODALITIES)
