"""The figure of scores: coherence and representation given each subset of modalities."""

import math

from matplotlib.figure import Figure

from mmjsd.evaluation.keys import CHANCE
from mmjsd.reporting.canvas import Drawn
from mmjsd.reporting.shown import Shown
from mmjsd.subsets import name_of

__all__ = ["scores"]


def scores(shown: Shown) -> Drawn:
    """Draw coherence and representation as tables of colours."""
    scorer, metrics, modalities = shown.trained.scorer, shown.metrics, shown.modalities
    assert scorer is not None  # without labels there is no such figure
    measure = scorer.measure
    given = [name_of(subset) for subset in shown.trained.subsets]
    # what is not defined on the data is not there
    coherence = [[metrics.get(f"coherence/conditional/{a}/{j}", math.nan) for j in modalities] for a in given]
    # beside it, what can be measured at all
    coherence.append([metrics.get(f"classifier/{measure}/{j}", math.nan) for j in modalities])
    latent = [[metrics.get(f"representation/{measure}/{a}", math.nan)] for a in given] + [[math.nan]]
    rows = [*(a.replace("-", " + ") for a in given), "judges"]
    of_chance = ""
    if (chance := metrics.get(CHANCE)) is not None:
        coherence.append([chance] * len(modalities))
        latent.append([chance])
        rows.append("chance")
        of_chance = " In the last row, chance: what one and the same answer to all samples scores."
    figure = Figure(
        figsize=(2.4 + 0.8 * (len(modalities) + 1.5), 1.3 + 0.34 * len(rows)), layout="constrained"
    )
    left, right = figure.subplots(1, 2, width_ratios=[len(modalities), 1.5], sharey=True)
    for ax, values, columns, title in (
        (left, coherence, modalities, "Coherence"),
        (right, latent, [""], "Representation"),
    ):
        ax.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(rows)), rows)
        ax.set_title(title)
        ax.tick_params(length=0)
        for row, cells in enumerate(values):
            for column, value in enumerate(cells):
                colour = "white" if value < 0.6 else "black"
                written = "–" if math.isnan(value) else f"{value:.2f}"
                ax.text(column, row, written, ha="center", va="center", color=colour)
    left.set(xlabel="generated", ylabel="given")
    right.set(xlabel=measure.replace("_", " "))
    return Drawn(
        figure,
        f"Left: how well generated modalities (columns) {shown.labels.coherent} what they are given (rows); "
        "in the row of the judges, what the classifiers that see it reach on the test data. "
        f"Right: {measure.replace('_', ' ')} of a linear classifier of the shared latent.{of_chance}",
    )
