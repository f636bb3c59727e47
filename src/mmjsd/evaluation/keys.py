"""What metrics are called.

The keys of a metric start with its name in the registry, `<metric>/...`, those of its standard errors with
`<metric>_error/...`. Where samples have attributes, `attributes/<attribute>/<metric>/...` is of each of them.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmjsd.models.scorers import Score

__all__ = ["ATTRIBUTES", "KIND", "mean", "metric_of", "named"]

ATTRIBUTES = "attributes/"

KIND = "meta/kind/"
"""Start of the keys that tell the kind of each modality."""


def named(score: "Score", key: str, column: str) -> dict[str, float]:
    """Name a score: itself `key`, what it is of each attribute `attributes/<attribute>/<column>`."""
    return {key: score.value, **{f"{ATTRIBUTES}{name}/{column}": value for name, value in score.each.items()}}


def mean(values: Collection[float]) -> float:
    """Average values; NaN if one of them is not defined."""
    return sum(values) / len(values)


def metric_of(key: str) -> str:
    """Tell the metric that a key is of, as the registry has it."""
    if key.startswith(ATTRIBUTES):
        key = key.removeprefix(ATTRIBUTES).partition("/")[2]
    return key.partition("/")[0].removesuffix("_error")
