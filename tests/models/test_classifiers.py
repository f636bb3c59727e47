import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from mmjsd.data.store import Split
from mmjsd.modalities import Modality
from mmjsd.models.classifiers import held_out, load_classifier, train_classifier
from support.training import train_judges_briefly

CPU = torch.device("cpu")
MNIST = Modality("mnist", "image", (1, 28, 28), 784)
TEXT = Modality("text", "text", (8,), 8)


def test_classifier_is_in_eval_mode_and_as_good_as_it_says(store, results):
    classifier, accuracy = load_classifier(results / "classifiers/text", TEXT, 10, CPU)
    assert not classifier.training
    table = store.splits["test"].modalities["text"]
    with torch.no_grad():
        found = classifier(torch.tensor(table.data).long()).argmax(1) == torch.tensor(table.labels)
    assert found.float().mean().item() == accuracy == 1.0


def test_text_classifier_reads_probabilities(store, results):
    classifier, _ = load_classifier(results / "classifiers/text", TEXT, 10, CPU)
    ids = torch.tensor(store.splits["test"].modalities["text"].data).long()
    torch.testing.assert_close(classifier(torch.nn.functional.one_hot(ids, 70).float()), classifier(ids))


def test_attributes_that_no_test_item_has_leave_no_score(store, tmp_path, monkeypatch):
    train_judges_briefly(monkeypatch)

    def with_attributes(split, present):
        labels = np.full((len(split.pairs), 10), present, np.uint8)
        tables = {"mnist": dataclasses.replace(split.modalities["mnist"], labels=labels)}
        return Split(tables, split.pairs[:, :1], labels)

    splits = {name: with_attributes(split, name == "train") for name, split in store.splits.items()}
    train_classifier(dataclasses.replace(store, splits=splits), "mnist", tmp_path, epochs=1, seed=0)
    assert json.loads((tmp_path / "metrics.json").read_bytes(), parse_constant=pytest.fail) == {}
    _, score = load_classifier(tmp_path, MNIST, 10, CPU)
    assert math.isnan(score)


def test_a_tenth_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2, 3], [100, 59, 20, 19])
    chosen = held_out(labels, seed=1)
    assert np.bincount(labels[chosen], minlength=4).tolist() == [10, 5, 2, 0]
    assert (chosen == held_out(labels, seed=1)).all()
    assert (chosen != held_out(labels, seed=2)).any()
    assert held_out(np.zeros((45, 7), np.uint8), seed=1).sum() == 4  # of attributes


@pytest.mark.parametrize(
    ("rows", "most", "spent", "told"),
    [
        ("easy", 40, 3, "held-out accuracy 1.0000"),
        ("alike", 40, 3 + 6, "held-out accuracy 0.5000"),
        ("few", 6, 6, "at most, loss"),
    ],
)
def test_training_stops_once_nothing_improves(store, tmp_path, capsys, rows, most, spent, told):
    """Where all is learnt; after a cycle no better than the one before; of few rows while the loss falls."""
    split = store.splits["train"]
    table = split.modalities["text"]
    easy = dataclasses.replace(table, data=np.tile(table.data, (20, 1)), labels=np.tile(table.labels, 20))
    alike = dataclasses.replace(table, data=np.zeros((60, 8), np.uint8), labels=np.arange(60) % 2)
    tables = {**split.modalities, "text": {"easy": easy, "alike": alike, "few": table}[rows]}
    splits = {**store.splits, "train": Split(tables, split.pairs, split.labels)}
    train_classifier(dataclasses.replace(store, splits=splits), "text", tmp_path, epochs=most, seed=1)
    epochs = [line for line in capsys.readouterr().out.splitlines() if ": epoch " in line]
    assert len(epochs) == spent
    assert told in epochs[-1]
