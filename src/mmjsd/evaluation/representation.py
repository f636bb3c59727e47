"""Representation: how well a linear classifier reads the class, or the attributes, from the shared latent."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.averages import Average, deviations
from mmjsd.evaluation.keys import named
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.trained import Judged
from mmjsd.models.scorers import Score, Scorer
from mmjsd.params.types import Samples
from mmjsd.subsets import name_of

__all__ = ["compute", "latent_means", "linear_score", "standardised"]

TITLE = "Representation"
READING = (
    "A linear classifier of the shared latent given the modalities A: its accuracy, or of attributes its "
    "mean average precision; more is better. `.../views/k` is its mean over all A of k modalities. "
    "`representation/raw/A` is the same of the numbers themselves, "
    "standardised, where all of A are vectors: what the latent is to be held against."
)
HEADLINE = {
    "latent accuracy, mean": "representation/accuracy/mean",
    "latent average precision, mean": "representation/average_precision/mean",
}
CHANCE = ("representation/",)


def compute(judged: Judged, *, train_samples: Samples = 500) -> dict[str, float]:
    """Score a linear classifier of the shared latent given each subset of modalities, and of plain vectors.

    Of data without labels there is nothing to be read, nor given a subset that training samples of two
    classes do not have: a line says so.

    Args:
        judged: what is judged.
        train_samples: Training samples the logistic regression of the representation is fitted on, at most.

    Raises:
        MmjsdError: the training samples are of one class or none.
    """
    scorer = judged.scorer
    if scorer is None:
        print("representation: the data have no labels: left out", flush=True)
        return {}
    train = judged.train(train_samples)
    found: dict[str, float] = {}
    everything, test = Average(), judged.test
    views: dict[int, Average] = {}
    there = dict(zip(judged.model.modalities, judged.training.pairs.T >= 0, strict=True))
    for subset in judged.subsets:
        given = name_of(subset)
        complete = np.all([there[name] for name in subset], axis=0)
        assert judged.training.labels is not None
        if not scorer.can_learn(judged.training.labels[complete]):
            print(f"representation: training samples teach nothing of {given}: left out", flush=True)
            continue
        score = linear_score(scorer, train, test, subset)
        found |= named(score, f"representation/{scorer.measure}/{given}", f"representation/{given}")
        moved = deviations(score, test.complete(subset), len(test))
        everything.add(score.value, moved)
        views.setdefault(len(subset), Average()).add(score.value, moved)
        if all(judged.model.modalities[name].kind == "vector" for name in subset):
            raw = linear_score(scorer, train, test, subset, standardised)
            found |= named(raw, f"representation/raw/{given}", f"representation/raw/{given}")
    for size, of_size in views.items():
        found |= of_size.named(f"representation/{scorer.measure}/views/{size}")
    return found | everything.named(f"representation/{scorer.measure}/mean")


Features = Callable[[UnimodalPosteriors, UnimodalPosteriors, tuple[str, ...]], tuple[Tensor, Tensor]]


def latent_means(
    train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Give the posterior means of the shared latent, (N, D) and (B, D), of samples that have the subset."""
    first, second = (of.posterior(subset, of.complete(subset)).mean for of in (train, test))
    return first, second


def standardised(
    train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Give the values of vectors, (N, D) and (B, D), in units of the training samples' deviations."""
    first, second = (
        torch.cat([of.inputs(name, of.complete(subset)) for name in subset], 1) for of in (train, test)
    )
    deviation, mean = torch.std_mean(first, 0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return (first - mean) / deviation, (second - mean) / deviation


def linear_score(
    scorer: Scorer,
    train: UnimodalPosteriors,
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    features: Features = latent_means,
) -> Score:
    """Score a logistic regression on the test samples, fitted on the training samples.

    Both are those that have all of the subset; it sees their features, usually the latent given the subset.

    Raises:
        MmjsdError: the training samples are of one class or none.
    """
    labels = train.labels[train.complete(subset)].cpu().numpy()
    if not scorer.can_learn(labels):
        raise MmjsdError(
            f"evaluation.train_samples: the {len(labels)} of {len(train)} that have {name_of(subset)} are "
            "not of two classes; raise it"
        )
    x, seen = (values.cpu().numpy() for values in features(train, test, subset))
    return scorer.score(scorer.linear(x, labels, seen), test.labels[test.complete(subset)].cpu())
