import ast
import dataclasses
import inspect
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mmjsd
from mmjsd import params
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import coherence, evaluate, load_trained, representation
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.quality import precision_recall_distribution
from mmjsd.metrics import read_metrics
from mmjsd.modalities import Modality
from mmjsd.models.classifiers import Classifier, load_classifier, train_classifier
from mmjsd.reporting.figures import draw_run
from mmjsd.reporting.summary import summarise
from mmjsd.reporting.tables import compare
from mmjsd.subsets import subsets
from mmjsd.training.history import read_history
from mmjsd.training.model_file import build_model, load_model
from support.samples import make_run, make_store

CPU = torch.device("cpu")
TEXT = Modality("text", "text", (8,), 8)
QUICK = params.Evaluation(
    train_samples=100, random_samples=200, likelihood_pairs=20, importance_samples=5, threads=1
)


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
    # logged to MLflow beside the curves of training, as files it may be, and a file is no folder
    keys = {*first, *(f"train/{column}" for column in read_history(results / "run/history.csv")[0])}
    assert "meta/evaluation_seconds/total" in keys
    assert [key for key in keys if any(other.startswith(f"{key}/") for other in keys)] == []
    evaluate(results / "run", store, results / "classifiers", QUICK)
    again = json.loads((results / "run/metrics.json").read_text())
    assert {k: v for k, v in first.items() if "seconds" not in k} == {
        k: v for k, v in again.items() if "seconds" not in k
    }


def test_attributes_of_one_modality():
    """There is no other one that could show the same."""
    modality = Modality("image", "image", (3, 32, 32), 3072)
    model = build_model([modality], make_run())
    judge = Classifier(modality, 4).eval()
    assert coherence.random_precisions(model, {"image": judge}, 30).tolist() == pytest.approx(
        [math.nan] * 4, nan_ok=True
    )


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
    posteriors = UnimodalPosteriors(model, split)
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
    generated = {"mnist": labels[:, None], "svhn": wrong[:, None]}
    monkeypatch.setattr(model, "generate_from", lambda *_: generated)
    oracles = {"mnist": Oracle(), "svhn": Oracle()}
    found = coherence.conditional(oracles, test, ("text",))
    assert found == {"mnist": 1.0, "svhn": 0.75}
    assert coherence.random(model, oracles, 60) == 0.75


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


def test_refuses_missing_pieces(store, results, tmp_path):
    with pytest.raises(MmjsdError, match=r"model\.pt: no such file; train the run"):
        evaluate(tmp_path, store, results / "classifiers", QUICK)
    with pytest.raises(MmjsdError, match=r"mnist.model.pt: no such file; train it .*mmjsd classify"):
        evaluate(results / "run", store, tmp_path, QUICK)


def test_another_store_is_refused_unless_told_to(store, results, tmp_path):
    other = make_store(tmp_path / "other.h5", missing=0.1)
    with pytest.raises(MmjsdError, match=r"model\.pt: was trained on another store than .*other\.h5"):
        load_trained(results / "run", other, 10)
    assert len(load_trained(results / "run", other, 10, other_data=True).train) == 10
    assert load_trained(results / "run", store, 10).content["name"] == "tiny"


def test_data_without_labels_are_refused_in_a_line(store, results, tmp_path):
    """By the classifiers, too, which come first; training needs none."""
    splits = {
        name: Split(
            {m: dataclasses.replace(table, labels=None) for m, table in split.modalities.items()}, split.pairs
        )
        for name, split in store.splits.items()
    }
    without = dataclasses.replace(store, path=tmp_path / "data/mine.h5", classes=[], splits=splits)
    for refused in (
        lambda: train_classifier(without, "text", tmp_path / "classifier", epochs=1, seed=1),
        lambda: evaluate(results / "run", without, results / "classifiers", QUICK, other_data=True),
        lambda: load_trained(results / "run", without, 10, other_data=True),
    ):
        with pytest.raises(
            MmjsdError, match=r"^.*data/mine\.h5: its samples have no labels, .*; train on it, or"
        ):
            refused()
    assert not list(tmp_path.iterdir())


def test_a_metric_does_not_depend_on_the_others(store, results, tmp_path):
    """Each is drawn from a fresh seed."""
    found = []
    for quick in (QUICK, QUICK.model_copy(update={"random_samples": 100, "quality_samples": 30})):
        folder = shutil.copytree(results / "run", tmp_path / str(len(found)))
        evaluate(folder, store, results / "classifiers", quick)
        found.append(json.loads((folder / "metrics.json").read_bytes()))
    first, second = ({k: v for k, v in m.items() if k.startswith(("likelihood", "repr"))} for m in found)
    assert first == second
    assert len(first) == 8 + 2 * 7 * 4
    changed = [m["quality/prd_f8/random/svhn"] for m in found]
    assert changed[0] != changed[1]


def strict(path):
    """A JSON file as a strict reader takes it: without NaN and infinities."""
    return json.loads(path.read_bytes(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_defined_is_left_out_of_the_metrics(store, results, tmp_path, monkeypatch, capsys, value):
    """And all that read them can do without."""
    folder = shutil.copytree(results / "run", tmp_path / "run")
    monkeypatch.setattr(coherence, "random", lambda *_: value)
    monkeypatch.setattr(representation, "accuracy", lambda *_: value)
    evaluate(folder, store, results / "classifiers", QUICK)
    metrics = strict(folder / "metrics.json")
    assert "coherence/random" not in metrics
    assert not any(key.startswith("representation/") for key in metrics)
    assert "coherence/conditional/mean" in metrics
    told = capsys.readouterr().out
    assert "conditional coherence 0." in told
    assert f"{folder}/metrics.json: not finite, and so left out: coherence/random, representation/" in told
    if math.isnan(value):  # the file is the same of all
        draw_run(folder, store)
    row = {"dataset": "tiny", "kind": "x", "source": "standin", "run": "js", "seed": 1, "objective": "mmjsd"}
    row |= {"subspaces": False, "folder": str(folder), "metrics": str(folder / "metrics.json")}
    compare([row], tmp_path / "none.yaml", tmp_path / "x.csv", tmp_path / "x.md")
    assert "| random coherence" not in (tmp_path / "x.md").read_text()
    summarise([row], tmp_path / "m", [tmp_path / "m/js.json"], tmp_path / "curves.csv")
    assert "coherence/random" not in strict(tmp_path / "m/js.json")


def test_numbers_of_older_files_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1, "meta/e": "text"}')
    assert read_metrics(path) == {"d": 1, "meta/e": "text"}


def test_attributes_that_no_test_item_has_leave_no_score(store, tmp_path):
    def with_attributes(split, present):
        labels = np.full((len(split.pairs), 10), present, np.uint8)
        tables = {"mnist": dataclasses.replace(split.modalities["mnist"], labels=labels)}
        return Split(tables, split.pairs[:, :1], labels)

    splits = {name: with_attributes(split, name == "train") for name, split in store.splits.items()}
    train_classifier(dataclasses.replace(store, splits=splits), "mnist", tmp_path, epochs=1, seed=0)
    assert strict(tmp_path / "metrics.json") == {}
    _, score = load_classifier(tmp_path, Modality("mnist", "image", (1, 28, 28), 784), 10, CPU)
    assert math.isnan(score)


def test_training_samples_of_one_class_are_told(store, results):
    model, _ = load_model(results / "run")
    split = store.splits["train"]
    few = UnimodalPosteriors(model, ResidentSplit(split.sample(np.flatnonzero(split.labels == 3)), CPU))
    with pytest.raises(
        MmjsdError, match=r"^evaluation\.train_samples: the 12 of 12 that have mnist-text are not"
    ):
        representation.accuracy(few, few, ("mnist", "text"))


def test_the_clusters_of_the_quality_are_those_that_parameters_are_checked_for():
    default = inspect.signature(precision_recall_distribution).parameters["clusters"].default
    assert default == params.CLUSTERS


def test_all_that_is_written_as_json_is_json():
    """Python writes NaN and Infinity where it is not told to refuse them, and other readers refuse those."""
    calls = {
        (path.name, node.lineno): {keyword.arg for keyword in node.keywords}
        for path in Path(mmjsd.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump")
    }
    assert len(calls) > 10
    shown = {"params.py", "provenance.py"}  # to people
    assert {
        where for where, keywords in calls.items() if "allow_nan" not in keywords and where[0] not in shown
    } == set()
