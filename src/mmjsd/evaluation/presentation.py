"""How metrics are presented: what their modules say of them, read without importing torch."""

import re
import statistics
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from mmjsd import registry
from mmjsd.evaluation.keys import CHANCE, KIND, error_key

__all__ = ["Presentation", "chance_of", "headline", "is_better_the_less", "presentations", "with_summaries"]


class Presentation(NamedTuple):
    """What the module of a metric says of it, by constants of the names in capitals; none is needed."""

    name: str
    """In the registry; the first part of its keys."""
    title: str
    """TITLE: of its table."""
    reading: str
    """READING: how its values are read; `{embedding}` in it is replaced by that of the images, `{judges}` by
    how good the classifiers are on real data."""
    headline: Mapping[str, str]
    """HEADLINE: title of a column of the first table -> key."""
    summaries: Mapping[str, str]
    """SUMMARIES: key that metrics.json lacks and the headline has -> pattern of the keys whose mean it is.
    `*` is one part of a key; of subsets, only the largest count."""
    less_is_better: tuple[str, ...]
    """LESS_IS_BETTER: starts of those keys whose values are the better the less they are."""
    by_kind: bool
    """BY_KIND: whether keys end in a modality, the SCORE_IS_ERROR of whose kind says which is better."""
    chance: tuple[str, ...]
    """CHANCE: starts of those keys whose values are `meta/chance` where nothing is told."""
    files: tuple[str, ...]
    """FILES: that it writes into the folder of the run."""


@cache
def presentations() -> tuple[Presentation, ...]:
    """Read how each metric of the registry is presented.

    Raises:
        MmjsdError: the source of one cannot be read.
    """
    found = []
    for name in registry.entries("metrics"):
        constants: dict[str, Any] = {
            "TITLE": name.capitalize(),
            "READING": "",
            "HEADLINE": {},
            "SUMMARIES": {},
        }
        constants |= {"LESS_IS_BETTER": (), "BY_KIND": False, "CHANCE": (), "FILES": ()}
        values = (registry.constant_of("metrics", name, *constant) for constant in constants.items())
        found.append(Presentation(name, *values))
    return tuple(found)


def headline() -> dict[str, str]:
    """List the columns of the first table: title -> key."""
    return {title: key for metric in presentations() for title, key in metric.headline.items()}


def chance_of(key: str, runs: Iterable[Mapping[str, Any]]) -> float | None:
    """Tell what a metric is by chance.

    Args:
        key: of the metric.
        runs: the metrics of some runs, of which old ones may lack it.

    Returns:
        None where that metric has no such level, the runs know of none, or they have several.
    """
    if not any(key.startswith(metric.chance) for metric in presentations()):
        return None
    known = {metrics[CHANCE] for metrics in runs if CHANCE in metrics}
    return known.pop() if len(known) == 1 else None


def is_better_the_less(key: str, metrics: Mapping[str, Any] | None = None) -> bool:
    """Tell whether less is better of a metric; of most, more is.

    Args:
        key: of the metric.
        metrics: of a run that has it, which tell the kinds of its modalities.
    """
    modality = key.rpartition("/")[2].partition("@")[0]
    kind = str((metrics or {}).get(f"{KIND}{modality}"))
    for metric in presentations():
        if key.startswith(metric.less_is_better):
            return True
        if metric.by_kind and key.startswith(f"{metric.name}/") and kind in registry.entries("modalities"):
            return bool(registry.constant_of("modalities", kind, "SCORE_IS_ERROR", False))
    return False


def with_summaries(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the metrics of a run what the headline sums up of them, and its standard errors, at most."""
    known = dict(metrics)
    for metric in presentations():
        for key, pattern in metric.summaries.items():
            if keys := _matching(metrics, pattern):
                known[key] = statistics.mean(metrics[k] for k in keys)
                errors = [metrics[error_key(k)] for k in keys if error_key(k) in metrics]
                if len(errors) == len(keys):  # of values that go together; of others it is less
                    known[error_key(key)] = statistics.mean(errors)
    return known


def _matching(metrics: Mapping[str, Any], pattern: str) -> list[str]:
    """The keys that match, where `*` is a subset only those of the largest."""
    expression = re.compile(re.escape(pattern).replace(r"\*", "([^/@]+)"))
    sizes = {key: found[1].count("-") for key in metrics if (found := expression.fullmatch(key))}
    return [key for key, size in sizes.items() if size == max(sizes.values())]
