"""What a model is given, brought into the form of its store: one preparation for building and for use.

It depends on the kind and the shape of a modality alone. The same picture gives the same row, whether it
comes as a file, an opened image or an array.
"""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from mmjsd.data import text
from mmjsd.errors import MmjsdError

__all__ = ["FACE", "Frame", "Unfit", "prepare", "prepare_image"]

_LOG = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]
Shape = tuple[int, ...]


class Frame(NamedTuple):
    """How the images of a dataset become those of its store: the centre is cropped, then resized."""

    size: tuple[int, int]
    """Width and height of the original images in pixels."""
    crop: tuple[int, int]
    """Width and height of what is kept of them."""


#: The faces of CelebA, aligned and cropped.
FACE = Frame(size=(178, 218), crop=(148, 148))
_FRAMES: dict[Shape, Frame] = {(3, 64, 64): FACE}
#: What fills up texts of a length; blanks where it does not say.
_PADDING: dict[int, str] = {256: text.PADDING}

#: What turns the picture of each EXIF orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC_INTERPRETATION = 262  # tag of TIFF files
_NEARLY_GREY = 8  # levels between the colours of a pixel, as a JPEG of a grey picture may have


class Unfit(Exception):
    """Why something cannot be shown to a model as it is."""


def prepare(
    given: Mapping[str, Any], modalities: Mapping[str, tuple[str, Shape]]
) -> dict[str, NDArray[np.uint8 | np.float32]]:
    """Bring what a person has into the form of a store.

    What is cropped, resized or turned grey on the way is logged, a line for each kind of change.

    Args:
        given: modality -> what it is, one thing or a list of B of them. An image: its file, a PIL image, or
            an array (H, W), (H, W, C) or (C, H, W) of uint8 or of floats in 0..1; a text: its words; a
            vector: its values. One thing beside lists stands for B of it.
        modalities: name -> kind (`image`, `text` or `vector`) and shape of one item.

    Returns:
        modality -> rows (B, ...): images uint8 (B, C, H, W), token ids uint8 (B, L), vectors float32 (B, D).

    Raises:
        MmjsdError: no such modality, what cannot be shown faithfully, or lists of different lengths.
    """
    if not isinstance(given, Mapping) or not given:
        raise MmjsdError(f"given: nothing is; give one or more of {', '.join(modalities)}")
    batches, single = {}, set()
    for name, value in given.items():
        if name not in modalities:
            raise MmjsdError(f"{name}: the model has no such modality; it has {', '.join(modalities)}")
        kind, shape = modalities[name]
        items = _items(kind, value)
        if items is None:
            single.add(name)
        batches[name] = _rows(name, kind, shape, [value] if items is None else items)
    lengths = {name: len(rows) for name, rows in batches.items() if name not in single}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise MmjsdError(f"given: {counts}; give as many of each, or one")
    count = next(iter(lengths.values()), 1)
    return {name: rows.repeat(count, axis=0) if name in single else rows for name, rows in batches.items()}


def _items(kind: str, value: Any) -> Sequence[Any] | None:
    """The things in a batch; None if it is one thing."""
    if isinstance(value, (list, tuple)) and not (kind == "vector" and value and np.isscalar(value[0])):
        return value
    axes = {"image": 4, "text": 1, "vector": 2}[kind]
    if hasattr(value, "__array__") and not isinstance(value, Image.Image) and np.ndim(value) == axes:
        return list(value)
    return None


def _rows(name: str, kind: str, shape: Shape, items: Sequence[Any]) -> NDArray[Any]:
    if not len(items):
        raise MmjsdError(f"{name}: an empty list; give one {kind} at least")
    rows: list[NDArray[Any]] = []
    changed: dict[str, list[str]] = {}
    for number, item in enumerate(items, 1):
        label = f"number {number}" if len(items) > 1 else ""
        if kind == "image" and isinstance(item, (str, os.PathLike)):
            label = str(item)
        try:
            row, change = _PREPARED[kind](item, shape)
        except Unfit as error:
            raise MmjsdError(f"{name}: {label}{': ' if label else ''}{error}") from None
        rows.append(row)
        if change:
            changed.setdefault(change, []).append(label)
    for change, labels in changed.items():
        others = f" and {len(labels) - 1} others" if len(labels) > 1 else ""
        _LOG.warning("%s: %s%s%s%s", name, labels[0], others, ": " if labels[0] else "", change)
    return np.stack(rows)


# --- Images -----------------------------------------------------------------------------------------------


def _image(item: Any, shape: Shape) -> tuple[Bytes, str]:
    if isinstance(item, (str, os.PathLike)):
        try:
            # of odd headers and large photos Pillow warns; what is wrong with the pixels raises
            with warnings.catch_warnings(action="ignore"), Image.open(os.path.expanduser(item)) as image:
                return prepare_image(image, shape)
        except FileNotFoundError:
            raise Unfit("no such image file; check the path") from None
        except UnidentifiedImageError:
            raise Unfit("is no image of a known format; save it as PNG or JPEG") from None
        except (Unfit, MemoryError):
            raise
        except Exception as error:  # Pillow raises whatever the damaged bytes lead it to
            reason = getattr(error, "strerror", None)
            raise Unfit(
                f"cannot be read ({reason}); check the path and its permissions"
                if reason
                else "is cut short, damaged or far too large; save it anew"
            ) from None
    if not isinstance(item, Image.Image):
        item = _from_array(item, shape[0])
    return prepare_image(item, shape)


def prepare_image(image: Image.Image, shape: Shape) -> tuple[Bytes, str]:
    """A picture as the store of a modality of this shape (C, H, W) has it, and what of it was changed.

    It is turned as its EXIF orientation says. Then its centre is cropped: of a face as in the build, 148x148
    of 178x218 pixels or of another size the square that corresponds; of others the largest part that has the
    proportions of the shape. That is resized bicubically, with antialiasing. A picture of the size of the
    shape is taken as it is. 16 bits become 8, palettes become colours, grey becomes colour and colour
    brightness (ITU-R 601), as the modality has it; colour profiles are ignored.

    Raises:
        Unfit: transparent in parts, several frames, or values that say nothing of how they are seen.
    """
    channels, height, width = shape
    image.load()  # raises what is wrong with the pixels, before headers are looked at
    turn = _TURNS.get(_orientation(image))
    image = _grey_or_rgb(image)
    image = image if turn is None else image.transpose(turn)
    changes = []
    if channels == 1 and image.mode == "RGB":
        pixels = np.asarray(image)
        if (pixels.max(2) - pixels.min(2)).max() > _NEARLY_GREY:
            changes.append("its colours become brightness")
        image = image.convert("L")
    elif channels == 3 and image.mode == "L":
        image = image.convert("RGB")
    elif channels not in (1, 3):
        raise Unfit(f"images of {channels} channels cannot be prepared; give `encode` tensors")
    if image.size != (width, height):
        frame = _FRAMES.get(shape, Frame((width, height), (width, height)))
        scale = min(there / side for there, side in zip(image.size, frame.size, strict=True))
        across, down = (max(1, round(scale * side)) for side in frame.crop)
        left, top = (image.width - across) // 2, (image.height - down) // 2
        if image.size != frame.size:
            part = "" if (across, down) == image.size else f", its central {across}x{down}"
            changes.append(f"{image.width}x{image.height} pixels{part} resized to {width}x{height}")
        image = image.crop((left, top, left + across, top + down))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1), ", ".join(changes)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged header says nothing
        return 1


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """The picture in the mode L or RGB.

    Raises:
        Unfit: there is no faithful way.
    """
    # the further pictures of an MPO, a photo of a telephone, are previews and depths of the first
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise Unfit(f"has {frames} frames; save the one that is meant as a picture of its own")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_16_bits(image)
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        _refuse_transparent(np.asarray(opaque.getchannel("A")) < 255)
        image = image if image.mode in ("1", "L", "LA") else opaque
    match image.mode:
        case "L" | "RGB":
            return image
        case "1" | "LA":
            return image.convert("L")
        case "P" | "RGBA" | "RGBX" | "YCbCr" | "HSV":
            return image.convert("RGB")
        case "CMYK":
            raise Unfit("has the colours of print (CMYK), which differ with the printer; save it as RGB")
        case mode:
            raise Unfit(f"has pixels of the mode {mode}, whose white is unknown; save it with 8 bits")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_INTERPRETATION) == 0:
        values = 65535 - values  # of TIFF files in which white is 0 Pillow inverts those with 8 bits alone
    if "transparency" in image.info:
        _refuse_transparent(values == image.info["transparency"])
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _refuse_transparent(where: NDArray[np.bool_]) -> None:
    if where.any():
        raise Unfit(f"is transparent in {where.mean():.1%} of its pixels; put it on a background")


def _from_array(item: Any, channels: int) -> Image.Image:
    try:
        array = np.asarray(item)
    except Exception:  # tensors of another device, ragged lists
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise Unfit(f"a {type(item).__name__} is no file, PIL image or array of numbers (of the processor's)")
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, channels):
        array = np.moveaxis(array, 0, -1)
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4))):
        raise Unfit(
            f"an array {array.shape} is no image (H, W), (H, W, 3), (H, W, 4) or ({channels}, H, W); "
            "several are a list or have four axes"
        )
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise Unfit(f"has values {array.min():.4g}..{array.max():.4g}; floats must be in 0..1")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype == bool:
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        raise Unfit(f"has values of the type {array.dtype}; give uint8 in 0..255 or floats in 0..1")
    return Image.fromarray(np.ascontiguousarray(array.squeeze(-1) if array.shape[2:] == (1,) else array))


# --- Texts and vectors ------------------------------------------------------------------------------------


def _text(item: Any, shape: Shape) -> tuple[Bytes, str]:
    """Token ids (L,) of words as the build writes them: from the first character on, filled up behind."""
    if not isinstance(item, str) or not item:
        raise Unfit(f"{item!r} is no text of at least a character")
    padding = _PADDING.get(shape[0], " ")
    words = text.spelled(item) if padding == text.PADDING else item.lower()
    try:
        return text.encode([words], shape[0], pad=padding)[0], ""
    except MmjsdError as error:
        raise Unfit(str(error)) from None


def _vector(item: Any, shape: Shape) -> tuple[NDArray[np.float32], str]:
    try:
        values = np.asarray(item, np.float32)
    except (TypeError, ValueError):
        values = np.full(shape, np.nan, np.float32)
    if values.shape != shape or not np.isfinite(values).all():
        raise Unfit(f"must be {shape[0]} finite numbers")
    return values, ""


_PREPARED: dict[str, Any] = {"image": _image, "text": _text, "vector": _vector}
