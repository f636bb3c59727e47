"""Pictures asked for on the command line."""

import math
from pathlib import Path

import torch

from mmjsd.reporting.canvas import draw, house_style, refuse_unless_writable, save, sheets
from mmjsd.training.model_file import load_model

__all__ = ["generate_picture"]


def generate_picture(folder: Path, given: dict[str, str], n: int, out: Path, seed: int = 0) -> None:
    """Draw n samples of a trained model's modalities into a picture, side by side.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        given: modality -> what it is: the words of a text, the file of an image. Empty: from the prior.
        n: samples of each modality.
        out: the picture; its ending says of which format.
        seed: of the sampling.

    Raises:
        MmjsdError: no such modality, a text or an image that cannot be shown to the model as it is, or a
            picture of a format that cannot be written.
    """
    refuse_unless_writable(out)
    model, content = load_model(folder)
    generator = torch.Generator().manual_seed(seed)
    inputs = model.prepare(given) if given else None
    samples = model.standardised(model.generate(inputs, n=n, generator=generator))
    columns = math.ceil(math.sqrt(n))
    title = f"{content['name']}, given " + (", ".join(f"{k} = {v}" for k, v in given.items()) or "nothing")
    with house_style():
        figure, axes = sheets(list(samples), math.ceil(n / columns), columns, title)
        for ax, (name, values) in zip(axes, samples.items(), strict=True):
            draw(ax, model.modalities[name], values, columns)
        save(figure, out)
