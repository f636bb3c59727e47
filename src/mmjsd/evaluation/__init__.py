"""How trained models are judged: by their latents and by the coherence of what they generate.

:func:`evaluate` computes all of it for one run; the definitions are in the module of each metric.
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Store
from mmjsd.devices import pick_device
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import coherence, representation
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.classifiers import load_classifier
from mmjsd.models.vae import modalities_of
from mmjsd.params import Evaluation
from mmjsd.records import atomic_write, sha256_file
from mmjsd.training import load_model, read_history

__all__ = ["evaluate", "subsets"]


def subsets(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All subsets but the empty one, small ones first, modalities in the order of the store."""
    for size in range(1, len(modalities) + 1):
        yield from itertools.combinations(modalities, size)


def evaluate(folder: Path, store: Store, classifiers_folder: Path, evaluation: Evaluation) -> None:
    """Judge the run in the folder and write its `metrics.json`.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.pt and history.csv.
        store: the store it was trained on.
        classifiers_folder: one folder with a classifier for each modality.
        evaluation: numbers of samples.

    Raises:
        MmjsdError: a missing or damaged file, or a store of other modalities than the model's.
    """
    started = time.perf_counter()
    model, content = load_model(folder)
    device = pick_device(content["run"]["device"])
    model.to(device)
    if list(model.modalities.values()) != modalities_of(store.splits["train"]):
        raise MmjsdError(
            f"{folder / 'model.pt'}: its modalities are not those of {store.path}; train it on this store"
        )
    classifiers, accuracies = {}, {}
    for name in model.modalities:
        classifiers[name], accuracies[name] = load_classifier(classifiers_folder / name, device)

    seed = content["seed"]
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    train, test = (
        UnimodalPosteriors(model, split, torch.randperm(len(split), generator=order)[:count].to(device))
        for split, count in (
            (ResidentSplit(store.splits["train"], device), evaluation.train_samples),
            (ResidentSplit(store.splits["test"], device), None),
        )
    )

    accuracy: dict[str, float] = {}
    conditional: dict[str, float] = {}
    for subset in subsets(tuple(model.modalities)):
        key = "-".join(subset)
        accuracy[key] = representation.accuracy(train, test, subset)
        found = coherence.conditional(model, classifiers, test, subset, evaluation.test_samples)
        conditional |= {f"{key}/{target}": value for target, value in found.items()}
    random = coherence.random(model, classifiers, evaluation.random_samples)

    metrics: dict[str, float | str | int] = {f"representation/accuracy/{k}": v for k, v in accuracy.items()}
    metrics["representation/accuracy/mean"] = mean(accuracy)
    metrics |= {f"coherence/conditional/{k}": v for k, v in conditional.items()}
    metrics["coherence/conditional/mean"] = mean(conditional)
    metrics["coherence/random"] = random
    metrics |= {f"classifier/accuracy/{name}": value for name, value in accuracies.items()}
    history = read_history(folder / "history.csv")
    metrics |= {f"train/{term}": history[-1][term] for term in history[-1] if term == "loss" or "/" in term}
    metrics |= {
        "meta/data_source": str(store.params.get("source", "")),
        "meta/data_sha256": sha256_file(store.path),
        "meta/objective": content["run"]["objective"],
        "meta/epochs": content["run"]["epochs"],
        "meta/seed": seed,
        "meta/device": device.type,
        "meta/train_seconds": sum(row["seconds"] for row in history),
        "meta/train_samples_per_second": history[-1]["samples_per_second"],
        "meta/evaluation_seconds": time.perf_counter() - started,
    }
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    print(
        f"{content['name']} seed {seed}: conditional coherence {metrics['coherence/conditional/mean']:.3f}, "
        f"random {random:.3f}, latent accuracy {metrics['representation/accuracy/mean']:.3f}",
        flush=True,
    )


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)
