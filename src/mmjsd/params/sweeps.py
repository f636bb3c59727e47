"""Sweeps: runs that differ in some keys, one for each combination of the values of these."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["MOST", "Choice", "choices", "excluding", "name_of", "number_of", "same", "written"]

MOST = 10_000
"""Combinations of all sweeps of a file, those that are excluded among them."""

Choice = dict[str, int]
"""One combination: key -> index of its value, keys in alphabetical order."""


def number_of(vary: Mapping[str, Sequence[Any]]) -> int:
    """Count the combinations."""
    return math.prod(map(len, vary.values()))


def choices(vary: Mapping[str, Sequence[Any]]) -> Iterator[Choice]:
    """Give all combinations, the last key changing fastest."""
    keys = sorted(vary)
    for indices in itertools.product(*(range(len(vary[key])) for key in keys)):
        yield dict(zip(keys, indices, strict=True))


def excluding(
    vary: Mapping[str, Sequence[Any]], exclude: Sequence[Mapping[str, Any]]
) -> tuple[list[Choice], list[int]]:
    """Leave out the combinations that have all the values of an entry.

    Returns:
        The combinations that are left, and the indices of entries that no combination needed to be left out.
    """
    # looked up by their keys: thousands of entries cost no more than their kinds
    kinds: dict[tuple[str, ...], dict[tuple[Any, ...], int]] = {}
    for index, entry in enumerate(exclude):
        keys = tuple(sorted(entry))
        kinds.setdefault(keys, {}).setdefault(tuple(same(entry[key]) for key in keys), index)
    left, used = [], set()
    for choice in choices(vary):
        values = {key: same(vary[key][index]) for key, index in choice.items()}
        found = [known.get(tuple(values[key] for key in keys)) for keys, known in kinds.items()]
        entries = {index for index in found if index is not None}
        used |= entries
        if not entries:
            left.append(choice)
    return left, [index for index in range(len(exclude)) if index not in used]


def same(value: Any) -> tuple[bool, Any]:
    """Give what values have in common that are the same in a parameter file: 1 and 1.0, not 1 and true."""
    return isinstance(value, bool), value


def name_of(sweep: str, values: Mapping[str, Any]) -> str:
    """Name the run of a sweep with these values, by keys in alphabetical order: digits-beta=1.0-epochs=4."""
    return "-".join([sweep, *(f"{key}={written(values[key])}" for key in sorted(values))])


def written(value: Any) -> str:
    """Write a number, boolean or text as in a name."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("+", "") if isinstance(value, float) else str(value)
