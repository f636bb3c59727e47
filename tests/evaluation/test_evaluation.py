import json

import numpy as np
import pytest
import torch

from conftest import make_run
from mmjsd import params
from mmjsd.data.batches import ResidentSplit
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import coherence, evaluate, representation, subsets
from mmjsd.evaluation.generation import generate_picture
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.classifiers import load_classifier, train_classifier
from mmjsd.training import load_model, train

CPU = torch.device("cpu")
QUICK = params.Evaluation(train_samples=100, random_samples=200)


@pytest.fixture(scope="module")
def results(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for modality in store.modalities:
        train_classifier(store, modality, folder / "classifiers" / modality, epochs=3, seed=1)
    train(make_run(epochs=20, learning_rate=2e-3), store, folder / "run", name="tiny", seed=1)
    return folder


def test_subsets():
    assert ["-".join(s) for s in subsets("abc")] == ["a", "b", "c", "a-b", "a-c", "b-c", "a-b-c"]


def test_metrics_file(store, results):
    evaluate(results / "run", store, results / "classifiers", QUICK)
    first = json.loads((results / "run/metrics.json").read_text())
    assert sum(key.startswith("coherence/conditional/") for key in first) == 7 * 3 + 1
    assert sum(key.startswith("representation/accuracy/") for key in first) == 7 + 1
    assert first["coherence/conditional/mean"] == pytest.approx(
        np.mean([v for k, v in first.items() if k.count("/") == 3 and k.startswith("coherence/conditional")])
    )
    assert first["meta/data_source"] == "standin"
    assert first["representation/accuracy/text"] > 0.5  # the data are easy: classes differ in every modality
    evaluate(results / "run", store, results / "classifiers", QUICK)
    again = json.loads((results / "run/metrics.json").read_text())
    assert {k: v for k, v in first.items() if "seconds" not in k} == {
        k: v for k, v in again.items() if "seconds" not in k
    }


def test_evaluates_gaps(store_with_gaps, results):
    model, _ = load_model(results / "run")
    test = UnimodalPosteriors(model, ResidentSplit(store_with_gaps.splits["test"], CPU))
    pairs = store_with_gaps.splits["test"].pairs
    samples = test.complete(("mnist", "svhn"))
    assert samples.tolist() == np.flatnonzero((pairs[:, :2] >= 0).all(1)).tolist()
    assert 0 <= representation.accuracy(test, test, ("mnist", "svhn")) <= 1


def test_posteriors_of_rows_are_those_of_the_samples(store, results):
    model, _ = load_model(results / "run")
    split = ResidentSplit(store.splits["test"], CPU)
    samples = torch.tensor([3, 40, 3])
    values = split.batch(samples).values
    posteriors = UnimodalPosteriors(model, split, chunk=7)
    for subset in subsets(tuple(model.modalities)):
        experts = model.encode({name: values[name] for name in subset}).shared
        torch.testing.assert_close(
            posteriors.posterior(subset, samples).mean,
            model.posterior(experts, subset).mean,
            atol=1e-5,
            rtol=1e-4,
        )


def test_random_coherence_needs_all_to_agree():
    """The reference counts three different answers as agreement."""
    predicted = torch.tensor([[1, 1, 2], [1, 2, 2], [1, 3, 1]])
    assert coherence.agreement(predicted).tolist() == [True, False, False]
    chance = coherence.agreement(torch.randint(10, (3, 100_000))).float().mean()
    assert chance.item() == pytest.approx(0.01, abs=0.002)


class Oracle(torch.nn.Module):
    """Says the class it finds at a given place of the generated sample."""

    def forward(self, x):
        return torch.nn.functional.one_hot(x.flatten(1)[:, 0].long(), 10).float()


def test_conditional_coherence_is_the_share_of_right_classes(store, results, monkeypatch):
    model, _ = load_model(results / "run")
    test = UnimodalPosteriors(model, ResidentSplit(store.splits["test"], CPU))
    labels = test.labels
    wrong = labels.clone()
    wrong[:15] = (wrong[:15] + 1) % 10
    monkeypatch.setattr(model, "generate_from", lambda c: {"mnist": labels[:, None], "svhn": wrong[:, None]})
    oracles = {"mnist": Oracle(), "svhn": Oracle()}
    found = coherence.conditional(model, oracles, test, ("text",))
    assert found == {"mnist": 1.0, "svhn": 0.75}
    assert coherence.random(model, oracles, 60) == 0.75


def test_classifier_is_in_eval_mode_and_as_good_as_it_says(store, results):
    classifier, accuracy = load_classifier(results / "classifiers/text", CPU)
    assert not classifier.training
    table = store.splits["test"].modalities["text"]
    with torch.no_grad():
        found = classifier(torch.tensor(table.data).long()).argmax(1) == torch.tensor(table.labels)
    assert found.float().mean().item() == accuracy == 1.0


def test_text_classifier_reads_probabilities(store, results):
    classifier, _ = load_classifier(results / "classifiers/text", CPU)
    ids = torch.tensor(store.splits["test"].modalities["text"].data).long()
    torch.testing.assert_close(classifier(torch.nn.functional.one_hot(ids, 70).float()), classifier(ids))


def test_refuses_missing_pieces(store, results, tmp_path):
    with pytest.raises(MmjsdError, match=r"model\.pt: no such file; train the run"):
        evaluate(tmp_path, store, results / "classifiers", QUICK)
    with pytest.raises(MmjsdError, match=r"mnist.model.pt: no such file; train it .*mmjsd classify"):
        evaluate(results / "run", store, tmp_path, QUICK)


def test_picture(results, tmp_path):
    image = tmp_path / "seven.png"
    generate_picture(results / "run", {"text": "seven"}, 16, image)
    first = image.read_bytes()
    assert first.startswith(b"\x89PNG")
    generate_picture(results / "run", {"text": "seven"}, 16, image)
    assert image.read_bytes() == first
    generate_picture(results / "run", {}, 3, image)
    assert image.read_bytes() != first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sound": "x"}, "no such modality; it has mnist, svhn, text"),
        ({"text": "seventeen"}, "must be 1 to 8 characters"),
        ({"text": "Ü"}, "of the alphabet"),
        ({"mnist": "nowhere.png"}, "nowhere.png: no such image file"),
    ],
)
def test_picture_refuses(results, tmp_path, given, message):
    with pytest.raises(MmjsdError, match=message):
        generate_picture(results / "run", given, 4, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
