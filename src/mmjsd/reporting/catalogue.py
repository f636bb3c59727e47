"""Which figures there are, by name, in the order they are shown."""

from collections.abc import Sequence

from mmjsd.subsets import name_of, subsets

__all__ = ["CAPTIONS", "dataset_figures", "run_figures"]

CAPTIONS = "captions.json"
"""Beside the figures of a folder: file name -> caption."""


def run_figures(modalities: Sequence[str], subspaces: bool, attributes: bool) -> list[str]:
    """Names of the figures of a run, without ending."""
    given = [f"conditional-{name_of(subset)}" for subset in subsets(modalities)]
    swapping = ["swapping"] if subspaces else []
    of_attributes = ["attributes", "manipulation"] if attributes else []
    others = ["reconstructions", "interpolation", "latents"]
    return ["random", *given, "scores", *of_attributes, *swapping, *others]


def dataset_figures(embedding: str) -> list[str]:
    """Names of the figures that compare the runs of a dataset, without ending."""
    return [f"prd-{embedding}", "training"]
