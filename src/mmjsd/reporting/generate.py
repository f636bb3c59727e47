"""Pictures asked for on the command line."""

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.trained import load_trained
from mmjsd.params import make_evaluation
from mmjsd.reporting.canvas import draw, house_style, refuse_unless_writable, save, scale_of, sheets
from mmjsd.training.model_file import load_model

__all__ = ["generate_picture"]


@torch.no_grad()
def generate_picture(
    folder: Path,
    given: dict[str, str],
    n: int,
    out: Path,
    seed: int = 0,
    sampler: Literal["prior", "mixture"] = "prior",
) -> None:
    """Draw n samples of a trained model's modalities into a picture, side by side.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        given: modality -> what it is: the words of a text, the file of an image. Empty: from the sampler.
        n: samples of each modality.
        out: the picture; its ending says of which format.
        seed: of the sampling.
        sampler: of shared latents; `mixture` is fitted to the data in the project that the folder is of.

    Raises:
        MmjsdError: no such modality, a text or an image that cannot be shown to the model as it is, or a
            picture of a format that cannot be written; a mixture where something is given, or its data are
            not there.
    """
    if given and sampler == "mixture":
        raise MmjsdError("--sampler mixture: is of samples that are given nothing; leave out --given, or it")
    refuse_unless_writable(out)
    model, content = load_model(folder)
    generator = torch.Generator().manual_seed(seed)
    if sampler == "mixture":
        samples = _of_mixture(folder, content["run"]["dataset"], n, seed)
    else:
        inputs = model.prepare(given) if given else None
        samples = model.generate_from(model.draw_shared(inputs, n, generator), generator=generator)
    columns = math.ceil(math.sqrt(n))
    title = f"{content['name']}, given " + (", ".join(f"{k} = {v}" for k, v in given.items()) or "nothing")
    shown = {name: model.modalities[name] for name in samples}
    with house_style():
        scales = [scale_of(modality) for modality in shown.values()]
        figure, axes = sheets(list(shown), math.ceil(n / columns), columns, title, scales)
        for ax, (name, values) in zip(axes, samples.items(), strict=True):
            draw(ax, shown[name], values, columns)
        save(figure, out)


def _of_mixture(folder: Path, dataset: str, n: int, seed: int) -> dict[str, Tensor]:
    """Samples from the mixture that the evaluation takes if asked for one: modality -> (n, ...)."""
    components = make_evaluation(sampler="mixture").mixture_components
    store = read_store(folder.absolute().parents[3] / "data" / f"{dataset}.h5")
    trained = load_trained(folder, store, mixture_components=components)
    draw_from = trained.samplers["random_mixture"]
    assert draw_from is not None  # a prior has none
    torch.manual_seed(seed)
    return trained.model.generate_from(draw_from(n))
