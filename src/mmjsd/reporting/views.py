"""The figure of coherence by the number of modalities that are given, as papers show it."""

import statistics

import matplotlib
from matplotlib.figure import Figure

from mmjsd.evaluation.presentation import chance_of
from mmjsd.reporting.canvas import Drawn, colours, draw_level, draw_line, handles_of, name_lines, note
from mmjsd.reporting.curves import Compared
from mmjsd.reporting.verdicts import bars_of, over_seeds

__all__ = ["coherence"]

_KEY = "coherence/cross/"

#: Between the numbers, what the points of one number share, so that bars do not hide each other.
_SPREAD = 0.2


def coherence(compared: Compared) -> Drawn:
    """Draw the coherence of all runs against the number of given modalities."""
    measured = [metrics for of_run in compared.metrics.values() for metrics in of_run]
    numbers = {key.removeprefix(_KEY) for metrics in measured for key in metrics if key.startswith(_KEY)}
    sizes = sorted(int(number) for number in numbers if number.isdecimal())
    if not sizes:
        return note("Coherence", "Not drawn: no modality is generated given others.")
    figure = Figure(figsize=(8.6, 3.2), layout="constrained")
    ax = figure.subplots()
    palette = colours(len(compared.metrics))
    for place, (colour, (run, of_run)) in enumerate(zip(palette, compared.metrics.items(), strict=True)):
        aside = _SPREAD * ((place + 0.5) / len(palette) - 0.5)
        of_sizes = ((size + aside, over_seeds(of_run, f"{_KEY}{size}")) for size in sizes)
        draw_line(ax, {x: point for x, point in of_sizes if point.values}, colour, run)
    # all runs of a dataset have the same
    judges = [value for key, value in measured[0].items() if key.startswith("classifier/")]
    levels = ""
    if judges:
        draw_level(ax, statistics.mean(judges), "judges", ":")
        levels = " Dotted: the mean score on the test data of the classifiers that judge this."
    if (chance := chance_of(_KEY, measured)) is not None:
        draw_level(ax, chance, "chance")
        levels += " Dashed: chance, what one and the same answer to all samples scores."
    ax.set(
        xlabel="given modalities", ylabel="coherence of the others", xlim=(sizes[0] - 0.5, sizes[-1] + 0.5)
    )
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    unnamed = name_lines(figure, handles_of(palette), list(compared.metrics))
    bars = bars_of(max(map(len, compared.metrics.values())))
    figure.suptitle(f"Coherence by the number of given modalities\n{bars}")
    return Drawn(
        figure,
        "Coherence of generated modalities with those that they are given: the mean over all subsets of so "
        f"many modalities, and over the modalities outside of them; {bars}.{levels}{unnamed}",
    )
