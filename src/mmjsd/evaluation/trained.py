"""A trained model with the data and the classifiers by which it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Store, modalities_of
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.classifiers import Classifier, load_classifier
from mmjsd.models.scorers import Scorer, scorer_of
from mmjsd.models.vae import MultimodalVAE
from mmjsd.provenance.files import sha256_file
from mmjsd.subsets import name_of, subsets
from mmjsd.training.model_file import NAME, load_model

__all__ = ["Judged", "Trained", "load_judged", "load_trained"]


@dataclass(frozen=True)
class Trained:
    """A trained model and the data it is shown."""

    model: MultimodalVAE
    """In eval mode."""
    name: str
    """Of the run."""
    seed: int
    run: Mapping[str, Any]
    """Its parameters."""
    classes: list[str]
    """Names of the classes, or of the attributes."""
    scorer: Scorer | None
    """How what classifiers see is scored, by the labels of the data; None where they have none."""
    test: UnimodalPosteriors
    """Posteriors of the test split, in random order."""
    subsets: tuple[tuple[str, ...], ...]
    """Of the modalities, those that a test sample has completely; small ones first."""
    training: Split
    training_order: Tensor
    """A random permutation of the training samples."""

    def train(self, count: int) -> UnimodalPosteriors:
        """Compute the posteriors of the first `count` training samples in random order, at most."""
        samples = self.training.sample(self.training_order[:count].numpy())
        return UnimodalPosteriors(self.model, ResidentSplit(samples, self.model.device))


@dataclass(frozen=True)
class Judged(Trained):
    """What a metric is computed from."""

    classifiers: Mapping[str, Classifier]
    """Of each modality, in eval mode; none where the data have no labels."""
    classifier_scores: Mapping[str, float]
    """`<measure>/<modality>` -> score of the classifier on the test split; NaN where it is not defined."""
    folder: Path
    """Of the run; a metric may write files there."""


def load_trained(folder: Path, store: Store, *, device: str = "auto", other_data: bool = False) -> Trained:
    """Load the run in the folder, and encode the test split of the store.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.safetensors.
        store: the store it was trained on.
        device: to compute on, as in the parameters.
        other_data: take another store than that, if it has the same modalities.

    Raises:
        MmjsdError: no such model or a damaged one, a store that it was not trained on.
    """
    model, content = load_model(folder, device)
    file = folder / NAME
    if list(model.modalities.values()) != modalities_of(store.splits["train"]):
        raise MmjsdError(f"{file}: its modalities are not those of {store.path}; train it on this store")
    if not other_data and content["data_sha256"] != sha256_file(store.path):
        raise MmjsdError(
            f"{file}: was trained on another store than {store.path}; train it on this one, or evaluate it "
            "as it is with --other-data"
        )
    generator = torch.Generator().manual_seed(content["seed"])
    train, test = (
        torch.randperm(len(store.splits[split].pairs), generator=generator) for split in ("train", "test")
    )
    split = ResidentSplit(store.splits["test"].sample(test.numpy()), model.device)
    posteriors = UnimodalPosteriors(model, split)
    complete = {subset: len(posteriors.complete(subset)) > 0 for subset in subsets(tuple(model.modalities))}
    if missing := [name_of(subset) for subset, some in complete.items() if not some]:
        print(f"{store.path}: no test sample has all of {', '.join(missing)}: left out", flush=True)
    return Trained(
        model=model,
        name=content["name"],
        seed=content["seed"],
        run=content["run"],
        classes=content["classes"],
        scorer=None if split.labels is None else scorer_of(split.labels, content["classes"]),
        test=posteriors,
        subsets=tuple(subset for subset, some in complete.items() if some),
        training=store.splits["train"],
        training_order=train,
    )


def load_judged(
    folder: Path, store: Store, classifiers: Path, *, device: str = "auto", other_data: bool = False
) -> Judged:
    """Load the run in the folder, and the classifiers that judge it.

    Args:
        folder, store, device, other_data: as of :func:`load_trained`.
        classifiers: one folder with a classifier for each modality.

    Raises:
        MmjsdError: a model or classifier is missing, damaged, or of other data.
    """
    trained = load_trained(folder, store, device=device, other_data=other_data)
    loaded, scores = {}, {}
    if trained.scorer is not None:
        for name, modality in trained.model.modalities.items():
            loaded[name], scores[f"{trained.scorer.measure}/{name}"] = load_classifier(
                classifiers / name, modality, len(store.classes), trained.model.device
            )
    return Judged(**vars(trained), classifiers=loaded, classifier_scores=scores, folder=folder)
