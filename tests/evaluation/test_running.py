import dataclasses
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mmjsd import params
from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import representation
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import with_summaries
from mmjsd.evaluation.running import evaluate
from mmjsd.models.classifiers import train_classifier
from mmjsd.models.scorers import ClassScorer, Score
from mmjsd.reporting.catalogue import run_figures
from mmjsd.reporting.figures import draw_run
from mmjsd.reporting.summary import summarise
from mmjsd.reporting.tables import compare
from mmjsd.subsets import name_of, subsets, targets
from mmjsd.training.history import read_history
from mmjsd.training.loop import train
from support.samples import make_run, written

QUICK = params.make_evaluation(
    train_samples=100, random_samples=200, likelihood_pairs=20, importance_samples=5, threads=1
)


def test_metrics_file(store, results):
    evaluate(results / "run", store, results / "classifiers", QUICK)
    first = json.loads((results / "run/metrics.json").read_text())
    assert sum(key.startswith("coherence/conditional/") for key in first) == 7 * 3 + 1
    read = {k: v for k, v in first.items() if k.startswith("representation/accuracy/") and "views" not in k}
    assert len(read) == 7 + 1
    for size, views in ((1, 3), (2, 3), (3, 1)):
        of_size = [v for k, v in read.items() if k.count("-") == size - 1 and not k.endswith("/mean")]
        assert len(of_size) == views
        assert first[f"representation/accuracy/views/{size}"] == pytest.approx(np.mean(of_size))
    assert first["coherence/conditional/mean"] == pytest.approx(
        np.mean([v for k, v in first.items() if k.count("/") == 3 and k.startswith("coherence/conditional")])
    )
    cross = {}
    for key, value in first.items():
        *_, given, target = key.split("/")
        if key.startswith("coherence/conditional/") and target not in given and target != "mean":
            cross.setdefault(given.count("-") + 1, []).append(value)
    assert {size: len(values) for size, values in cross.items()} == {1: 6, 2: 3}
    for size, values in cross.items():
        assert first[f"coherence/cross/{size}"] == pytest.approx(np.mean(values))
    assert first["coherence/cross/mean"] == pytest.approx(np.mean([*map(np.mean, cross.values())]))
    assert first["meta/data_source"] == "standin"
    labels = store.splits["test"].labels
    pairs = store.splits["test"].pairs
    assert first["meta/samples/test"] == len(pairs)
    assert first["meta/missing/test/svhn"] == (pairs[:, 1] < 0).mean()
    assert (first["meta/chance"], first["meta/classes"]) == (np.bincount(labels).max() / len(labels), 10)
    # after few steps, but the data are easy: ten classes that differ in every modality
    assert first["representation/accuracy/text"] > 0.3
    # logged to MLflow beside the curves of training, as files it may be, and a file is no folder
    keys = {*first, *(f"train/{column}" for column in read_history(results / "run/history.csv")[0])}
    assert "meta/evaluation_seconds/total" in keys
    assert [key for key in keys if any(other.startswith(f"{key}/") for other in keys)] == []
    evaluate(results / "run", store, results / "classifiers", QUICK)
    again = json.loads((results / "run/metrics.json").read_text())
    assert {k: v for k, v in first.items() if "seconds" not in k} == {
        k: v for k, v in again.items() if "seconds" not in k
    }


def test_runs_are_compared_on_the_split_that_is_named(store, results, tmp_path):
    """Here on the training samples of which the test split of another store consists."""
    metrics = {}
    for name, splits, split in (
        ("test", {"train": store.splits["train"], "test": store.splits["train"]}, "test"),
        ("val", {**store.splits, "val": store.splits["train"]}, "val"),
    ):
        folder = shutil.copytree(results / "run", tmp_path / name)
        evaluation = QUICK.model_copy(update={"split": split})
        evaluate(folder, dataclasses.replace(store, splits=splits), results / "classifiers", evaluation)
        read = json.loads((folder / "metrics.json").read_bytes())
        assert read.pop("meta/split") == split
        about = ("meta/samples/", "meta/missing/", "meta/evaluation_seconds/", "meta/train_seconds")
        metrics[name] = {key: value for key, value in read.items() if not key.startswith(about)}
    assert metrics["test"] == metrics["val"]


def test_of_many_modalities_some_are_generated_given_each_subset(tmp_path):
    """Everywhere the same: what is computed, and how long that takes, grows as their number does."""
    rng = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % 3
        images = rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)
        vectors = {
            f"v{n}": Table("vector", rng.standard_normal((count, 3)).astype(np.float32), labels)
            for n in range(7)
        }
        return Split(
            {"image": Table("image", images, labels), **vectors},
            np.stack([np.arange(count, dtype=np.int32)] * 8, 1),
            labels,
        )

    store = written(tmp_path / "many.h5", "own", list("abc"), {"train": split(24), "test": split(30)})
    names = tuple(store.modalities)
    for name in names:
        train_classifier(store, name, tmp_path / "classifiers" / name, epochs=1, seed=1)
    train(make_run(epochs=1), store, tmp_path / "run", name="many", seed=1)
    evaluate(tmp_path / "run", store, tmp_path / "classifiers", QUICK)
    metrics = strict(tmp_path / "run/metrics.json")
    generated = {name_of(subset): targets(subset, names) for subset in subsets(names)}
    assert {len(of_it) for of_it in generated.values()} == {6, 7, 8}
    everywhere = {
        "coherence/conditional": names,
        "likelihood": names,
        "prediction": names[1:],
        "quality/fid": names[:1],
    }
    for start, known in everywhere.items():
        keys = {key for key in metrics if key.startswith(f"{start}/") and "random" not in key}
        wanted = {f"{start}/{a}/{j}" for a, of_it in generated.items() for j in of_it if j in known}
        wholes = {f"likelihood/{a}/joint" for a, of_it in generated.items() if len(of_it) == 8}
        extra = {"likelihood": wholes, "quality/fid": set()}.get(start, {f"{start}/mean"})
        assert keys == wanted | extra, start
    assert math.isfinite(with_summaries(metrics)["likelihood/joint"])
    draw_run(tmp_path / "run", store)
    captions = json.loads((tmp_path / "run/figures/captions.json").read_bytes())
    assert {f"conditional-{a}.png" for a in generated} <= captions.keys()


def test_refuses_missing_pieces(store, results, tmp_path):
    with pytest.raises(MmjsdError, match=r"model\.safetensors: no such file; train the run"):
        evaluate(tmp_path, store, results / "classifiers", QUICK)
    with pytest.raises(MmjsdError, match=r"mnist.model.safetensors: no such file; train it .*mmjsd classify"):
        evaluate(results / "run", store, tmp_path, QUICK)


def test_a_metric_does_not_depend_on_the_others(store, results, tmp_path):
    """Each is drawn from a fresh seed."""
    found = []
    for quick in (QUICK, QUICK.model_copy(update={"random_samples": 100, "quality_samples": 30})):
        folder = shutil.copytree(results / "run", tmp_path / str(len(found)))
        evaluate(folder, store, results / "classifiers", quick)
        found.append(json.loads((folder / "metrics.json").read_bytes()))
    first, second = ({k: v for k, v in m.items() if k.startswith(("likelihood", "repr"))} for m in found)
    assert first == second
    assert len(first) == 2 * (8 + 3) + 2 * 7 * 4
    changed = [m["quality/prd_f8/random/svhn"] for m in found]
    assert changed[0] != changed[1]


def test_one_model_is_judged_by_several_posteriors_and_samplers(store, results, tmp_path):
    """Of one modality or of nothing no posterior of several matters; own is as if it were alone."""
    folder = shutil.copytree(results / "run", tmp_path / "run")
    evaluate(folder, store, results / "classifiers", QUICK)
    alone, curves = strict(folder / "metrics.json"), (folder / "prd.csv").read_bytes()
    posteriors = {"posteriors": ["own", "product", "geometric", "mixture"]}
    evaluate(folder, store, results / "classifiers", QUICK.model_copy(update=posteriors))
    several = strict(folder / "metrics.json")
    about = ("meta/", "train/", "classifier/")
    assert {k: v for k, v in several.items() if "@" not in k and not k.startswith(about)} == {
        k: v for k, v in alone.items() if not k.startswith(about)
    }
    assert (folder / "prd.csv").read_bytes() == curves
    by = {
        name: {k.removesuffix(f"@{name}"): v for k, v in several.items() if k.endswith(f"@{name}")}
        for name in posteriors["posteriors"][1:]
    }
    for values in by.values():
        assert values.keys() == {k for k in alone if "random" not in k and not k.startswith(about)}
    own = {k: v for k, v in by["geometric"].items() if not k.startswith("quality/")}  # which drew more before
    assert own == {key: alone[key] for key in own}
    key = "representation/accuracy/mnist"
    assert by["product"][key] == by["mixture"][key] == alone[key]
    key = "likelihood/mnist-svhn-text/joint"
    assert len({alone[key], by["product"][key], by["mixture"][key]}) == 3

    evaluate(
        folder,
        store,
        results / "classifiers",
        QUICK.model_copy(update={"sampler": "mixture", "sampler_components": 3}),
    )
    mixture = strict(folder / "metrics.json")
    assert {k for k in mixture.keys() - alone.keys()} == {
        k.replace("random", "random_mixture") for k in alone if "random" in k
    }
    assert mixture["coherence/random"] == alone["coherence/random"]
    assert (folder / "prd.csv").read_text().count("\nrandom_mixture,svhn,") == 101


def strict(path):
    """A JSON file as a strict reader takes it: without NaN and infinities."""
    return json.loads(path.read_bytes(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_defined_is_left_out_of_the_metrics(store, results, tmp_path, monkeypatch, capsys, value):
    """And all that read them can do without."""
    folder = shutil.copytree(results / "run", tmp_path / "run")
    monkeypatch.setattr(ClassScorer, "agreement", lambda *_: Score(value))
    monkeypatch.setattr(representation, "linear_score", lambda *_: Score(value))
    evaluate(folder, store, results / "classifiers", QUICK)
    metrics = strict(folder / "metrics.json")
    assert "coherence/random" not in metrics
    assert not any(key.startswith("representation/") for key in metrics)
    assert "coherence/conditional/mean" in metrics
    told = capsys.readouterr().out
    assert "conditional coherence, mean 0." in told
    assert f"{folder}/metrics.json: not finite, and so left out: coherence/random, representation/" in told
    if math.isnan(value):  # the file is the same of all
        draw_run(folder, store)
    row = {"dataset": "tiny", "kind": "x", "source": "standin", "run": "js", "seed": 1, "objective": "mmjsd"}
    row |= {"subspaces": False, "folder": str(folder), "metrics": str(folder / "metrics.json")}
    compare([row], tmp_path / "none.yaml", tmp_path / "x.csv", tmp_path / "x.md")
    assert "| random coherence" not in (tmp_path / "x.md").read_text()
    summarise([row], tmp_path / "m", [tmp_path / "m/js.json"], tmp_path / "curves.csv")
    assert "coherence/random" not in strict(tmp_path / "m/js.json")


# --- some of the metrics ----------------------------------------------------------------------------------


def test_one_metric_is_computed_and_the_others_kept(store, results, tmp_path):
    folder = shutil.copytree(results / "run", tmp_path / "run")
    classifiers = results / "classifiers"
    evaluate(folder, store, classifiers, QUICK)
    before, curves = read_metrics(folder / "metrics.json"), (folder / "prd.csv").read_bytes()
    marked = {key: value if isinstance(value, str) else 0.125 for key, value in before.items()}
    other = QUICK.model_copy(update={"likelihood_pairs": 10})
    evaluate(folder, store, classifiers, other, only=["likelihood", "representation"], previous=marked)
    found = read_metrics(folder / "metrics.json")
    assert list(found) == list(before)  # in the same order
    for key, value in found.items():
        if key.startswith(("coherence/", "quality/")):
            assert value == 0.125
        elif key.startswith(("representation/", "classifier/", "train/")):
            assert value == before[key]
        elif key.startswith("likelihood"):
            assert value not in (0.125, before[key])
    assert found["meta/evaluation_seconds/coherence"] == 0.125
    assert found["meta/evaluation_seconds/likelihood"] != 0.125
    assert (folder / "prd.csv").read_bytes() == curves
    evaluate(folder, store, classifiers, QUICK, only=["likelihood"], previous=before)
    again = read_metrics(folder / "metrics.json")
    assert {k: v for k, v in again.items() if "seconds" not in k} == {
        k: v for k, v in before.items() if "seconds" not in k
    }


def test_a_metric_that_there_is_not_is_told_before_any_work(store, tmp_path):
    with pytest.raises(MmjsdError, match=r"likelyhood: not one of the metrics; did you mean likelihood\?"):
        evaluate(tmp_path / "none", store, tmp_path / "none", QUICK, only=["likelyhood"])


# --- what data lack ---------------------------------------------------------------------------------------


def without(store: Store, path, *, complete: int) -> Store:
    """The store with samples of either mnist and text or svhn alone, but for so many test samples of all."""
    splits = {}
    for name, split in store.splits.items():
        whole, pairs = complete if name == "test" else 0, np.array(split.pairs)
        pairs[:, 1] = np.arange(len(pairs))  # enough different images
        pairs[whole::2, 1] = -1
        pairs[whole + 1 :: 2, [0, 2]] = -1
        splits[name] = replace(split, pairs=pairs)
    return rewritten(store, path, store.classes, splits)


def unlabelled(store: Store, path) -> Store:
    """The store without labels and classes."""
    splits = {}
    for name, split in store.splits.items():
        tables = {modality: replace(table, labels=None) for modality, table in split.modalities.items()}
        splits[name] = replace(split, modalities=tables, labels=None)
    return rewritten(store, path, [], splits)


def rewritten(store: Store, path, classes, splits) -> Store:
    write_store(
        path,
        kind=store.kind,
        modalities=store.modalities,
        classes=classes,
        seed=store.seed,
        params=store.params,
        sources={},
        splits=splits,
    )
    return read_store(path)


@pytest.fixture
def folder(results, tmp_path):
    return shutil.copytree(results / "run", tmp_path / "run")


def test_subsets_that_no_test_sample_has_are_left_out(store, results, folder, tmp_path, capsys):
    gaps = without(store, tmp_path / "gaps.h5", complete=0)
    evaluate(folder, gaps, results / "classifiers", QUICK, other_data=True)
    told = capsys.readouterr().out.splitlines()
    line = f"{gaps.path}: no test sample has all of mnist-svhn, svhn-text, mnist-svhn-text: left out"
    assert told[:2] == [line, "likelihood: no test sample has all modalities: left out"]
    metrics = strict(folder / "metrics.json")
    given = {key.split("/")[2] for key in metrics if key.startswith(("coherence/conditional/", "quality/"))}
    assert given == {"mnist", "svhn", "text", "mnist-text", "random", "mean"}
    given = {key.split("/")[2] for key in metrics if key.startswith("representation/")}
    assert given == {"mnist", "svhn", "text", "mnist-text", "views", "mean"}
    assert not any(key.startswith("likelihood") for key in metrics)
    draw_run(folder, gaps, other_data=True)
    figures = run_figures(store.modalities, subspaces=False, labels="class")
    captions = strict(folder / "figures/captions.json")
    assert list(captions) == [f"{name}.png" for name in figures]
    not_drawn = [name.removesuffix(".png") for name in captions if "Not drawn" in captions[name]]
    assert not_drawn == [
        "conditional-mnist-svhn",
        "conditional-svhn-text",
        "conditional-mnist-svhn-text",
        "reconstructions",
        "interpolation",
        "latents",
    ]
    assert captions["latents.png"].startswith(
        "Not drawn: 0 test samples have all of mnist and svhn and text."
    )


@pytest.mark.parametrize("complete", [1, 2])
def test_subsets_that_few_test_samples_have(store, results, folder, tmp_path, capsys, complete):
    """All is computed and drawn but what needs more of them."""
    gaps = without(store, tmp_path / "gaps.h5", complete=complete)
    evaluate(folder, gaps, results / "classifiers", QUICK, other_data=True)
    few = f"quality: {complete} test samples have mnist-svhn, 20 are needed to compare images: left out"
    told = capsys.readouterr().out.splitlines()
    assert few in told
    for given in ("mnist-svhn", "svhn-text", "mnist-svhn-text"):
        assert f"representation: training samples teach nothing of {given}: left out" in told
    metrics = strict(folder / "metrics.json")
    assert "coherence/conditional/mnist-svhn/text" in metrics
    assert "likelihood/mnist-svhn/joint" in metrics
    assert "representation/accuracy/mnist-svhn" not in metrics
    assert "quality/fid/mnist-text/svhn" in metrics
    assert "quality/fid/mnist-svhn/svhn" not in metrics
    draw_run(folder, gaps, other_data=True)
    captions = strict(folder / "figures/captions.json")
    not_drawn = [name for name in captions if "Not drawn" in captions[name]]
    assert not_drawn == (["interpolation.png", "latents.png"] if complete == 1 else [])


def test_data_without_labels_have_what_needs_none(store, tmp_path, capsys):
    bare = unlabelled(store, tmp_path / "bare.h5")
    folder = tmp_path / "run"
    train(make_run(epochs=1), bare, folder, name="bare", seed=1)
    evaluate(folder, bare, tmp_path / "no-classifiers", QUICK)
    told = capsys.readouterr().out
    assert "quality: the data have no labels, and so no classifier: left out" in told
    for name in ("coherence", "representation"):
        assert f"{name}: the data have no labels: left out" in told
    metrics = strict(folder / "metrics.json")
    starts = {key.partition("/")[0] for key in metrics}
    assert starts == {"prediction", "likelihood", "likelihood_error", "train", "meta"}
    draw_run(folder, bare)
    drawn = list(strict(folder / "figures/captions.json"))
    assert drawn == [f"{name}.png" for name in run_figures(store.modalities, subspaces=False, labels=None)]
    assert "scores.png" not in drawn
