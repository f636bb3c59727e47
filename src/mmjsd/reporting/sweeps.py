"""Figures of a sweep: the headline metrics against one swept number, and over two of them."""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmjsd.evaluation.presentation import chance_of, headline, is_better_the_less, with_summaries
from mmjsd.params.sweeps import written
from mmjsd.reporting.canvas import Drawn, colours, draw_level, draw_line, handles_of, name_lines, note
from mmjsd.reporting.curves import Compared
from mmjsd.reporting.verdicts import Measured, bars_of, over_seeds

__all__ = ["against", "differing", "over"]

_Runs = Mapping[str, Mapping[str, Any]]
"""Run -> varied key -> value."""

#: Rows of heatmaps on a page, and values that are told at an axis.
_ROWS, _SHOWN = 8, 12


def against(compared: Compared) -> Drawn:
    """Draw each headline metric against one swept number."""
    sweep, key = compared.swept
    runs = compared.sweeps[sweep]
    measured = _measured(compared, runs)
    if not measured:
        return note(key, f"Not drawn: no run of the sweep {sweep} has a headline metric.")
    groups = _groups(runs, (key,))
    across = min(4, len(measured))
    down = -(-len(measured) // across)
    figure = Figure(figsize=(2.9 * max(across, 2), 2.3 * down + 0.8), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    xs = sorted({values[key] for values in runs.values()})
    everything = [metrics for run in runs for metrics in compared.metrics[run]]
    for ax, (title, seeds) in zip(axes, measured.items(), strict=False):
        for colour, (label, of_group) in zip(colours(len(groups)), groups.items(), strict=True):
            points = [(runs[run][key], seeds[run]) for run in of_group if seeds[run].values]
            points.sort(key=lambda point: point[0])
            draw_line(ax, dict(points), colour, label)
        if (chance := chance_of(headline()[title], everything)) is not None:
            draw_level(ax, chance, "chance")
        ax.set_title(title)
        ax.set_xlabel(key)
        _scale(ax, xs)
    for ax in axes[len(measured) :]:
        ax.remove()
    unnamed = ""
    if len(groups) > 1:
        unnamed = name_lines(figure, handles_of(colours(len(groups))), list(groups))
    figure.suptitle(f"Sweep {sweep}: {key}\n{_bars(compared, runs)}")
    others = ", ".join(differing(runs, (key,)))
    each = f"a line for each combination of {others}; " if others else ""
    return Drawn(
        figure,
        f"Headline metrics of the sweep `{sweep}` against `{key}`: {each}{_seeds(compared, runs)}; "
        f"{_bars(compared, runs)}.{unnamed}",
    )


def over(compared: Compared) -> Drawn:
    """Draw each headline metric over two swept numbers, as tables of colours."""
    sweep, vertical, horizontal = compared.swept
    runs = compared.sweeps[sweep]
    measured = _measured(compared, runs)
    if not measured:
        return note(
            f"{vertical}, {horizontal}", f"Not drawn: no run of the sweep {sweep} has a headline metric."
        )
    groups = _groups(runs, (vertical, horizontal))
    rows = dict(itertools.islice(groups.items(), _ROWS))
    ys, xs = (sorted({values[key] for values in runs.values()}) for key in (vertical, horizontal))
    width, height = 0.42 * min(max(len(xs), 4), _SHOWN) + 0.7, 0.3 * min(max(len(ys), 3), _SHOWN) + 0.5
    figure = Figure(
        figsize=(width * len(measured) + 0.8, (height + 0.4) * len(rows) + 0.5), layout="constrained"
    )
    grid = figure.subplots(len(rows), len(measured), squeeze=False, sharex=True, sharey=True)
    for column, (title, seeds) in enumerate(measured.items()):
        means = {run: found.mean for run, found in seeds.items() if found.values}
        low, high = min(means.values()), max(means.values())
        less = is_better_the_less(headline()[title])
        for ax, (label, of_group) in zip(grid[:, column], rows.items(), strict=True):
            cells = np.full((len(ys), len(xs)), math.nan)
            for run in set(of_group) & means.keys():
                cells[ys.index(runs[run][vertical]), xs.index(runs[run][horizontal])] = means[run]
            image = ax.imshow(
                cells,
                vmin=low,
                vmax=high,
                cmap="viridis_r" if less else "viridis",
                aspect="auto",
                origin="lower",
            )
            _label(ax, image, cells)
            ax.set_xticks(*_ticks(xs), rotation=90 if len(xs) > 5 else 0)
            ax.set_yticks(*_ticks(ys))
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            ax.set_title("\n".join(filter(None, [title if ax is grid[0, column] else "", label])))
        grid[-1, column].set_xlabel(horizontal)
    for line in grid:
        line[0].set_ylabel(vertical)
    figure.suptitle(f"Sweep {sweep}: {vertical} and {horizontal}")
    others = ", ".join(differing(runs, (vertical, horizontal)))
    lines = f"a row for each combination of {others}; " if others else ""
    if len(rows) < len(groups):
        lines = f"a row for each of the first {len(rows)} of {len(groups)} combinations of {others}; "
    return Drawn(
        figure,
        f"Headline metrics of the sweep `{sweep}` over `{vertical}` and `{horizontal}`, each by colours of "
        f"its own, the lighter the better: {lines}{_seeds(compared, runs)}.",
    )


def _measured(compared: Compared, runs: _Runs) -> dict[str, dict[str, Measured]]:
    """Title of each headline metric that a run has -> run -> what it is of it."""
    summaries = {run: [with_summaries(metrics) for metrics in compared.metrics[run]] for run in runs}
    found = {
        title: {run: over_seeds(of_run, key) for run, of_run in summaries.items()}
        for title, key in headline().items()
    }
    return {title: of_runs for title, of_runs in found.items() if any(m.values for m in of_runs.values())}


def differing(runs: _Runs, keys: Sequence[str] = ()) -> list[str]:
    """List the keys beside these in which the runs of a sweep differ."""
    all_keys = dict.fromkeys(key for values in runs.values() for key in values if key not in keys)
    return [key for key in all_keys if len({values[key] for values in runs.values()}) > 1]


def _groups(runs: _Runs, keys: Sequence[str]) -> dict[str, list[str]]:
    """The runs that differ in these keys alone, by what they have in common."""
    others, groups = differing(runs, keys), dict[str, list[str]]()
    for run, values in runs.items():
        groups.setdefault(", ".join(f"{key}={written(values[key])}" for key in others), []).append(run)
    return groups


def _seeds(compared: Compared, runs: _Runs) -> str:
    seeds = _number_of_seeds(compared, runs)
    return f"means over {seeds} seeds" if seeds > 1 else "one seed, which does not show how training varies"


def _bars(compared: Compared, runs: _Runs) -> str:
    return bars_of(_number_of_seeds(compared, runs))


def _number_of_seeds(compared: Compared, runs: _Runs) -> int:
    return max(len(compared.metrics[run]) for run in runs)


def _scale(ax: Axes, values: Sequence[float]) -> None:
    """Make the axis of the values logarithmic where they are spread over decades, and mark them if few."""
    decades = values[0] > 0 and values[-1] >= 10 * values[0]
    if decades and _unevenness([math.log(value) for value in values]) <= _unevenness(values):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    if len(values) <= 6:
        ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def _ticks(values: Sequence[float]) -> tuple[list[int], list[str]]:
    """Where to mark rows or columns of cells and by what, not more than can be read."""
    shown = range(0, len(values), -(-len(values) // _SHOWN))
    return list(shown), [f"{values[index]:g}" for index in shown]


def _unevenness(values: Sequence[float]) -> float:
    gaps = [after - before for before, after in itertools.pairwise(values)]
    return max(gaps) / statistics.mean(gaps)


def _label(ax: Axes, image: Any, cells: np.ndarray) -> None:
    """Write values into the cells, if there is room."""
    if max(cells.shape) > _SHOWN:
        return
    for (row, column), value in _numbers(cells):
        red, green, blue, _ = image.to_rgba(value)
        colour = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        digits = 1 if abs(value) >= 100 else 2
        ax.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=colour, size=8)


def _numbers(cells: np.ndarray) -> Iterator[tuple[tuple[int, ...], float]]:
    return ((place, value) for place, value in np.ndenumerate(cells) if not math.isnan(value))
