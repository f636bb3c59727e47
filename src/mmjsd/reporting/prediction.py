"""Figures of prediction: vectors as they are predicted against what they are, and R² by column."""

import math

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmjsd.evaluation.prediction import predictions
from mmjsd.modalities.vector import r_squared
from mmjsd.reporting.canvas import Drawn, shortened
from mmjsd.reporting.shown import Shown

__all__ = ["by_column", "true_and_predicted"]

_SAMPLES = 500
_SCATTERS = 6
"""Columns of a modality that are drawn value by value."""
_NAMED = 40
"""Columns of a modality whose names have room."""
_LEAST = -0.25
"""R² below this are drawn as if they were this."""


def true_and_predicted(shown: Shown) -> Drawn:
    """Draw predicted against true values of a few columns of each vector modality."""
    vectors = _vectors(shown)
    figure = Figure(figsize=(1.75 * _SCATTERS + 0.4, 1.95 * len(vectors) + 0.5), layout="constrained")
    grid = figure.subplots(len(vectors), _SCATTERS, squeeze=False)
    for line, name in zip(grid, vectors, strict=True):
        columns = _column_names(shown, name)
        true, told = _true_and_told(shown, name, _others(shown, name))
        scores = r_squared(told, true)
        best_first = np.argsort(np.nan_to_num(-scores, nan=np.inf), kind="stable")
        best_first = best_first[: max(1, int(np.isfinite(scores).sum()))]
        ranks = np.linspace(0, len(best_first) - 1, min(_SCATTERS, len(best_first)))
        x, y = (
            shown.trained.model.in_units({name: values})[name].cpu().double().numpy()
            for values in (true, told)
        )
        for ax, column in zip(line, best_first[np.round(ranks).astype(int)], strict=False):
            ax.scatter(x[:, column], y[:, column], s=5, alpha=0.5, linewidths=0)
            limits = (x[:, column].min(), x[:, column].max())
            ax.plot(limits, limits, color="black", lw=0.6)
            ax.set_title(f"{shortened(columns[column])}\nR² {scores[column]:.2f}", size=8)
            ax.locator_params(nbins=3)
            ax.tick_params(labelsize=7)
        for ax in line[len(ranks) :]:
            ax.remove()
        line[0].set_ylabel(f"{shortened(name)}\npredicted")
    for ax in grid[-1]:
        ax.set_xlabel("true")
    figure.suptitle("Predicted against true values")
    units = "the units of the data" if shown.trained.model.scales else "the units of the store"
    return Drawn(
        figure,
        f"Vectors of test samples, {_given(shown)}, in {units}. Of each modality {_SCATTERS} columns at "
        "most, from the best predicted one on the left to the worst on the right; on the line they agree.",
    )


def by_column(shown: Shown) -> Drawn:
    """Draw R² of each column of each vector modality, given the others, and given all."""
    vectors, all_of = _vectors(shown), shown.modalities
    across = min(3, len(vectors))
    down = math.ceil(len(vectors) / across)
    named = [n for name in vectors if (n := len(_column_names(shown, name))) <= _NAMED]
    height = max(2.4, 0.9 + 0.15 * max(named, default=0))
    figure = Figure(figsize=(3.6 * across, height * down + 0.7), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax, name in zip(axes, vectors, strict=False):
        columns = _column_names(shown, name)
        scores = {
            title: r_squared(*reversed(_true_and_told(shown, name, subset)))
            for title, subset in {"the others": _others(shown, name), "all": all_of}.items()
        }
        order = np.argsort(np.nan_to_num(-scores["the others"], nan=np.inf), kind="stable")
        places = np.arange(len(columns))
        for (title, values), mark in zip(scores.items(), "o|", strict=True):
            clipped = np.maximum(values[order], _LEAST)
            ax.plot(clipped, places, mark, ms=4 if len(columns) <= _NAMED else 2, label=f"given {title}")
        ax.axvline(0, color="black", lw=0.6)
        ax.set(xlim=(_LEAST - 0.03, 1.03), ylim=(len(columns) - 0.5, -0.5), title=name, xlabel="R²")
        if len(columns) <= _NAMED:
            ax.set_yticks(places, [shortened(columns[column]) for column in order], size=7)
        else:
            ax.set_ylabel(f"its {len(columns)} columns by rank")
    for ax in axes[len(vectors) :]:
        ax.remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle("R² by column")
    return Drawn(
        figure,
        f"The share of the variance of each column of test samples that is explained, {_given(shown)}, "
        f"and given all; best columns first. Columns below {_LEAST:g} are drawn there, and those that do not "
        "vary are left out.",
    )


def _vectors(shown: Shown) -> list[str]:
    return [name for name, modality in shown.trained.model.modalities.items() if modality.kind == "vector"]


def _others(shown: Shown, name: str) -> tuple[str, ...]:
    """All modalities but this, if there are any."""
    return tuple(other for other in shown.modalities if other != name) or shown.modalities


def _given(shown: Shown) -> str:
    return "predicted from all other modalities" if len(shown.modalities) > 1 else "predicted from themselves"


def _true_and_told(shown: Shown, name: str, subset: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The vectors of test samples and what is predicted, standardised: (B, D) each."""
    test = shown.trained.test
    samples = test.complete(shown.modalities)[:_SAMPLES]
    return test.inputs(name, samples), predictions(test, subset, samples, (name,))[name]


def _column_names(shown: Shown, name: str) -> list[str]:
    """What the columns are called; their numbers where they have no names."""
    model = shown.trained.model
    scale = model.scales.get(name)
    return scale.stored if scale and scale.columns else [str(n) for n in range(model.modalities[name].size)]
