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


@torch.no_grad()
def conditional(
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    count: int | None = None,
) -> dict[str, float]:
    """For each modality: share of the first `count` test samples for which it shows their label."""
    samples = test.complete(subset)[:count]
    right: dict[str, Tensor] = {}
    for chunk, generated in conditional_samples(test, subset, samples):
        for name, x in generated.items():
            shown = classifiers[name](x).argmax(1) == test.labels[chunk]
            right[name] = right.get(name, torch.tensor(0)) + shown.sum()
    return {name: int(number) / len(samples) for name, number in right.items()}


@torch.no_grad()
def random(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> float:
    """Share of samples from the prior on whose generated modalities all classifiers agree."""
    agreeing = 0
    for generated in random_samples(model, count):
        predicted = torch.stack([classifiers[name](x).argmax(1) for name, x in generated.items()])
        agreeing += int(agreement(predicted).sum())
    return agreeing / count


@torch.no_grad()
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
    logits: dict[str, list[Tensor]] = {}
    for _, generated in conditional_samples(test, subset, samples):
        for name, x in generated.items():
            logits.setdefault(name, []).append(classifiers[name](x))
    present = test.labels[samples].bool()
    return {name: average_precisions(torch.cat(parts), present) for name, parts in logits.items()}


@torch.no_grad()
def random_precisions(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> Tensor:
    """Average precision (A,) of what is seen in one modality of samples from the prior against another.

    The mean over all pairs of modalities, each in turn giving the attributes its classifier finds more likely
    than not. NaN for an attribute that all or none of the samples show, on which agreeing is no merit.
    """
    parts = [
        torch.stack([classifiers[name](x) for name, x in generated.items()])
        for generated in random_samples(model, count)
    ]
    logits = torch.cat(parts, 1)
    pairs = itertools.permutations(range(len(logits)), 2)
    found = []
    for seen, given in pairs:
        shown = logits[given] > 0
        varies = shown.any(0) & ~shown.all(0)
        found.append(torch.where(varies, average_precisions(logits[seen], shown), torch.nan))
    return torch.stack(found).nanmean(0)


def agreement(predicted: Tensor) -> Tensor:
    """Where all classifiers say the same: (M, B) -> bool (B,)."""
    return (predicted == predicted[:1]).all(0)
