"""Pictures of generated samples."""

import io
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mmjsd.data import text
from mmjsd.errors import MmjsdError
from mmjsd.models.vae import Modality
from mmjsd.records import atomic_write
from mmjsd.training import load_model

__all__ = ["as_pictures", "generate_picture"]


def generate_picture(folder: Path, given: dict[str, str], n: int, out: Path, seed: int = 0) -> None:
    """Draw n samples of a trained model's modalities into a PNG, side by side.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        given: modality -> what it is: the words of a text, the file of an image. Empty: from the prior.
        n: samples of each modality.
        out: the PNG.
        seed: of the sampling.

    Raises:
        MmjsdError: no such modality, a text that does not fit, a file that is not an image.
    """
    if n < 1:
        raise MmjsdError(f"--n: must be at least 1 (got {n})")
    model, content = load_model(folder)
    generator = torch.Generator().manual_seed(seed)
    inputs = {}
    for name, value in given.items():
        if name not in model.modalities:
            raise MmjsdError(
                f"--given {name}: the model has no such modality; it has {', '.join(model.modalities)}"
            )
        inputs[name] = _parse(model.modalities[name], value)
    samples = model.generate(inputs or None, n=n, generator=generator)
    columns = math.ceil(math.sqrt(n))
    title = f"{content['name']}, given " + (", ".join(f"{k} = {v}" for k, v in given.items()) or "nothing")
    figure = Figure(figsize=(4 * len(samples), 4.5), layout="constrained")
    for axes, (name, values) in zip(
        np.atleast_1d(figure.subplots(1, len(samples))), samples.items(), strict=True
    ):
        axes.set_title(name)
        axes.axis("off")
        if model.modalities[name].kind == "text":
            words = text.decode(values.argmax(-1).numpy())
            size = 140 / columns / max(map(len, words)) * 2
            for i, word in enumerate(words):
                x, y = (i % columns + 0.5) / columns, 1 - (i // columns + 0.5) / columns
                axes.text(x, y, word, family="monospace", size=size, ha="center", va="center")
        else:
            axes.imshow(_tiled(as_pictures(values), columns), cmap="gray", vmin=0, vmax=255)
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, buffer.getvalue())


def as_pictures(images: Tensor) -> NDArray[np.uint8]:
    """Generated images (N, C, H, W), 0..1, as pixels (N, H, W, 3 or 1)."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _tiled(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """One picture of all, with a rim of 2 pixels between them."""
    rows = math.ceil(len(pictures) / columns)
    rimmed = np.pad(
        pictures, ((0, rows * columns - len(pictures)), (1, 1), (1, 1), (0, 0)), constant_values=255
    )
    _, height, width, channels = rimmed.shape
    sheet = rimmed.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)


def _parse(modality: Modality, value: str) -> Tensor:
    """What a modality is given on the command line, as a batch of one."""
    if modality.kind == "text":
        if not 0 < len(value) <= modality.shape[0] or set(value) - set(text.ALPHABET):
            raise MmjsdError(
                f"--given {modality.name}: must be 1 to {modality.shape[0]} characters of the alphabet "
                f"(got {value!r})"
            )
        return torch.tensor(text.encode([value], modality.shape[0]).astype(np.int64))
    if modality.kind == "image":
        channels, height, width = modality.shape
        try:
            with Image.open(value) as image:
                pixels = image.convert("L" if channels == 1 else "RGB").resize((width, height))
        except FileNotFoundError:
            raise MmjsdError(f"--given {modality.name}: {value}: no such image file") from None
        except (OSError, UnidentifiedImageError):
            raise MmjsdError(f"--given {modality.name}: {value}: cannot be read as an image") from None
        array = np.asarray(pixels, np.float32).reshape(height, width, channels) / 255
        return torch.tensor(array).permute(2, 0, 1)[None]
    raise MmjsdError(f"--given {modality.name}: a {modality.kind} cannot be given on the command line")
