"""What the module of a metric says of it, and that a metric of another package needs nothing else."""

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
from pydantic import create_model

from mmjsd import params, registry
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import chance_of, headline, presentations, with_summaries
from mmjsd.evaluation.running import evaluate
from mmjsd.params import Evaluation, make_evaluation
from mmjsd.params.model import evaluation_model
from mmjsd.pipeline.steps import TEMPLATE, Evaluate
from mmjsd.reporting.report import write_report
from mmjsd.reporting.summary import summarise
from mmjsd.reporting.tables import compare

QUICK = make_evaluation(
    train_samples=50, random_samples=50, likelihood_pairs=5, importance_samples=2, threads=1
)


def test_the_options_of_all_metrics_are_those_of_the_evaluation():
    options = {
        name: option
        for metric in registry.entries("metrics")
        for name, option in registry.options_of("metrics", metric).items()
    }
    fields = {name: (option.annotation, option.default) for name, option in options.items()}
    properties = create_model("Options", **fields).model_json_schema()["properties"]
    assert {name: option.text for name, option in options.items()} == {
        "test_samples": "Test pairs of the coherence, at most: the first of a fixed permutation; null: all "
        "of them.",
        "random_samples": "Samples of the random coherence, from each sampler.",
        "train_samples": "Training samples the logistic regression of the representation is fitted on, at "
        "most.",
        "prediction_samples": "Test pairs that are predicted, at most: the first of a fixed permutation.",
        "quality_samples": "Real and generated images that the quality compares, at most.",
        "embedding": "Where it compares them: features of the dataset's own classifier, or of Inception (FID "
        "proper).",
        "inception_weights": "torch-fidelity's file of Inception weights, or `download`: fetched by "
        "torch-fidelity.",
        "likelihood_pairs": "Test pairs of the log-likelihoods, at most: the first of a fixed permutation.",
        "importance_samples": "K: samples of the latents of each pair by which its log-likelihoods are "
        "estimated.",
    }
    count = {"type": "integer", "maximum": 10**6, "minimum": 10}
    assert {name: {k: v for k, v in about.items() if k != "title"} for name, about in properties.items()} == {
        "test_samples": {"anyOf": [count, {"type": "null"}], "default": None},
        "random_samples": {**count, "default": 10000},
        "train_samples": {**count, "default": 500},
        "prediction_samples": {**count, "default": 1000},
        "quality_samples": {**count, "minimum": 20, "default": 10000},
        "embedding": {"type": "string", "enum": ["classifier", "inception"], "default": "classifier"},
        "inception_weights": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "likelihood_pairs": {**count, "minimum": 2, "default": 1000},
        "importance_samples": {"type": "integer", "maximum": 10**4, "exclusiveMinimum": 0, "default": 100},
    }
    known = type(make_evaluation()).model_fields
    assert {*options, *Evaluation.model_fields} == set(known)
    for name, option in options.items():
        assert known[name].default == option.default
        assert known[name].description == option.text


def test_metrics_are_presented_without_importing_torch():
    code = """
import sys
from mmjsd import cli, registry
from mmjsd.evaluation.presentation import presentations
from mmjsd.reporting import tables
assert [metric.name for metric in presentations()] == list(registry.entries("metrics"))
assert [registry.options_of("metrics", name) for name in registry.entries("metrics")]
assert not {"torch", "sklearn", "matplotlib"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_metrics_say_how_they_are_read():
    for metric in presentations():
        assert metric.title
        assert len(metric.reading) > 40
        assert metric.headline
        keys = (
            *metric.headline.values(),
            *metric.summaries,
            *metric.summaries.values(),
            *metric.less_is_better,
        )
        assert all(key.startswith(f"{metric.name}/") for key in keys)


def test_summaries_are_means_of_the_largest_subset():
    metrics = {
        "quality/prd_mean/random/a": 0.25,
        "quality/prd_mean/random/b": 0.75,
        "quality/prd_mean/a-b/b": 1.0,
        "likelihood/a/joint": -1.0,
        "likelihood/a-b/joint": -2.0,
        "likelihood/a-b/a": -3.0,
    }
    more = {"quality/prd_mean/mean": 0.5, "likelihood/joint": -2.0}
    assert with_summaries(metrics) == metrics | more
    assert with_summaries({}) == {}
    errors = {"likelihood_error/a/joint": 9.0, "likelihood_error/a-b/joint": 0.25}
    assert with_summaries(metrics | errors) == metrics | errors | more | {"likelihood_error/joint": 0.25}
    assert headline()["log-likelihood, joint"] == "likelihood/joint"


# --- a metric of another package --------------------------------------------------------------------------

LOUDNESS = '''
"""Loudness: how large latents are."""
import torch  # a heavy import, which tables do without

TITLE = "Loudness"
READING = (
    "Mean size of the latents given A; in `{embedding}` {nothing} of it."
)
HEADLINE = {"loudness of all": "loudness/all", "silence": "loudness/silence"}
SUMMARIES = {"loudness/silence": "loudness/quiet/*"}
LESS_IS_BETTER = ("loudness/all",)
FILES = ("loudness.txt",)

def compute(judged, *, loudness_samples: int = 7) -> dict[str, float]:
    """Measure it.

    Args:
        loudness_samples: How many.
    """
    found = {"loudness/all": float(torch.rand(1)), "loudness_error/all": 0.5}
    for subset in judged.subsets:
        samples = judged.test.complete(subset)[:loudness_samples]
        size = judged.test.posterior(subset, samples).mean.norm(dim=1).mean()
        found["loudness/quiet/" + "-".join(subset)] = float(size)
        found["attributes/first/loudness/" + "-".join(subset)] = float(size)
    (judged.folder / "loudness.txt").write_text(str(len(samples)))
    return found
'''


@pytest.fixture
def install(tmp_path_factory, monkeypatch):
    """Puts a module where it can be imported, and an entry into the registry."""

    def installed(name: str, source: str) -> None:
        folder = tmp_path_factory.mktemp(name)
        (folder / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setitem(registry.BUILT_IN["metrics"], name, f"{name}:compute")
        forget()

    def forget() -> None:
        for read_once in (registry.entries, presentations, evaluation_model):
            read_once.cache_clear()

    yield installed
    monkeypatch.undo()
    forget()


def test_a_metric_of_others_is_computed_and_shown(store, results, tmp_path, install, capsys):
    install("loudness", LOUDNESS)
    folder = shutil.copytree(results / "run", tmp_path / "run")
    evaluation = make_evaluation(**QUICK.model_dump(), loudness_samples=5)
    evaluate(folder, store, results / "classifiers", evaluation)
    metrics = read_metrics(folder / "metrics.json")
    assert (folder / "loudness.txt").read_text() == "5"
    assert "loudness of all 0." in capsys.readouterr().out
    assert "meta/evaluation_seconds/loudness" in metrics
    # it and the others, each from a fresh seed
    evaluate(folder, store, results / "classifiers", evaluation, only=["loudness"], previous=metrics)
    again = read_metrics(folder / "metrics.json")
    assert {k: v for k, v in again.items() if "seconds" not in k} == {
        k: v for k, v in metrics.items() if "seconds" not in k
    }

    row = {"dataset": "tiny", "kind": "x", "source": "standin", "run": "js", "seed": 1, "objective": "mmjsd"}
    row |= {"subspaces": False, "folder": str(folder), "metrics": str(folder / "metrics.json")}
    louder = tmp_path / "louder.json"
    louder.write_text(json.dumps(metrics | {"loudness/all": 20.0}))
    rows = [row, row | {"run": "loud", "metrics": str(louder)}]
    compare(rows, tmp_path / "none.yaml", tmp_path / "x.csv", tmp_path / "x.md")
    page = (tmp_path / "x.md").read_text()
    assert "### Loudness\n\nMean size of the latents given A; in `classifier` {nothing} of it." in page
    (line,) = [line for line in page.splitlines() if line.startswith("| `loudness/all`")]
    assert re.fullmatch(r"\| `loudness/all` \| \*\*0\.\d+\*\* \| 20\.000 \|", line)  # less is better
    first, second = (
        line.split(" | ") for line in page.splitlines() if line.startswith(("| js |", "| loud |"))
    )
    assert (first[-3][:2], second[-3]) == ("**", "20.000")  # in the first table too
    assert "| `loudness/quiet/mnist-svhn-text` |" in page
    assert "loudness_error" not in page
    assert "| loudness of all | silence |" in page.split("### ")[0]
    with (tmp_path / "x.csv").open() as file:
        (first, _) = csv.DictReader(file)
    assert float(first["loudness/all"]) == metrics["loudness/all"]

    summarise([row], tmp_path / "m", [tmp_path / "m/js.json"], tmp_path / "curves.csv")
    headlines = json.loads((tmp_path / "m/js.json").read_bytes())
    assert headlines["loudness/all"] == metrics["loudness/all"]
    assert headlines["loudness/silence"] == metrics["loudness/quiet/mnist-svhn-text"]

    for figures in (folder / "figures", tmp_path / "figures"):
        figures.mkdir()
        (figures / "captions.json").write_text("{}")
    record = {"inputs": {}, "outputs": {}, "params": {}, "made": {}}
    (folder / "evaluation.record.json").write_text(json.dumps(record))
    dataset = {"kind": "x", "source": "standin", "figures": str(tmp_path / "figures")}
    run = {"objective": "mmjsd", "shared_latent": 20, "private_latent": 0, "epochs": 2}
    write_report(
        [row],
        {"tiny": dataset},
        {"js": run},
        {},
        tmp_path / "none.yaml",
        TEMPLATE,
        tmp_path / "report.html",
    )
    report = (tmp_path / "report.html").read_text()
    assert "Loudness" in report
    assert "<code>loudness/quiet/mnist-svhn-text</code>" in report


def test_a_metric_of_others_is_part_of_the_step(tmp_path, install):
    """Its options, files and code are of the product."""
    install("loudness", LOUDNESS)
    assert [metric.name for metric in presentations()][-1] == "loudness"
    option = registry.options_of("metrics", "loudness")["loudness_samples"]
    assert (option.annotation, option.default, option.text) == (int, 7, "How many.")
    (tmp_path / "params.yaml").write_text(
        "datasets: {tiny: {kind: mnist_svhn_text}}\nruns: {js: {dataset: tiny, objective: mmjsd}}"
    )
    product = Evaluate(params.load(tmp_path / "params.yaml"), run="js", seed=1).product
    assert [path.name for path in product.outputs] == ["metrics.json", "prd.csv", "loudness.txt"]
    assert "loudness:compute" in product.code
    assert product.params["loudness_samples"] == 7


@pytest.mark.parametrize(
    ("key", "has_one"),
    [
        ("coherence/conditional/mean", True),
        ("coherence/cross/1@product", True),
        ("representation/average_precision/a", True),
        ("coherence/random", False),
        ("likelihood/joint", False),
    ],
)
def test_some_metrics_have_a_level_of_chance(key, has_one):
    """Of random coherence there is none: a model that shows one class alone may reach 1."""
    known = {"meta/chance": 0.25}
    assert chance_of(key, [{}, known, known]) == (0.25 if has_one else None)
    assert chance_of(key, [{}]) is None
    assert chance_of(key, [known, {"meta/chance": 0.5}]) is None  # of two datasets


def test_a_metric_may_say_nothing_of_itself(install):
    install("plain", "def compute(judged): return {}")
    assert presentations()[-1] == ("plain", "Plain", "", {}, {}, (), False, (), ())


def test_a_metric_with_keys_of_others_is_refused(store, results, tmp_path, install):
    install("greedy", "def compute(judged): return {'coherence/random': 1.0}")
    folder = shutil.copytree(results / "run", tmp_path / "run", ignore=lambda *_: ["metrics.json"])
    with pytest.raises(
        MmjsdError, match=r"^mmjsd\.metrics: greedy gives coherence/random; its keys must start"
    ):
        evaluate(folder, store, results / "classifiers", QUICK)
    assert not (folder / "metrics.json").exists()


@pytest.mark.parametrize("source", ["TITLE = 1 / 0", "TITLE = nowhere", "TITLE = (", None])
def test_a_metric_that_cannot_be_read_is_told(install, source):
    install("broken", source or "")
    if source is None:
        registry.BUILT_IN["metrics"]["broken"] = "no_such_module:compute"
        registry.entries.cache_clear()
    with pytest.raises(
        MmjsdError, match=r"^mmjsd\.metrics: broken is .*, whose TITLE cannot be read"
    ) as caught:
        presentations()
    assert "\n" not in str(caught.value)
