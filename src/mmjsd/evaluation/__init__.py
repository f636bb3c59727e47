"""How good a trained model is: representation, coherence, quality and likelihood.

:func:`evaluate` computes all of it for one run; the definitions are in the module of each metric.
"""

import csv
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmjsd.average_precision import mean_of
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Store, modalities_of, require_labels
from mmjsd.devices import as_float64, image_layout, pick_device
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import coherence, likelihood, quality, representation
from mmjsd.evaluation.embeddings import Embedding, classifier_embedding, inception_embedding
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.classifiers import Classifier, load_classifier
from mmjsd.models.vae import MultimodalVAE
from mmjsd.params import Evaluation
from mmjsd.provenance.files import atomic_write, sha256_file
from mmjsd.subsets import name_of, subsets
from mmjsd.training.history import read_history
from mmjsd.training.model_file import load_model

__all__ = ["Trained", "evaluate", "load_trained"]


class Trained(NamedTuple):
    """A trained model and the posteriors it gives to data: what is evaluated and drawn."""

    model: MultimodalVAE
    """In eval mode."""
    content: dict[str, Any]
    """What its file says of it: run, name, seed, classes, ..."""
    train: UnimodalPosteriors
    """Of a random sample of the training split."""
    test: UnimodalPosteriors
    """Of the test split, in random order."""

    @property
    def measure(self) -> str:
        """By which classifiers are judged: `accuracy`, or `average_precision` of attributes."""
        return "accuracy" if self.test.labels.dim() == 1 else "average_precision"


#: Average precision of each attribute (A,), by what it is measured on.
_Table = dict[str, torch.Tensor]


def load_trained(folder: Path, store: Store, train_samples: int, *, other_data: bool = False) -> Trained:
    """The run in the folder, with posteriors of the store.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.pt.
        store: the store it was trained on.
        train_samples: of the training split.
        other_data: take another store than that, if it has the same modalities.

    Raises:
        MmjsdError: no such model or a damaged one, a store that it was not trained on or without labels.
    """
    require_labels(store)
    model, content = load_model(folder)
    device = pick_device(content["run"]["device"])
    model.to(device).to(memory_format=image_layout(device))
    if list(model.modalities.values()) != modalities_of(store.splits["train"]):
        raise MmjsdError(
            f"{folder / 'model.pt'}: its modalities are not those of {store.path}; train it on this store"
        )
    if not other_data and content["data_sha256"] != sha256_file(store.path):
        raise MmjsdError(
            f"{folder / 'model.pt'}: was trained on another store than {store.path}; train it on this one, "
            "or evaluate it as it is with --other-data"
        )
    order = torch.Generator().manual_seed(content["seed"])

    def posteriors(split: Split, count: int | None) -> UnimodalPosteriors:
        samples = torch.randperm(len(split.pairs), generator=order)[:count]
        return UnimodalPosteriors(model, ResidentSplit(split.sample(samples.numpy()), device))

    train, test = posteriors(store.splits["train"], train_samples), posteriors(store.splits["test"], None)
    return Trained(model, content, train, test)


def evaluate(
    folder: Path,
    store: Store,
    classifiers_folder: Path,
    evaluation: Evaluation,
    *,
    other_data: bool = False,
) -> None:
    """Judge the run in the folder and write its `metrics.json` and `prd.csv`.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.pt and history.csv.
        store: the store it was trained on.
        classifiers_folder: one folder with a classifier for each modality.
        evaluation: numbers of samples, embedding.
        other_data: allow another store than that.

    Raises:
        MmjsdError: a missing or damaged file, another store, too few samples.
    """
    torch.set_num_threads(evaluation.threads)
    seconds: dict[str, float] = {}
    with _timed(seconds, "encoding"):
        trained = load_trained(folder, store, evaluation.train_samples, other_data=other_data)
    model, content, _, test = trained
    history = read_history(folder / "history.csv")
    classifiers, scores = {}, {}
    for name, modality in model.modalities.items():
        classifiers[name], scores[name] = load_classifier(
            classifiers_folder / name, modality, len(store.classes), model.device
        )
    embed = _embedding(evaluation, classifiers, model)
    found: dict[str, float] = {}
    # each metric from a fresh seed: changing one leaves the numbers of the others
    table: _Table = {}
    for name, metrics in {
        "representation": lambda: _representation(trained, table),
        "coherence": lambda: _coherence(trained, classifiers, evaluation, table),
        "quality": lambda: _quality(trained, embed, evaluation, folder / "prd.csv"),
        "likelihood": lambda: _likelihood(test, evaluation),
    }.items():
        torch.manual_seed(content["seed"])
        with _timed(seconds, name):
            found |= metrics()

    final = history[-1]
    result = {
        **found,
        **(_attributes(trained, table) if table else {}),
        **{f"classifier/{trained.measure}/{name}": value for name, value in scores.items()},
        **{f"train/{term}": final[term] for term in final if term == "loss" or "/" in term},
        "meta/data_source": str(store.params.get("source", "")),
        "meta/data_sha256": sha256_file(store.path),
        **{f"meta/source_sha256/{name}": digest for name, digest in store.sources.items()},
        "meta/objective": content["run"]["objective"],
        "meta/embedding": evaluation.embedding,
        "meta/epochs": content["run"]["epochs"],
        "meta/seed": content["seed"],
        "meta/device": model.device.type,
        "meta/train_seconds": sum(row["seconds"] for row in history),
        "meta/train_samples_per_second": final["samples_per_second"],
        "meta/evaluation_seconds/total": sum(seconds.values()),
        **{f"meta/evaluation_seconds/{name}": value for name, value in seconds.items()},
    }
    # what is not defined on these data is left out: JSON has no word for it
    defined = {k: v for k, v in result.items() if isinstance(v, str) or math.isfinite(v)}
    atomic_write(folder / "metrics.json", json.dumps(defined, indent=2, allow_nan=False) + "\n")
    if left_out := list(result.keys() - defined.keys()):
        some = ", ".join(sorted(left_out)[:5]) + ", ..." * (len(left_out) > 5)
        print(f"{folder / 'metrics.json'}: not finite, and so left out: {some}", flush=True)
    shown = {
        "conditional coherence": "coherence/conditional/mean",
        "random": "coherence/random",
        f"latent {trained.measure.replace('_', ' ')}": f"representation/{trained.measure}/mean",
    }
    told = [f"{name} {defined[key]:.3f}" for name, key in shown.items() if key in defined]
    took = [f"{name} {value:.0f} s" for name, value in seconds.items()]
    print(f"{content['name']} seed {content['seed']}: {', '.join(told)} ({', '.join(took)})", flush=True)


def _representation(trained: Trained, table: _Table) -> dict[str, float]:
    each = {}
    for subset in subsets(tuple(trained.model.modalities)):
        key = name_of(subset)
        if trained.measure == "accuracy":
            each[key] = representation.accuracy(trained.train, trained.test, subset)
        else:
            found = representation.attribute_precisions(trained.train, trained.test, subset)
            table[f"representation/{key}"] = found
            each[key] = mean_of(found)
    return {f"representation/{trained.measure}/{k}": v for k, v in {**each, "mean": _mean(each)}.items()}


def _coherence(
    trained: Trained, classifiers: Mapping[str, Classifier], evaluation: Evaluation, table: _Table
) -> dict[str, float]:
    model, test, count = trained.model, trained.test, evaluation.test_samples
    each: dict[str, float] = {}
    for subset in subsets(tuple(model.modalities)):
        if trained.measure == "accuracy":
            found = coherence.conditional(classifiers, test, subset, count)
        else:
            precisions = coherence.conditional_precisions(classifiers, test, subset, count)
            table |= {f"coherence/{name_of(subset)}/{name}": p for name, p in precisions.items()}
            found = {name: mean_of(p) for name, p in precisions.items()}
        each |= {f"{name_of(subset)}/{target}": value for target, value in found.items()}
    if trained.measure == "accuracy":
        random = coherence.random(model, classifiers, evaluation.random_samples)
    else:
        table["coherence/random"] = coherence.random_precisions(model, classifiers, evaluation.random_samples)
        random = mean_of(table["coherence/random"])
    conditional = {f"coherence/conditional/{k}": v for k, v in {**each, "mean": _mean(each)}.items()}
    return {**conditional, "coherence/random": random}


def _attributes(trained: Trained, table: _Table) -> dict[str, float]:
    """`attributes/<attribute>/...`: how frequent each is in the test split, and its average precisions."""
    columns = {"frequency": as_float64(trained.test.labels).mean(0), **table}
    return {
        f"attributes/{attribute}/{column}": value
        for column, values in columns.items()
        for attribute, value in zip(trained.content["classes"], values.tolist(), strict=True)
        if math.isfinite(value)  # no sample has it
    }


def _quality(trained: Trained, embed: Embedding, evaluation: Evaluation, curves: Path) -> dict[str, float]:
    """The metrics; the curves, thinned out tenfold, go to a file."""
    conditions = [(), *subsets(tuple(trained.model.modalities))]
    found = quality.qualities(
        embed, trained.test, conditions, evaluation.quality_samples, trained.content["seed"]
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["given", "modality", "precision", "recall"])
    for (given, modality), judged in found.items():
        points = np.stack([judged.precision, judged.recall], 1)[::10].round(5).tolist()
        writer.writerows([given, modality, *point] for point in points)
    atomic_write(curves, text.getvalue())
    names = {"prd_f8": "f8", "prd_f1_8": "f1_8", "prd_mean": "mean", "fid": "fid"}
    return {
        f"quality/{name}/{given}/{modality}": getattr(judged, field)
        for name, field in names.items()
        for (given, modality), judged in found.items()
    }


def _likelihood(test: UnimodalPosteriors, evaluation: Evaluation) -> dict[str, float]:
    modalities = tuple(test.model.modalities)
    samples = test.complete(modalities)[: evaluation.likelihood_pairs]
    means, errors = {}, {}
    for subset in subsets(modalities):
        logs = likelihood.estimates(test, subset, samples, evaluation.importance_samples)
        for target, values in logs.items():
            key = f"{name_of(subset)}/{target}"
            means[f"likelihood/{key}"], errors[f"likelihood_error/{key}"] = likelihood.mean_and_error(values)
    return means | errors


def _embedding(
    evaluation: Evaluation, classifiers: Mapping[str, Classifier], model: MultimodalVAE
) -> Embedding:
    if evaluation.embedding == "inception":
        assert evaluation.inception_weights is not None
        return inception_embedding(evaluation.inception_weights, model.device)
    return classifier_embedding(classifiers)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
