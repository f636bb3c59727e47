"""Images: uint8 (C, H, W) in the store, 0..1 as inputs, a Laplace, normal or Bernoulli likelihood."""

import math
import os
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from mmjsd.modalities.likelihoods import LOG_DENSITIES, mean_of
from mmjsd.modalities.preparation import Unfit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

__all__ = [
    "ALPHABET",
    "AXES",
    "DTYPE",
    "FACE",
    "FROM_FILES",
    "LIKELIHOODS",
    "RANGE",
    "SCORE_IS_ERROR",
    "Frame",
    "as_input",
    "classifier_body",
    "decoder",
    "draw",
    "encoder",
    "likelihood_mean",
    "log_likelihood",
    "prepare",
    "prepare_image",
    "score",
    "vary",
]

ALPHABET = None
DTYPE = np.uint8
AXES = 4
RANGE = (0.0, 1.0)
FROM_FILES = True
LIKELIHOODS = {"laplace": 0.75, "normal": 1.0, "bernoulli": None}
SCORE_IS_ERROR = True

FIRST, MOST = 32, 256
"""Channels of the first convolution of the default networks, doubled by each further one, up to MOST."""

KEPT = 16
"""Sides up to which classifiers have convolutions that keep the size; of larger ones these take long."""

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
_FRAMES = {"face": FACE}
"""By the form that a kind of dataset says its images have."""

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


# --- In the store -----------------------------------------------------------------------------------------


def prepare(item: Any, shape: Shape, form: str = "") -> tuple[Bytes, str]:
    """A file, its path or `BytesIO`, a PIL image or an array as the store has it, and what was changed.

    Of the form `face` it is cut as the faces of CelebA are.

    Raises:
        Unfit: it cannot be shown to a model as it is.
    """
    if isinstance(item, (str, os.PathLike, BytesIO)):
        file = item if isinstance(item, BytesIO) else os.path.expanduser(item)
        try:
            # of odd headers and large photos Pillow warns; what is wrong with the pixels raises
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                return prepare_image(image, shape, _FRAMES.get(form))
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
    return prepare_image(item, shape, _FRAMES.get(form))


def prepare_image(image: Image.Image, shape: Shape, frame: Frame | None = None) -> tuple[Bytes, str]:
    """A picture as the store of a modality of this shape (C, H, W) has it, and what of it was changed.

    It is turned as its EXIF orientation says. Then its centre is cropped: to that of the frame, of a face
    148x148 of 178x218 pixels or of another size the square that corresponds; without a frame the largest part
    that has the proportions of the shape. That is resized bicubically, with antialiasing. A picture of the
    size of the shape is taken as it is. 16 bits become 8, palettes become colours, grey becomes colour and
    colour brightness (ITU-R 601), as the modality has it; colour profiles are ignored.

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
        frame = frame or Frame((width, height), (width, height))
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


# --- In the model -----------------------------------------------------------------------------------------


def as_input(rows: "Tensor") -> "Tensor":
    """Pixels (B, C, H, W) from 0..255 to 0..1."""
    import torch

    from mmjsd.devices import image_layout

    return rows.to(torch.float32, memory_format=image_layout(rows.device)).div_(255)


def log_likelihood(
    output: "Tensor", x: "Tensor", likelihood: str, scale: "float | Tensor | None"
) -> "Tensor":
    """log p(x | decoder output) in nats: the mean, of a Bernoulli logits, (B, C, H, W) -> (B,)."""
    return LOG_DENSITIES[likelihood](output, x, scale)


def likelihood_mean(output: "Tensor", likelihood: str) -> "Tensor":
    """The decoder's output (B, C, H, W), of a Bernoulli its sigmoid."""
    return mean_of(output, likelihood)


def encoder(shape: Shape, width: float) -> "tuple[nn.Module, int]":
    """Default encoder: convolutions of stride 2 down to 4x4 or less, 32 to 256 channels, 256 features."""
    from torch import nn

    from mmjsd.modalities.layers import shrink

    channels, sizes = _levels(shape, width)
    return nn.Sequential(*shrink(channels, sizes)), channels[-1]


def decoder(shape: Shape, latent: int, width: float) -> "nn.Module":
    """Default decoder: the mirror image of the encoder, to means (B, C, H, W)."""
    from torch import nn

    from mmjsd.modalities.layers import grow

    return nn.Sequential(*grow(latent, *_levels(shape, width)))


def _levels(shape: Shape, width: float) -> tuple[list[int], list[Shape]]:
    """Channels and sizes of the default networks."""
    from mmjsd.modalities.layers import halvings, scaled

    sizes = halvings(shape[1:])
    convolutions = (min(MOST, FIRST * 2**level) for level in range(len(sizes) - 1))
    return [shape[0], *scaled(width, *convolutions, MOST)], sizes


# --- Judged and drawn -------------------------------------------------------------------------------------


def classifier_body(shape: Shape) -> "nn.Module":
    """Three convolutions of stride 2, more for images of over 64 pixels, with batch normalisation.

    Each is followed by one that keeps the size, where that is small.
    """
    from torch import nn

    from mmjsd.modalities.layers import convolution, halve

    channels, sides, halvings = shape[0], shape[1:], 0
    layers: list[nn.Module] = []

    def add(convolve: nn.Module, width: int) -> None:
        # a batch of a single value has no variance
        norm = nn.BatchNorm2d(width) if math.prod(sides) > 1 else nn.Identity()
        layers.extend([convolve, norm, nn.ReLU()])

    while halvings < 3 or max(sides) > 8:
        width = min(128, 32 * 2**halvings)
        convolve = convolution(channels, width, sides, bias=False)
        channels, sides, halvings = width, halve(sides), halvings + 1
        add(convolve, width)
        if max(sides) <= KEPT:
            add(nn.Conv2d(width, width, 3, padding=1, bias=False), width)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(sides), 128), nn.ReLU())


def vary(x: "Tensor") -> "Tensor":
    """Images (B, C, H, W) slightly turned, scaled and shifted, lighter or darker, of more or less contrast.

    Generated ones are not centred exactly, and paler where they are uncertain.
    """
    import torch
    from torch.nn.functional import affine_grid

    turn, scale, *shift = (2 * torch.rand(4, len(x), device=x.device) - 1) * 0.12
    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([rotation * (1 + scale).view(-1, 1, 1), torch.stack(shift, 1)[..., None]], 2)
    moved = _sampled(x, affine_grid(affine, list(x.shape), align_corners=False))
    contrast, brightness = 2 * torch.rand(2, len(x), 1, 1, 1, device=x.device) - 1
    mean = moved.mean((1, 2, 3), keepdim=True)
    return moved.sub_(mean).mul_((0.5 * contrast).exp()).add_(mean + 0.15 * brightness).clamp_(0, 1)


def _sampled(x: "Tensor", grid: "Tensor") -> "Tensor":
    """Images (B, C, H, W) at the points of a grid (B, H, W, 2); beyond the border they go on as they end."""
    import torch
    from torch.nn.functional import grid_sample

    if x.device.type != "mps":
        return grid_sample(x, grid, padding_mode="border", align_corners=False)
    # MPS has no such padding before torch 2.13; no point lies beyond the outermost pixels' centres instead
    inside = 1 - 1 / torch.tensor([x.shape[3], x.shape[2]], device=x.device)
    return grid_sample(x, grid.clamp(-inside, inside), align_corners=False)


def score(predicted: "Tensor", x: "Tensor") -> float:
    """Mean squared error of pixels (B, C, H, W) in 0..1."""
    return float(((predicted - x) ** 2).mean())


def draw(axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0) -> None:
    """Draw images (N, C, H, W) in 0..1 as one picture, the mean of channels that are neither grey nor RGB."""
    if values.shape[1] not in (1, 3):
        values = values.mean(1, keepdim=True)
    pixels = (values.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = -(-len(pixels) // columns)
    # in colour, for a map of grey values to colours takes longer
    sheet = _tiled(pixels, rows, columns).repeat(3 // pixels.shape[3], axis=2)
    axes.imshow(sheet, extent=(left, left + columns, top + rows, top), interpolation="nearest")


def _tiled(pictures: Bytes, rows: int, columns: int) -> Bytes:
    """One picture of all (N, H, W, C), each in the middle of a square, with a rim of a pixel around it."""
    missing = rows * columns - len(pictures)
    gaps = [max(pictures.shape[1:3]) - length for length in pictures.shape[1:3]]
    around = [(1 + gap // 2, 1 + gap - gap // 2) for gap in gaps]
    rimmed = np.pad(pictures, ((0, missing), *around, (0, 0)), constant_values=255)
    _, height, width, channels = rimmed.shape
    sheet = rimmed.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)
