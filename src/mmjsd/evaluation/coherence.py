"""Coherence: do generated modalities show the class they are given, and the same class as each other?

Judged by classifiers of the real data, in eval mode; their own test accuracy bounds what can be measured.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.models.classifiers import Classifier
from mmjsd.models.vae import MultimodalVAE

__all__ = ["agreement", "conditional", "random"]


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


def agreement(predicted: Tensor) -> Tensor:
    """Where all classifiers say the same: (M, B) -> bool (B,)."""
    return (predicted == predicted[:1]).all(0)
