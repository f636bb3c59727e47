"""What metrics are called.

The keys of a metric start with its name in the registry, `<metric>/...`, those of its standard errors with
`<metric>_error/...`. Where samples have attributes, `attributes/<attribute>/<metric>/...` is of each of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmjsd.models.scorers import Score

__all__ = ["ATTRIBUTES", "CHANCE", "CLASSES", "KIND", "MISSING", "SAMPLES", "error_key", "metric_of", "named"]

ATTRIBUTES = "attributes/"

CHANCE = "meta/chance"
"""What one and the same answer to all test samples scores."""

CLASSES = "meta/classes"
"""The number of classes, or of attributes."""

KIND = "meta/kind/"
"""Start of the keys that tell the kind of each modality."""

SAMPLES = "meta/samples/"
"""Start of the keys that tell how many samples each split has."""

MISSING = "meta/missing/"
"""Start of the keys `meta/missing/<split>/<modality>`: the share of its samples that lack a modality."""


def named(score: "Score", key: str, column: str) -> dict[str, float]:
    """Name a score, its error, and what it is of each attribute: `attributes/<attribute>/<column>`."""
    error = {} if score.error is None else {error_key(key): score.error}
    each = {f"{ATTRIBUTES}{name}/{column}": value for name, value in score.each.items()}
    return {key: score.value, **error, **each}


def error_key(key: str) -> str:
    """Tell the key of the standard error of a metric."""
    metric, _, rest = key.partition("/")
    return f"{metric}_error/{rest}"


def metric_of(key: str) -> str:
    """Tell the metric that a key is of, as the registry has it."""
    if key.startswith(ATTRIBUTES):
        key = key.removeprefix(ATTRIBUTES).partition("/")[2]
    return key.partition("/")[0].removesuffix("_error")
