"""Which figures there are, what draws each and which runs have it, in the order they are shown.

A new figure is a function that draws it and a line here.
"""

import importlib
import itertools
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mmjsd.subsets import name_of, subsets

__all__ = ["CAPTIONS", "Entry", "dataset_figures", "is_shown_at_once", "run_figures"]

CAPTIONS = "captions.json"
"""Beside the figures of a folder: file name -> caption."""


class Entry(NamedTuple):
    """A figure."""

    name: str
    """Without ending. With `{given}` there is one for each subset of modalities."""
    maker: str
    """`module:function` that draws it."""
    only: Literal["labels", "attributes", "subspaces", "vectors", "mixture"] | None = None
    """What the data, the run or the evaluation must have."""
    samples: int = 0
    """How many test samples it needs of which the subset, or every modality, is there."""
    given: tuple[str, ...] = ()
    """The subset."""
    swept: tuple[str, ...] = ()
    """A sweep and the one or two numbers of it that the figure is of."""

    @property
    def module(self) -> str:
        """The module that draws it."""
        return self.maker.partition(":")[0]

    def load(self) -> Callable[..., Any]:
        """Import what draws it."""
        return getattr(importlib.import_module(self.module), self.maker.partition(":")[2])


_RUN = (
    Entry("random", "mmjsd.reporting.samples:random"),
    Entry("random_mixture", "mmjsd.reporting.samples:random_mixture", only="mixture"),
    Entry("conditional-{given}", "mmjsd.reporting.samples:conditional", samples=1),
    Entry("scores", "mmjsd.reporting.scores:scores", only="labels"),
    Entry("prediction-by-column", "mmjsd.reporting.prediction:by_column", only="vectors", samples=2),
    Entry("prediction", "mmjsd.reporting.prediction:true_and_predicted", only="vectors", samples=2),
    Entry("attributes", "mmjsd.reporting.attributes:attributes", only="attributes"),
    Entry("manipulation", "mmjsd.reporting.attributes:manipulation", only="attributes", samples=1),
    Entry("swapping", "mmjsd.reporting.samples:swapping", only="subspaces", samples=1),
    Entry("reconstructions", "mmjsd.reporting.samples:reconstructions", samples=1),
    Entry("interpolation", "mmjsd.reporting.samples:interpolation", samples=2),
    Entry("latents", "mmjsd.reporting.latents:latents", samples=2),
)

_DATASET = (
    Entry("coherence", "mmjsd.reporting.views:coherence", only="labels"),
    Entry("prd-{embedding}", "mmjsd.reporting.curves:precision_recall"),
    Entry("training", "mmjsd.reporting.curves:training"),
)


#: Of a sweep, by how many of its numbers.
_SWEEP = {
    1: Entry("sweep-{keys}-of-{sweep}", "mmjsd.reporting.sweeps:against"),
    2: Entry("sweep-{keys}-of-{sweep}", "mmjsd.reporting.sweeps:over"),
}


@cache  # of thousands of runs there are few kinds
def run_figures(
    modalities: tuple[str, ...],
    *,
    subspaces: bool,
    labels: str | None,
    vectors: bool = False,
    mixture: bool = False,
    all_subsets: bool = False,
) -> Mapping[str, Entry]:
    """List the figures of a run by name.

    Args:
        modalities: in the order of the store.
        subspaces: whether it has private latents.
        labels: what its samples have: a `class`, `attributes` or nothing.
        vectors: whether some of the modalities are.
        mixture: whether random samples are from a mixture, too.
        all_subsets: whether all subsets are looked at, however many modalities there are.
    """
    has = {None: True, "labels": labels is not None, "attributes": labels == "attributes"}
    has |= {"subspaces": subspaces, "vectors": vectors, "mixture": mixture}
    found = [entry for entry in _RUN if has[entry.only]]
    looked_at = list(subsets(modalities, all_subsets=all_subsets))
    given = {entry: looked_at if "{given}" in entry.name else [()] for entry in found}
    named = [
        entry._replace(name=entry.name.replace("{given}", name_of(subset)), given=subset)
        for entry in found
        for subset in given[entry]
    ]
    return MappingProxyType({entry.name: entry for entry in named})


def dataset_figures(
    embedding: str,
    sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    labels: str | None = None,
) -> dict[str, Entry]:
    """List the figures that compare the runs of a dataset by name.

    Args:
        embedding: in which images are compared.
        sweeps: of its runs: sweep -> run -> varied key -> value.
        labels: what its samples have: a `class`, `attributes` or nothing.
    """
    entries = [entry for entry in _DATASET if labels or entry.only is None]
    found = {entry.name.replace("{embedding}", embedding): entry for entry in entries}
    for sweep, runs in (sweeps or {}).items():
        for number, entry in _SWEEP.items():
            for keys in itertools.combinations(swept_numbers(runs), number):
                name = entry.name.format(keys="-".join(keys), sweep=sweep)  # no key has a hyphen
                found[name] = entry._replace(name=name, swept=(sweep, *keys))
    return found


def swept_numbers(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List the keys of which the runs of a sweep have several values, all of them numbers."""
    values: dict[str, set[Any]] = {}
    for of_run in runs.values():
        for key, value in of_run.items():
            values.setdefault(key, set()).add(value)
    return [
        key
        for key, found in values.items()
        if len(found) > 1 and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found)
    ]


def is_shown_at_once(name: str) -> bool:
    """Tell whether the report shows a figure of a run at once; the others fold out."""
    given = name.removeprefix("conditional-")
    always = ("random", "random_mixture", "scores", "prediction-by-column")
    return name in always or (given != name and "-" not in given)
