"""Pictures asked for on the command line."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmjsd.data import text
from mmjsd.errors import MmjsdError
from mmjsd.models.vae import Modality
from mmjsd.reporting.canvas import STYLE, draw, save, sheets
from mmjsd.training import load_model

__all__ = ["generate_picture"]


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
    with matplotlib.rc_context(STYLE):
        figure, axes = sheets(list(samples), math.ceil(n / columns), columns, title)
        for ax, (name, values) in zip(axes, samples.items(), strict=True):
            draw(ax, model.modalities[name], values, columns)
        save(figure, out)


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
        except Exception:  # Pillow raises whatever the damaged bytes lead it to
            raise MmjsdError(f"--given {modality.name}: {value}: cannot be read as an image") from None
        array = np.asarray(pixels, np.float32).reshape(height, width, channels) / 255
        return torch.tensor(array).permute(2, 0, 1)[None]
    raise MmjsdError(f"--given {modality.name}: a {modality.kind} cannot be given on the command line")
