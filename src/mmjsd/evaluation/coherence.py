"""Coherence: do generated modalities show the class they are given, and the same class as each other?

Judged by classifiers of the real data, in eval mode; their own test accuracy bounds what can be measured.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmjsd.distributions import Gaussian
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.classifiers import Classifier
from mmjsd.models.vae import MultimodalVAE

__all__ = ["agreement", "conditional", "random"]

CHUNK = 2048


@torch.no_grad()
def conditional(
    model: MultimodalVAE,
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    count: int | None = None,
) -> dict[str, float]:
    """For each modality: share of the first `count` test samples whose generated modality shows their label.

    The shared latent is sampled from the posterior given the subset, private latents from N(0, I).
    """
    samples = test.complete(subset)[:count]
    right: dict[str, Tensor] = {}
    for part in samples.split(CHUNK):
        c = test.posterior(subset, part).rsample()
        for name, predicted in _classes(model, classifiers, c).items():
            right[name] = right.get(name, torch.tensor(0)) + (predicted == test.labels[part]).sum()
    return {name: int(count) / len(samples) for name, count in right.items()}


@torch.no_grad()
def random(model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int) -> float:
    """Share of samples from the prior on whose generated modalities all classifiers agree."""
    agreeing = 0
    for part in torch.arange(count).split(CHUNK):
        c = Gaussian.standard(len(part), model.shared_latent, device=model.device).rsample()
        predicted = torch.stack(list(_classes(model, classifiers, c).values()))
        agreeing += int(agreement(predicted).sum())
    return agreeing / count


def agreement(predicted: Tensor) -> Tensor:
    """Where all classifiers say the same: (M, B) -> bool (B,)."""
    return (predicted == predicted[:1]).all(0)


def _classes(model: MultimodalVAE, classifiers: Mapping[str, Classifier], c: Tensor) -> dict[str, Tensor]:
    """Predicted class of every modality generated from c: (B, D) -> (B,) each."""
    generated = model.generate_from(c)
    return {name: classifiers[name](x).argmax(1) for name, x in generated.items()}
