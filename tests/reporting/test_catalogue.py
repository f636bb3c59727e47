import inspect

import pytest

from mmjsd.reporting.catalogue import dataset_figures, is_shown_at_once, run_figures


def test_the_figures_of_a_run_depend_on_its_subspaces_and_labels():
    given = ["conditional-a", "conditional-b", "conditional-a-b"]
    others = ["reconstructions", "interpolation", "latents"]

    def names(**options):
        return list(run_figures(("a", "b"), **options))

    assert names(subspaces=False, labels="class") == ["random", *given, "scores", *others]
    assert names(subspaces=True, labels="class") == ["random", *given, "scores", "swapping", *others]
    of_attributes = ["scores", "attributes", "manipulation", "swapping"]
    assert names(subspaces=True, labels="attributes") == ["random", *given, *of_attributes, *others]
    assert names(subspaces=False, labels=None) == ["random", *given, *others]
    assert names(subspaces=False, labels=None, mixture=True) == ["random", "random_mixture", *given, *others]
    predicted = ["prediction-by-column", "prediction"]
    assert names(subspaces=False, labels=None, vectors=True) == ["random", *given, *predicted, *others]


def test_each_figure_of_a_subset_is_of_its_own():
    found = run_figures(("a", "b"), subspaces=True, labels="attributes")
    assert {name: entry.given for name, entry in found.items() if entry.given} == {
        "conditional-a": ("a",),
        "conditional-b": ("b",),
        "conditional-a-b": ("a", "b"),
    }


def test_the_figures_of_a_dataset_depend_on_its_labels():
    assert list(dataset_figures("inception")) == ["prd-inception", "training"]
    assert list(dataset_figures("inception", labels="class")) == ["coherence", "prd-inception", "training"]


@pytest.mark.parametrize(
    "entries",
    [
        run_figures(("a", "b"), subspaces=True, labels="attributes", vectors=True, mixture=True),
        dataset_figures("inception", labels="class"),
    ],
)
def test_there_is_a_function_that_draws_each(entries):
    for name, entry in entries.items():
        assert "{" not in name
        assert len(inspect.signature(entry.load()).parameters) == 1


def test_few_are_shown_at_once():
    names = run_figures(("a", "b"), subspaces=True, labels="attributes", mixture=True)
    assert [name for name in names if is_shown_at_once(name)] == [
        "random",
        "random_mixture",
        "conditional-a",
        "conditional-b",
        "scores",
    ]
