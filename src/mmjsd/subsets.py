"""Subsets of modalities, what is generated given each, and their names in metrics and file names."""

import itertools
import random
from collections.abc import Iterator, Sequence

__all__ = ["MOST", "name_of", "subsets", "targets"]

MOST = 10
"""Modalities of which all subsets can be asked for: they have 1,023."""

#: Modalities of which all subsets are looked at, and how many of a size, and targets of each, are of more.
_ALL, _SOME = 5, 5


def subsets(modalities: Sequence[str], *, all_subsets: bool = False) -> Iterator[tuple[str, ...]]:
    """Give the subsets that are looked at, small ones first, modalities in the order of the store.

    All but the empty one. Of more than five modalities each one, all but each one, all, and at each size
    between five, always the same: their number grows in proportion to that of the modalities.

    Args:
        modalities: in the order of the store.
        all_subsets: give all of them nevertheless, 2^M - 1.
    """
    count = len(modalities)
    drawn = random.Random(count)  # of what they are called nothing depends
    for size in range(1, count + 1):
        if all_subsets or count <= _ALL or size in (1, count - 1, count):
            yield from itertools.combinations(modalities, size)
            continue
        chosen: set[tuple[int, ...]] = set()
        while len(chosen) < _SOME:
            chosen.add(tuple(sorted(drawn.sample(range(count), size))))
        yield from (tuple(modalities[place] for place in places) for places in sorted(chosen))


def targets(
    subset: tuple[str, ...], modalities: Sequence[str], *, all_subsets: bool = False
) -> tuple[str, ...]:
    """Give the modalities that are generated given a subset, in the order of the store.

    All; but of more than five modalities five of the subset and five others at most, always the same, unless
    the subset is all of them: what all subsets are given together grows in proportion to their number, too.

    Args:
        subset: of the modalities.
        modalities: in the order of the store.
        all_subsets: give all of them nevertheless.
    """
    count = len(modalities)
    if all_subsets or count <= _ALL or len(subset) == count:
        return tuple(modalities)
    places = [place for place, name in enumerate(modalities) if name in subset]
    drawn = random.Random(repr((count, places)))  # of what they are called nothing depends
    others = [place for place in range(count) if place not in places]
    chosen = [drawn.sample(some, min(_SOME, len(some))) for some in (places, others)]
    return tuple(modalities[place] for place in sorted(itertools.chain(*chosen)))


def name_of(subset: tuple[str, ...]) -> str:
    """Of a subset: its modalities joined by `-`."""
    return "-".join(subset)
