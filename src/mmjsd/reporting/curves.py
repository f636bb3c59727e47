"""Figures that compare the runs of a dataset: precision/recall curves and training curves."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from mmjsd.errors import MmjsdError
from mmjsd.reporting.canvas import Drawn, colours, handles_of, name_lines, note
from mmjsd.training.history import is_term

__all__ = ["Compared", "Curves", "precision_recall", "read_curves", "training"]

Curves = dict[tuple[str, str], tuple[list[float], list[float]]]
"""(given, modality) -> precision and recall."""


class Compared(NamedTuple):
    """The runs of a dataset, by name, with something for each of their seeds."""

    curves: Mapping[str, Sequence[Curves]]
    histories: Mapping[str, Sequence[list[dict[str, float]]]]
    embedding: str
    """In which images are compared."""
    sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
    """Sweep -> run -> varied key -> value."""
    metrics: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    swept: tuple[str, ...] = ()
    """The sweep and the numbers of it that a figure is of."""


def precision_recall(compared: Compared) -> Drawn:
    """Draw the precision/recall distributions of images."""
    curves, embedding, palette = compared.curves, compared.embedding, _palette(compared)
    panels = dict.fromkeys(key for seeds in curves.values() for found in seeds for key in found)
    if not panels:
        return note("Precision and recall of images", "Not drawn: the quality of no images was judged.")
    rows = list(dict.fromkeys(given for given, _ in panels))
    modalities = list(dict.fromkeys(modality for _, modality in panels))
    # the modalities below each other, what they are given from left to right
    figure = Figure(
        figsize=(1.55 * max(len(rows), 3) + 0.6, 1.75 * len(modalities) + 0.9), layout="constrained"
    )
    grid = figure.subplots(len(modalities), len(rows), squeeze=False, sharex=True, sharey=True)
    for line, modality in zip(grid, modalities, strict=True):
        for ax, given in zip(line, rows, strict=True):
            for colour, (name, seeds) in zip(palette, curves.items(), strict=False):
                for seed, found in enumerate(seeds):
                    ax.plot(
                        *reversed(found.get((given, modality), ([], []))),
                        color=colour,
                        lw=1,
                        label=name if seed == 0 else None,
                    )
            ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 1], yticks=[0, 1])
        line[0].set_ylabel(f"{modality}\nprecision")
    for ax, given in zip(grid[0], rows, strict=False):
        ax.set_title(given.replace("-", " +\n") if given != "random" else "random", size=9)
    for ax in grid[-1]:
        ax.set_xlabel("recall")
    unnamed = _legend(compared, figure, *grid[0, 0].get_legend_handles_labels())
    figure.suptitle(f"Precision and recall of images, embedding: {embedding}")
    return Drawn(
        figure,
        f"Precision/recall distributions (Sajjadi et al. 2018) of generated against real test images in the "
        f"embedding `{embedding}`: random and given other modalities (columns), each image modality (rows), "
        f"a line for each run and seed. Up: more realistic; right: more of the variety of the data.{unnamed}",
    )


def read_curves(path: Path) -> Curves:
    """Read the precision/recall curves of a run; there are none where no modality is an image.

    Raises:
        MmjsdError: no such file, or a damaged one.
    """
    found: Curves = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            for row in rows:
                precision, recall = found.setdefault((row["given"], row["modality"]), ([], []))
                precision.append(float(row["precision"]))
                recall.append(float(row["recall"]))
            if rows.fieldnames:
                return found
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; evaluate the run with `mmjsd evaluate`") from None
    except (KeyError, ValueError, TypeError, csv.Error):
        pass
    raise MmjsdError(f"{path}: damaged; evaluate the run again with `mmjsd evaluate`")


def training(compared: Compared) -> Drawn:
    """Draw each term of the loss over the epochs."""
    histories, palette = compared.histories, _palette(compared)
    first = [rows[0] for seeds in histories.values() for rows in seeds]
    terms = dict.fromkeys(key for row in first for key in row if is_term(key))
    across = 4
    down = -(-len(terms) // across)
    figure = Figure(figsize=(2.9 * across, 2.1 * down + 0.6), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax, term in zip(axes, terms, strict=False):
        for colour, seeds in zip(palette, histories.values(), strict=True):
            for rows in seeds:
                epochs, values = [row["epoch"] for row in rows], [row.get(term, math.nan) for row in rows]
                ax.plot(epochs, values, color=colour, lw=1.2, marker="." if len(rows) < 20 else "")
        ax.set_title(term)
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    for ax in axes[len(terms) :]:
        ax.remove()
    for ax in figure.axes[-across:]:
        ax.set_xlabel("epoch")
    unnamed = _legend(compared, figure, handles_of(palette), list(histories))
    figure.suptitle("Training")
    return Drawn(
        figure,
        "Mean of each term of the loss over the epoch, in nats per sample and unweighted, a line for each "
        "run and seed. The loss itself compares only between runs of the same objective and weights."
        f"{unnamed}",
    )


def _palette(compared: Compared) -> list[str]:
    """A colour for each run."""
    number = len(compared.histories)
    return colours(number) if compared.sweeps else [f"C{index}" for index in range(number)]


def _legend(compared: Compared, figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> str:
    """Name the runs below; of sweeps there are many, with long names."""
    if compared.sweeps:
        return name_lines(figure, handles, names)
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return ""
