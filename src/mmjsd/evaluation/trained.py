"""A trained model with the data and the classifiers by which it is judged."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Store, modalities_of
from mmjsd.distributions import Mean
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.samplers import FITTED, Sampler, mixture_sampler
from mmjsd.models.classifiers import Classifier, load_classifier
from mmjsd.models.scorers import Scorer, scorer_of
from mmjsd.models.vae import MultimodalVAE
from mmjsd.provenance.files import sha256_file
from mmjsd.subsets import name_of, subsets, targets
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
    """Posteriors of the split that it is judged on, in random order."""
    targets: Mapping[tuple[str, ...], tuple[str, ...]]
    """Subset of the modalities that a sample of it has completely, small ones first -> what is generated
    given it."""
    samplers: Mapping[str, Sampler | None]
    """What random samples are from, by the name that keys have for it: `random`, None for the prior, and
    perhaps `random_mixture`."""
    training: Split
    training_order: Tensor
    """A random permutation of the training samples."""

    @property
    def subsets(self) -> tuple[tuple[str, ...], ...]:
        """The subsets that it is judged by."""
        return tuple(self.targets)

    def train(self, count: int) -> UnimodalPosteriors:
        """Compute the posteriors of the first `count` training samples in random order, at most."""
        return _posteriors(self.model, self.training, self.training_order[:count])

    def by(self, mean: Mean) -> Self:
        """Give the same with posteriors of several modalities by another mean, and no random samples."""
        model, test = copy.copy(self.model), copy.copy(self.test)
        model.mean = mean
        test.model = model
        return replace(self, model=model, test=test, samplers={})


@dataclass(frozen=True)
class Judged(Trained):
    """What a metric is computed from."""

    classifiers: Mapping[str, Classifier]
    """Of each modality, in eval mode; none where the data have no labels."""
    classifier_scores: Mapping[str, float]
    """`<measure>/<modality>` -> score of the classifier on the test split; NaN where it is not defined."""
    folder: Path
    """Of the run; a metric may write files there."""


def load_trained(
    folder: Path,
    store: Store,
    *,
    device: str = "auto",
    split: str = "test",
    other_data: bool = False,
    mixture_components: int | None = None,
    all_subsets: bool = False,
) -> Trained:
    """Load the run in the folder, and encode the split of the store that it is judged on.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.safetensors.
        store: the store it was trained on.
        device: to compute on, as in the parameters.
        split: name of that split, which the store has.
        other_data: take another store than that, if it has the same modalities.
        mixture_components: of the mixture sampler, or None for random samples from the prior alone.
        all_subsets: judge it by all subsets of its modalities, however many these are.

    Raises:
        MmjsdError: no such model or a damaged one, a store that it was not trained on, or more components
            than training samples.
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
        torch.randperm(len(store.splits[name].pairs), generator=generator) for name in ("train", split)
    )
    posteriors = _posteriors(model, store.splits[split], test)
    labels = posteriors.split.labels
    samplers: dict[str, Sampler | None] = {"random": None}
    if mixture_components:
        fitted = _posteriors(model, store.splits["train"], train[:FITTED])
        samplers["random_mixture"] = mixture_sampler(fitted, mixture_components, content["seed"])
    modalities = tuple(model.modalities)
    looked_at = subsets(modalities, all_subsets=all_subsets)
    complete = {subset: len(posteriors.complete(subset)) > 0 for subset in looked_at}
    if missing := [name_of(subset) for subset, some in complete.items() if not some]:
        print(f"{store.path}: no {split} sample has all of {', '.join(missing)}: left out", flush=True)
    return Trained(
        model=model,
        name=content["name"],
        seed=content["seed"],
        run=content["run"],
        classes=content["classes"],
        scorer=None if labels is None else scorer_of(labels, content["classes"]),
        test=posteriors,
        targets={
            subset: targets(subset, modalities, all_subsets=all_subsets)
            for subset, some in complete.items()
            if some
        },
        samplers=samplers,
        training=store.splits["train"],
        training_order=train,
    )


def load_judged(folder: Path, store: Store, classifiers: Path, **options: Any) -> Judged:
    """Load the run in the folder, and the classifiers that judge it.

    Args:
        folder, store, options: as of :func:`load_trained`.
        classifiers: one folder with a classifier for each modality.

    Raises:
        MmjsdError: a model or classifier is missing, damaged, or of other data.
    """
    trained = load_trained(folder, store, **options)
    loaded, scores = {}, {}
    if trained.scorer is not None:
        for name, modality in trained.model.modalities.items():
            loaded[name], scores[f"{trained.scorer.measure}/{name}"] = load_classifier(
                classifiers / name, modality, len(store.classes), trained.model.device
            )
    return Judged(**vars(trained), classifiers=loaded, classifier_scores=scores, folder=folder)


def _posteriors(model: MultimodalVAE, split: Split, samples: Tensor) -> UnimodalPosteriors:
    return UnimodalPosteriors(model, ResidentSplit(split.sample(samples.numpy()), model.device))
