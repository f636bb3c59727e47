"""Which differences between runs the data settle, at 95 %.

Runs of several seeds are told apart by Welch's t-test on the seeds; a run of one seed is taken to vary as the
other one does (Student's t-test). Where there is no variation over seeds to go by, the standard errors of the
test samples decide, as far as metrics have any. Runs are judged on the same test samples, but how each sample
fares is not stored: they are treated as independent, so that rather too few differences are settled.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from mmjsd.evaluation.keys import error_key

__all__ = [
    "LEVEL",
    "Difference",
    "Measured",
    "bars_of",
    "best",
    "difference",
    "digits_of",
    "holm",
    "meaning_of_bold",
    "over_seeds",
    "written",
]

LEVEL = 0.95
"""The confidence."""


class Measured(NamedTuple):
    """A metric of a run."""

    values: Sequence[float]
    """Of each seed that has a finite one."""
    error: float | None = None
    """Standard error of the test samples, at most; None where it is not known."""

    @property
    def mean(self) -> float:
        """Over the seeds, of which there is at least one."""
        return statistics.mean(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; of one seed the standard error, NaN if it is not known."""
        if len(self.values) > 1:
            return statistics.stdev(self.values)
        return math.nan if self.error is None else self.error

    @property
    def margin(self) -> float:
        """Half of the interval of the mean, with the confidence LEVEL; NaN if nothing tells it."""
        number = len(self.values)
        if number > 1:
            return float(stats.t.ppf((1 + LEVEL) / 2, number - 1)) * self.spread / math.sqrt(number)
        return float(stats.norm.ppf((1 + LEVEL) / 2)) * self.spread


def over_seeds(of_seeds: Sequence[Mapping[str, Any]], key: str) -> Measured:
    """Collect a metric of a run from the metrics of its seeds."""

    def finite(name: str) -> list[float]:
        found = (metrics.get(name) for metrics in of_seeds)
        return [value for value in found if isinstance(value, (int, float)) and math.isfinite(value)]

    values, errors = finite(key), finite(error_key(key))
    # the seeds share their test samples, so the error of their mean may be as large as the mean of theirs
    return Measured(values, statistics.mean(errors) if values and len(errors) == len(values) else None)


def digits_of(runs: Sequence[Measured]) -> int:
    """Tell how many decimals numbers have that are to be compared."""
    return 1 if any(abs(run.mean) >= 100 for run in runs if run.values) else 3


def written(runs: Sequence[Measured]) -> list[str]:
    """Write mean and, of several seeds, standard deviation; nothing of a run without values."""
    digits = digits_of(runs)
    means = [f"{run.mean:.{digits}f}" if run.values else "" for run in runs]
    return [
        f"{mean} ± {run.spread:.{digits}f}" if len(run.values) > 1 else mean
        for mean, run in zip(means, runs, strict=True)
    ]


class Difference(NamedTuple):
    """By how much a metric of one run exceeds that of another."""

    value: float
    error: float
    """Its standard error; NaN if nothing tells it."""
    freedom: float = math.inf
    """Degrees of freedom of that; infinite where it comes from the test samples."""

    @property
    def p(self) -> float:
        """The probability of a difference as large between equal runs; NaN if nothing tells it."""
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))

    @property
    def interval(self) -> tuple[float, float]:
        """Where it lies, with the confidence LEVEL; NaN if nothing tells it."""
        low, high = stats.t.interval(LEVEL, self.freedom, self.value, self.error)
        return float(low), float(high)


def difference(first: Measured, second: Measured) -> Difference:
    """Compute the difference of the means of two runs, each of one seed at least."""
    value = first.mean - second.mean
    counts = [len(run.values) for run in (first, second)]
    variances = [run.spread**2 if len(run.values) > 1 else 0.0 for run in (first, second)]
    if not any(variances):  # of one seed each, or of seeds that are all alike
        known = None not in (first.error, second.error)
        error = math.hypot(first.error or 0, second.error or 0) if known else 0.0
        return Difference(value, error or math.nan)
    if min(counts) == 1:
        (variance,) = filter(None, variances)
        return Difference(value, math.sqrt(variance * sum(1 / n for n in counts)), max(counts) - 1)
    parts = [variance / n for variance, n in zip(variances, counts, strict=True)]
    shares = [part / sum(parts) for part in parts]
    freedom = 1 / sum(share**2 / (n - 1) for share, n in zip(shares, counts, strict=True))
    return Difference(value, math.sqrt(sum(parts)), freedom)


def best(runs: Sequence[Measured], *, less: bool = False) -> list[bool]:
    """Tell which runs are the best, or cannot be told from it; none if it is told from no other.

    The p-values of all others against the best are adjusted for their number: else of ten equal runs one or
    more would be told from the best in half of the tables.

    Args:
        runs: of which some may have no value.
        less: whether less is better.
    """
    known = [run for run in runs if run.values]
    if len(known) < 2:
        return [False] * len(runs)
    top = (min if less else max)(known, key=lambda run: run.mean)
    chances = holm([difference(top, run).p if run.values and run is not top else math.nan for run in runs])
    settled = [chance < 1 - LEVEL for chance in chances]  # of NaN it is not
    return [any(settled) and bool(run.values) and not worse for run, worse in zip(runs, settled, strict=True)]


def holm(chances: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (S. Holm, Scandinavian Journal of Statistics 6(2), 1979).

    The probability that any difference is taken for real that is not is then at most that of one alone. NaN
    stays, and does not count.
    """
    order = sorted((chance, place) for place, chance in enumerate(chances) if math.isfinite(chance))
    adjusted, least = [math.nan] * len(chances), 0.0
    for before, (chance, place) in enumerate(order):
        least = max(least, min(1.0, (len(order) - before) * chance))
        adjusted[place] = least
    return adjusted


def meaning_of_bold(seeds: int) -> str:
    """Say what bold numbers of tables mean, of runs of so many seeds."""
    if seeds > 1:
        return (
            "Bold: the best, and all that Welch's t-test on the seeds cannot tell from it (95 %, adjusted "
            "for the number of runs). Where nothing is bold, nothing is settled: no run is told from the "
            "best."
        )
    return (
        "Bold: the best, and all that the standard error of the test samples cannot tell from it (95 %, "
        "adjusted for the number of runs). Where nothing is bold, nothing is settled: no run is told "
        "from the best, or no standard error is known. One seed does not show how training varies."
    )


def bars_of(seeds: int) -> str:
    """Say what the bars of figures are, of runs of so many seeds."""
    if seeds > 1:
        return f"bars: one standard deviation over {seeds} seeds"
    return "bars: one standard error of the test samples, where it is known"
