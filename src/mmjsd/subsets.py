"""Subsets of modalities, and their names in metrics and file names."""

import itertools
from collections.abc import Iterator, Sequence

__all__ = ["name_of", "subsets"]


def subsets(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All subsets but the empty one, small ones first, modalities in the order of the store."""
    for size in range(1, len(modalities) + 1):
        yield from itertools.combinations(modalities, size)


def name_of(subset: tuple[str, ...]) -> str:
    """Of a subset: its modalities joined by `-`."""
    return "-".join(subset)
