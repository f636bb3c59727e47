import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from mmjsd.data.store import Split
from mmjsd.modalities import Modality
from mmjsd.models.classifiers import load_classifier, train_classifier

CPU = torch.device("cpu")
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


def test_attributes_that_no_test_item_has_leave_no_score(store, tmp_path):
    def with_attributes(split, present):
        labels = np.full((len(split.pairs), 10), present, np.uint8)
        tables = {"mnist": dataclasses.replace(split.modalities["mnist"], labels=labels)}
        return Split(tables, split.pairs[:, :1], labels)

    splits = {name: with_attributes(split, name == "train") for name, split in store.splits.items()}
    train_classifier(dataclasses.replace(store, splits=splits), "mnist", tmp_path, epochs=1, seed=0)
    assert json.loads((tmp_path / "metrics.json").read_bytes(), parse_constant=pytest.fail) == {}
    _, score = load_classifier(tmp_path, Modality("mnist", "image", (1, 28, 28), 784), 10, CPU)
    assert math.isnan(score)
