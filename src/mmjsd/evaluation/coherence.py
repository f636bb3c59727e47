"""Coherence: do generated modalities show the class they are given, and the same class as each other?

Where samples have attributes instead of a class, in place of the share of right answers: average precision.
Judged by classifiers of the real data, in eval mode; their own test accuracy bounds what can be measured.
"""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from mmjsd.average_precision import average_precisions
from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.models.classifiers import Classifier
from mmjsd.models.vae import MultimodalVAE

__all__ = ["agreement", "conditional", "conditional_precisions", "random", "random_precisions"]


def conditional(
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    count: int | None = None,
) -> dict[str, float]:
    """For each modality: share of the first `count` test samples for which it shows their label."""
    samples = test.complete(subset)[:count]
    right = {
        name: logits.argmax(1) == test.labels[samples]
        for name, logits in _conditional_logits(classifiers, test, subset, samples).items()
    }
    return {name: int(found.sum()) / len(samples) for name, found in right.items()}


def random(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> float:
    """Share of samples from the prior on whose generated modalities all classifiers agree."""
    predicted = _random_logits(model, classifiers, count).argmax(-1)
    return int(agreement(predicted).sum()) / count


def conditional_precisions(
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    count: int | None = None,
) -> dict[str, Tensor]:
    """For each modality: average precision (A,) of what its classifier sees against the true attributes.

    Of the first `count` test samples.
    """
    samples = test.complete(subset)[:count]
    present = test.labels[samples].bool()
    return {
        name: average_precisions(logits, present)
        for name, logits in _conditional_logits(classifiers, test, subset, samples).items()
    }


def random_precisions(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> Tensor:
    """Average precision (A,) of what is seen in one modality of samples from the prior against another.

    The mean over all pairs of modalities, each in turn giving the attributes its classifier finds more likely
    than not. NaN for an attribute that all or none of the samples show, on which agreeing is no merit, and
    for all of them where there is one modality.
    """
    logits = _random_logits(model, classifiers, count).cpu()
    found = [torch.full(logits.shape[2:], torch.nan, dtype=torch.float64)]  # counts for nothing beside others
    for seen, given in itertools.permutations(range(len(logits)), 2):
        shown = logits[given] > 0
        varies = shown.any(0) & ~shown.all(0)
        found.append(torch.where(varies, average_precisions(logits[seen], shown), torch.nan))
    return torch.stack(found).nanmean(0)


def agreement(predicted: Tensor) -> Tensor:
    """Where all classifiers say the same: (M, B) -> bool (B,)."""
    return (predicted == predicted[:1]).all(0)


@torch.no_grad()
def _conditional_logits(
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    samples: Tensor,
) -> dict[str, Tensor]:
    """What the classifiers see in each modality generated given the subset: (B,) -> (B, C) each."""
    logits: dict[str, list[Tensor]] = {}
    for generated in conditional_samples(test, subset, samples):
        for name, x in generated.items():
            logits.setdefault(name, []).append(classifiers[name](x))
    return {name: torch.cat(parts) for name, parts in logits.items()}


@torch.no_grad()
def _random_logits(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> Tensor:
    """What the classifiers see in each modality of `count` samples from the prior: (M, count, C)."""
    parts = [
        torch.stack([classifiers[name](x) for name, x in generated.items()])
        for generated in random_samples(model, count)
    ]
    return torch.cat(parts, 1)
