"""Pictures asked for on the command line."""

import math
import textwrap
from pathlib import Path
from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.trained import load_trained
from mmjsd.modalities import CELL
from mmjsd.params import make_evaluation
from mmjsd.reporting.canvas import (
    draw,
    house_style,
    refuse_unless_writable,
    save,
    scale_of,
    sheets,
    shortened,
)
from mmjsd.training.model_file import load_model

__all__ = ["generate_picture"]

_NAMED = 8
"""Columns of a vector, at most, whose names have room."""
_BAR = 0.15
"""Width of a cell for each of them, in inches."""


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

    Vectors are bars in standard deviations, as the model has them, with the names of a few columns.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        given: modality -> what it is: the words of a text, the file of an image, the numbers of a vector with
            commas between. Empty: from the sampler.
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
    bars = {
        name: [shortened(column) for column in scale.stored]
        for name, scale in model.scales.items()
        if len(scale.columns) <= _NAMED
    }
    rows = math.ceil(n / columns)
    with house_style():
        scales = [
            max(scale_of(modality), len(bars.get(name, [])) * _BAR / CELL) for name, modality in shown.items()
        ]
        figure, axes = sheets(list(shown), rows, columns, title, scales)
        for ax, (name, values) in zip(axes, samples.items(), strict=True):
            draw(ax, shown[name], values, columns)
            _name_bars(ax, bars.get(name, []), rows)
        if model.scales:
            _tell_units(figure, max((len(bar) for names in bars.values() for bar in names), default=0))
        save(figure, out)


def _name_bars(axes: Axes, names: list[str], rows: int) -> None:
    """Write the names of the columns of vectors below the bars of the first cell of the last row."""
    for place, name in enumerate(names):
        across = 0.1 + 0.8 * (place + 0.5) / len(names)  # where the bars are
        axes.text(across, rows + 0.1, name, rotation=90, ha="center", va="top", size=6)


def _tell_units(figure: Figure, longest: int) -> None:
    """Say below what the bars of vectors are, and make room for that and for names of so many symbols."""
    figure.set_figwidth(max(4, figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.5 + 0.07 * longest)
    told = "Bars: standard deviations from the mean of the training data; a cell is 5 of them high"
    figure.supxlabel(textwrap.fill(told, int(15 * figure.get_figwidth())), size=7)


def _of_mixture(folder: Path, dataset: str, n: int, seed: int) -> dict[str, Tensor]:
    """Samples from the mixture that the evaluation takes if asked for one: modality -> (n, ...)."""
    components = make_evaluation(sampler="mixture").mixture_components
    store = read_store(folder.absolute().parents[3] / "data" / f"{dataset}.h5")
    trained = load_trained(folder, store, mixture_components=components)
    draw_from = trained.samplers["random_mixture"]
    assert draw_from is not None  # a prior has none
    torch.manual_seed(seed)
    return trained.model.generate_from(draw_from(n))
