"""Figures of binary attributes: scores of each, and faces of which one word is changed."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.data.text import PADDING, attribute_texts, spelled
from mmjsd.devices import as_float64
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.keys import ATTRIBUTES
from mmjsd.modalities.text import ALPHABET
from mmjsd.reporting.canvas import Drawn, draw, note, sheets
from mmjsd.reporting.shown import Shown

__all__ = ["attributes", "manipulation"]

#: Attributes that a model does best, and as many that it does worst.
_SHOWN = 6

#: The share of samples with an attribute, or without it, below which its score is chance.
_RARE = 0.05

#: Of a sign on a picture.
_BADGE = {"boxstyle": "square,pad=0.05", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}


def attributes(shown: Shown) -> Drawn:
    """Draw the average precisions of each attribute."""
    names: dict[str, None] = {}
    values: dict[str, dict[str, float]] = {}
    for key, value in shown.metrics.items():
        if key.startswith(ATTRIBUTES):
            name, _, column = key.removeprefix(ATTRIBUTES).partition("/")
            names[name] = None
            values.setdefault(column, {})[name] = value
    # an attribute that no test sample has is left out
    columns = {k: np.array([found.get(name, math.nan) for name in names]) for k, found in values.items()}
    order = np.argsort(columns["frequency"])[::-1]
    places = np.arange(len(names))
    panels = {
        "Representation": "representation/",
        "Conditional coherence": "coherence/",
        "Random": "coherence/random",
    }
    figure = Figure(figsize=(11, max(3.0, 0.19 * len(names) + 1.6)), layout="constrained")
    for ax, (title, start) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        ax.barh(places, columns["frequency"][order], color="0.88", label="frequency")
        plotted = [key for key in columns if key.startswith(start) and (key == start or "random" not in key)]
        for colour, key in enumerate(plotted):
            name = key.removeprefix(start).replace("-", " + ").replace("/", " → ") or "across modalities"
            ax.plot(columns[key][order], places, "o", ms=3.5, color=f"C{colour}", label=name)
        ax.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), title=title, xlabel="average precision")
        ax.invert_yaxis()
        ax.grid(axis="y", lw=0.3)
        ax.set_yticks(places, [list(names)[place].replace("_", " ") for place in order], size=7)
        ax.legend(loc="lower right", fontsize=7, frameon=True)
    return Drawn(
        figure,
        "Average precision of each attribute, from the most to the least frequent; the bars are its "
        "frequency in the test data, which is what guessing reaches. Left: a linear classifier of the shared "
        "latent given each subset. Middle: what the classifiers see in each modality generated given each "
        "subset. Right: what they see in one modality of random samples against another.",
    )


def manipulation(shown: Shown) -> Drawn:
    """Draw what becomes of faces when one word of their texts is changed."""
    model, test, classes = shown.trained.model, shown.trained.test, shown.trained.classes
    modalities = shown.modalities
    image = next((name for name, m in model.modalities.items() if m.kind == "image"), None)
    chosen = test.complete(modalities)[:8]
    labels = test.labels[chosen].cpu().numpy()
    texts = [
        name
        for name, m in model.modalities.items()
        if m.kind == "text" and _names_attributes(test.inputs(name, chosen), labels, classes)
    ]
    if image is None or not texts:
        return note("manipulation", "Not drawn: there is no image, or no text that names the attributes.")
    frequency = as_float64(test.labels).mean(0).cpu().numpy()
    scores = _gains(shown, frequency, f"coherence/{texts[0]}/{image}")
    ranked = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    best, worst = ranked[:_SHOWN], ranked[_SHOWN:][-_SHOWN:]
    changed = np.concatenate([best, worst])
    if not len(changed):
        return note("manipulation", f"Not drawn: how well {image} shows attributes was not judged.")
    edited = np.repeat(labels[:, None], len(changed) + 1, 1)  # (faces, 1 + changed, A)
    edited[:, np.arange(len(changed)) + 1, changed] ^= 1
    repeated = chosen.repeat_interleave(len(changed) + 1)
    values = {name: test.inputs(name, repeated) for name in modalities}
    for name in texts:
        # from where the given text starts, for a shift would be a change of its own
        words = attribute_texts(edited.reshape(-1, len(classes)), classes, *_place(values[name]))
        values[name] = torch.tensor(words.astype(np.int64), device=model.device)
    posterior = model.posterior(model.encode(values).shared, modalities).select().mean
    style = test.private_of(image, repeated).mean
    columns, top = len(changed) + 2, 2.2
    figure, (ax,) = sheets([""], len(chosen) + top, columns, "One word of the text changed")
    draw(ax, model.modalities[image], test.inputs(image, chosen), 1, top=top)
    output = model.decode_mean(image, style, posterior)
    draw(ax, model.modalities[image], output, columns - 1, left=1, top=top)
    heads = ["given", "same text", *(f"{spelled(classes[a])} {scores[a]:.2f}" for a in changed)]
    for column, head in enumerate(heads):
        ax.text(column + 0.5, top - 0.1, head, rotation=60, size=7, ha="left", va="bottom")
    for (row, column), present in np.ndenumerate(labels[:, changed]):
        sign = "−" if present else "+"
        ax.text(column + 2.07, row + top + 0.05, sign, size=8, va="top", color="white", bbox=_BADGE)
    if len(worst):
        ax.axvline(2 + len(best), ymax=len(chosen) / (len(chosen) + top), color="black", lw=1.5)
    return Drawn(
        figure,
        "Faces given an image (left column) and its text, in which one attribute is added where it is "
        f"missing (+) and removed where it is present (−): on the left the {len(best)} attributes that the "
        f"model does best, on the right the {len(worst)} that it does worst, of those that {_RARE:.0%} to "
        f"{1 - _RARE:.0%} of the test samples have. Beside their names: how well images generated given the "
        "text alone show them, by average precision, with 0 for guessing and 1 for no fault. Shared latent: "
        "posterior mean given both; private latent: the image's.",
    )


def _gains(shown: Shown, frequency: NDArray[np.float64], column: str) -> NDArray[np.float64]:
    """The average precision of each attribute (A,) above guessing: 0..1, NaN of one that is not looked at."""
    keys = [f"{ATTRIBUTES}{name}/{column}" for name in shown.trained.classes]
    precision = np.array([shown.metrics.get(key, math.nan) for key in keys])
    looked_at = (frequency >= _RARE) & (frequency <= 1 - _RARE)
    return np.where(looked_at, (precision - frequency) / np.maximum(1 - frequency, _RARE), math.nan)


def _place(texts: Tensor) -> tuple[NDArray[np.int64], int]:
    """Where each of the texts (N, L) starts behind its padding, and L."""
    return (texts != ALPHABET.index(PADDING)).int().argmax(1).cpu().numpy(), texts.shape[1]


def _names_attributes(texts: Tensor, labels: NDArray[np.uint8], classes: list[str]) -> bool:
    """Tell whether texts (N, L) are the names of the attributes (N, A), as those of CelebA are."""
    try:
        return np.array_equal(texts.cpu().numpy(), attribute_texts(labels, classes, *_place(texts)))
    except MmjsdError:  # names that cannot be written in the alphabet
        return False
