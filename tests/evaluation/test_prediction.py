"""Modalities predicted from each other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from mmjsd import registry
from mmjsd.evaluation.prediction import compute, predictions
from mmjsd.evaluation.presentation import is_better_the_less
from mmjsd.evaluation.trained import load_trained
from mmjsd.modalities import kind_of
from mmjsd.modalities.vector import r_squared
from mmjsd.training.loop import train
from mmjsd.training.model_file import load_model
from support.samples import make_own, make_run


def test_r_squared_is_that_of_scikit_learn_where_it_is_defined() -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 0.1  # the same everywhere
    predicted = x + 0.5
    columns = r_squared(predicted, x)
    assert math.isnan(columns[2])
    defined = [0, 1, 3]
    np.testing.assert_allclose(
        columns[defined], r2_score(x[:, defined], predicted[:, defined], multioutput="raw_values"), rtol=1e-6
    )
    score = kind_of("vector").score
    assert score(predicted, x) == pytest.approx(columns[defined].mean())
    assert score(x.mean(0).expand_as(x), x) == pytest.approx(0, abs=1e-6)
    assert math.isnan(score(predicted[:, 2:3], x[:, 2:3]))
    assert math.isnan(score(predicted[:1], x[:1]))


def test_texts_are_scored_by_characters_and_images_by_squared_errors() -> None:
    ids = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    probabilities = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 9], [4, 5, 9, 9]]), 70).float()
    assert kind_of("text").score(probabilities, ids) == 5 / 8
    pixels = torch.full((2, 1, 3, 3), 0.25)
    assert kind_of("image").score(pixels, pixels + 0.5) == pytest.approx(0.25)


def test_the_kind_of_a_modality_says_which_is_better() -> None:
    metrics = {f"meta/kind/{name}": name for name in registry.entries("modalities")}
    keys = {key: f"prediction/a/{key}" for key in ("image", "text", "vector", "unknown")}
    less = [name for name, key in keys.items() if is_better_the_less(key, metrics)]
    assert less == ["image"]
    assert not is_better_the_less("coherence/conditional/a/image", metrics)


def test_a_modality_is_scored_on_the_samples_that_have_it(store_with_gaps, results, monkeypatch) -> None:
    trained = load_trained(results / "run", store_with_gaps, device="cpu", other_data=True)
    assert compute(trained) == {}  # type: ignore[arg-type]  # needs no classifiers
    trained = replace(trained, scorer=None)  # as of data without labels
    scored = []
    image = kind_of("image")
    monkeypatch.setattr(image, "score", lambda told, x: scored.append((len(told), x)) or 0.25)
    values = compute(trained)  # type: ignore[arg-type]
    assert set(values) == {
        f"prediction/{'-'.join(a)}/{j}" for a in trained.subsets for j in store_with_gaps.modalities
    }
    columns = trained.test.columns
    expected = [
        int(sum((columns[name] >= 0)[trained.test.complete(a)]))
        for a in trained.subsets
        for name in ("mnist", "svhn")
    ]
    assert [count for count, _ in scored] == expected
    assert min(expected) < max(expected) < len(trained.test)


def test_predictions_are_means_and_reproducible(store, results) -> None:
    model, _ = load_model(results / "run")
    trained = load_trained(results / "run", store, device="cpu")
    samples = torch.arange(40)
    spread = {}
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        spread.setdefault(seed, []).append(predictions(trained.test, ("text",), samples, ("svhn",))["svhn"])
    assert torch.equal(*spread[1])
    torch.manual_seed(2)
    c = trained.test.posterior(("text",), samples).rsample()
    one = model.generate_from(c)["svhn"].detach()
    # single samples differ more than means of ten do
    assert (spread[1][0] - spread[2][0]).std() < (one - spread[2][0]).std()


def test_vectors_that_tell_each_other_are_predicted(tmp_path) -> None:
    """The mean is over the subsets that they are no part of; of labelled data nothing else is predicted."""
    store = make_own(tmp_path / "own.h5")
    train(make_run(epochs=1), store, tmp_path / "run", name="own", seed=1)
    trained = load_trained(tmp_path / "run", store, device="cpu")
    values = compute(trained)  # type: ignore[arg-type]
    others = [
        value
        for key, value in values.items()
        if key.endswith("/numbers") and "numbers" not in key.split("/")[1]
    ]
    assert len(others) == 3
    assert {key.rpartition("/")[2] for key in values} == {"numbers", "mean"}
    assert values["prediction/mean"] == pytest.approx(np.mean(others))
