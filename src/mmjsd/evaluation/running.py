"""The evaluation of one run: all metrics computed, and written to `metrics.json`."""

import json
import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mmjsd import registry
from mmjsd.data.store import Store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.keys import ATTRIBUTES, CHANCE, CLASSES, KIND, MISSING, SAMPLES, metric_of
from mmjsd.evaluation.presentation import headline, with_summaries
from mmjsd.evaluation.trained import Judged, load_judged
from mmjsd.means import posterior_mean
from mmjsd.params import Evaluation
from mmjsd.provenance.files import atomic_write, sha256_file
from mmjsd.training.history import is_term, read_history
from mmjsd.variables import usable

__all__ = ["evaluate"]

#: Start of the keys of how long each metric took.
_SECONDS = "meta/evaluation_seconds/"


def evaluate(
    folder: Path,
    store: Store,
    classifiers_folder: Path,
    evaluation: Evaluation,
    *,
    other_data: bool = False,
    only: Collection[str] = (),
    previous: Mapping[str, Any] | None = None,
) -> None:
    """Judge the run in the folder; write its `metrics.json`, and what else its metrics write.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.safetensors and history.csv.
        store: the store it was trained on.
        classifiers_folder: one folder with a classifier for each modality.
        evaluation: the options of all metrics, `threads` and `device`.
        other_data: allow another store than that.
        only: names of the metrics to compute; none: all of them.
        previous: the metrics of the same model, data and options that the others are taken from.

    Raises:
        MmjsdError: a missing or damaged file, another store, too few samples, or no such metric.
    """
    for name in only:
        registry.reference("metrics", name)
    torch.set_num_threads(usable(evaluation.threads))
    seconds: dict[str, float] = {}
    with _timed(seconds, "encoding"):
        judged = load_judged(
            folder,
            store,
            classifiers_folder,
            device=evaluation.device,
            split=evaluation.split,
            other_data=other_data,
            mixture_components=evaluation.mixture_components,
            all_subsets=evaluation.all_subsets,
        )
    history = read_history(folder / "history.csv")
    found: dict[str, float] = {}
    for name in registry.entries("metrics"):
        if only and name not in only:
            found |= {key: value for key, value in (previous or {}).items() if metric_of(key) == name}
            seconds[name] = (previous or {}).get(f"{_SECONDS}{name}", 0.0)
            continue
        with _timed(seconds, name):
            for posterior in evaluation.posteriors:
                torch.manual_seed(judged.seed)  # afresh: changing one metric leaves the numbers of the others
                found |= _computed(name, judged, evaluation, posterior)

    final = history[-1]
    model = judged.model
    with torch.no_grad():
        learnt = {name: float(torch.as_tensor(model.likelihood_scale(name))) for name in model.log_scales}
        in_f = model.learnt_weights()
    experts = (*model.modalities, "prior")
    weights = {} if in_f is None else dict(zip(experts, in_f.tolist(), strict=True))
    labels = {}
    if judged.scorer is not None:
        labels = {CHANCE: judged.scorer.chance(judged.test.labels), CLASSES: len(judged.classes)}
    about = {
        **{f"classifier/{name}": score for name, score in judged.classifier_scores.items()},
        **{f"train/{term}": final[term] for term in final if is_term(term)},
        "meta/data_source": str(store.params.get("source", "")),
        "meta/data_sha256": sha256_file(store.path),
        **{f"meta/source_sha256/{name}": digest for name, digest in store.sources.items()},
        **{f"{KIND}{name}": modality.kind for name, modality in judged.model.modalities.items()},
        **{f"{SAMPLES}{name}": len(split.pairs) for name, split in store.splits.items()},
        **{
            f"{MISSING}{name}/{modality}": share
            for name, split in store.splits.items()
            for modality, share in split.missing().items()
        },
        **labels,
        "meta/objective": judged.run["objective"],
        "meta/embedding": evaluation.embedding,
        "meta/split": evaluation.split,
        "meta/epochs": judged.run["epochs"],
        "meta/seed": judged.seed,
        "meta/device": judged.model.device.type,
        **{f"meta/likelihood_scale/{name}": scale for name, scale in learnt.items()},
        **{f"meta/weight/{name}": weight for name, weight in weights.items()},
        "meta/train_seconds": sum(row["seconds"] for row in history),
        "meta/train_samples_per_second": final["samples_per_second"],
        f"{_SECONDS}total": sum(seconds.values()),
        **{f"{_SECONDS}{name}": value for name, value in seconds.items()},
    }
    frequencies = judged.scorer.frequencies(judged.test.labels) if judged.scorer else {}
    of_attributes = {f"{ATTRIBUTES}{name}/frequency": value for name, value in frequencies.items()}
    of_attributes |= {key: value for key, value in found.items() if key.startswith(ATTRIBUTES)}
    of_all = {key: value for key, value in found.items() if key not in of_attributes}
    metrics = _defined({**of_all, **of_attributes, **about}, folder / "metrics.json")
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    known = with_summaries(metrics)
    values = [f"{title} {known[key]:.3f}" for title, key in headline().items() if key in known]
    took = [f"{name} {value:.0f} s" for name, value in seconds.items()]
    print(f"{judged.name} seed {judged.seed}: {'; '.join(values)} ({', '.join(took)})", flush=True)


def _computed(name: str, judged: Judged, evaluation: Evaluation, posterior: str) -> dict[str, float]:
    """The values of a metric by one posterior of several modalities."""
    options = {option: getattr(evaluation, option) for option in registry.options_of("metrics", name)}
    compute = registry.resolve("metrics", name)
    if posterior == "own":
        values = compute(judged, **options)
    else:
        with TemporaryDirectory() as folder:  # the files of a metric are of the model's own posteriors
            by_other = replace(judged.by(posterior_mean(posterior)), folder=Path(folder))
            values = {f"{key}@{posterior}": value for key, value in compute(by_other, **options).items()}
    if strangers := [key for key in values if metric_of(key) != name]:
        raise MmjsdError(
            f"mmjsd.metrics: {name} gives {strangers[0]}; its keys must start with {name}/ or {name}_error/"
        )
    return values


def _defined(metrics: dict[str, Any], path: Path) -> dict[str, Any]:
    """The metrics without what is not defined on these data: JSON has no word for it."""
    defined = {k: v for k, v in metrics.items() if isinstance(v, str) or math.isfinite(v)}
    if left_out := list(metrics.keys() - defined.keys()):
        some = ", ".join(sorted(left_out)[:5]) + ", ..." * (len(left_out) > 5)
        print(f"{path}: not finite, and so left out: {some}", flush=True)
    return defined


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
