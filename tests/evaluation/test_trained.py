import pytest
import torch

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.trained import load_judged, load_trained
from support.samples import make_store


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
