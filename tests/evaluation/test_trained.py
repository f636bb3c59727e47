import json

import numpy as np
import pytest
import torch

from mmjsd.data.store import Split, Table
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.running import evaluate
from mmjsd.evaluation.trained import load_judged, load_trained
from mmjsd.params import make_evaluation
from mmjsd.reporting.catalogue import run_figures
from mmjsd.training.loop import train
from support.samples import make_run, make_store, written


def test_another_store_is_refused_unless_told_to(store, results, tmp_path):
    other = make_store(tmp_path / "other.h5", missing=0.1)
    with pytest.raises(MmjsdError, match=r"model.safetensors: was trained on another store than .*other\.h5"):
        load_trained(results / "run", other)
    assert len(load_trained(results / "run", other, other_data=True).test) == 60
    assert load_trained(results / "run", store).name == "tiny"


def test_training_samples_are_the_first_of_a_random_order(store, results):
    trained = load_trained(results / "run", store)
    few, more = trained.train(10), trained.train(10**6)
    assert (len(few), len(more)) == (10, 120)
    assert torch.equal(few.labels, more.labels[:10])
    assert few.labels.tolist() != store.splits["train"].labels[:10].tolist()


def test_classifiers_are_loaded_with_what_they_score(store, results, tmp_path):
    judged = load_judged(results / "run", store, results / "classifiers")
    assert list(judged.classifiers) == ["mnist", "svhn", "text"]
    assert list(judged.classifier_scores) == ["accuracy/mnist", "accuracy/svhn", "accuracy/text"]
    assert judged.classifier_scores["accuracy/text"] == 1.0
    assert judged.folder == results / "run"
    with pytest.raises(MmjsdError, match=r"mnist.model.safetensors: no such file; train it .*mmjsd classify"):
        load_judged(results / "run", store, tmp_path)


@pytest.mark.parametrize(("which", "number"), [("auto", 28), ("all", 63)])
def test_metrics_and_figures_are_of_the_same_subsets(tmp_path, which, number):
    """Of six modalities."""
    rng = np.random.default_rng(0)
    names = tuple(f"m{index}" for index in range(6))
    pairs = np.repeat(np.arange(20, dtype=np.int32)[:, None], 6, axis=1)
    tables = {name: Table("vector", rng.standard_normal((20, 3), np.float32)) for name in names}
    split = Split(tables, pairs)
    store = written(tmp_path / "six.h5", "own", [], {"train": split, "test": split})
    train(make_run(epochs=1, network_width=0.05, learn_weights=True), store, tmp_path, name="six", seed=1)
    options = make_evaluation(subsets=which, threads=1)
    evaluate(tmp_path, store, tmp_path, options, only=["prediction"])
    metrics = json.loads((tmp_path / "metrics.json").read_bytes())
    given = {key.split("/")[1] for key in metrics if key.startswith("prediction/")} - {"mean"}
    drawn = run_figures(names, subspaces=False, labels=None, all_subsets=options.all_subsets)
    assert given == {name.removeprefix("conditional-") for name in drawn if name.startswith("conditional")}
    assert len(given) == number
    weights = {k.removeprefix("meta/weight/"): v for k, v in metrics.items() if k.startswith("meta/weight/")}
    assert list(weights) == [*names, "prior"]
    assert sum(weights.values()) == pytest.approx(1)
