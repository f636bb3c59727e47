"""Representation: how well a linear classifier reads the class, or the attributes, from the shared latent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.averages import Average, deviations
from mmjsd.evaluation.keys import named
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.trained import Judged
from mmjsd.models.scorers import Score, Scorer
from mmjsd.params.types import Samples
from mmjsd.subsets import name_of

__all__ = ["compute", "linear_score"]

TITLE = "Representation"
READING = (
    "A linear classifier of the shared latent given the modalities A: its accuracy, or of attributes its "
    "mean average precision; more is better."
)
HEADLINE = {
    "latent accuracy, mean": "representation/accuracy/mean",
    "latent average precision, mean": "representation/average_precision/mean",
}


def compute(judged: Judged, *, train_samples: Samples = 500) -> dict[str, float]:
    """Score a linear classifier of the shared latent given each subset of modalities.

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
        everything.add(score.value, deviations(score, test.complete(subset), len(test)))
    return found | everything.named(f"representation/{scorer.measure}/mean")


def linear_score(
    scorer: Scorer, train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]
) -> Score:
    """Score a logistic regression on the test samples, fitted on the training samples.

    Both see the posterior means of the shared latent given the subset, where all of it is there.

    Raises:
        MmjsdError: the training samples are of one class or none.
    """
    means, labels = _means_and_labels(train, subset)
    if not scorer.can_learn(labels):
        raise MmjsdError(
            f"evaluation.train_samples: the {len(labels)} of {len(train)} that have {name_of(subset)} are "
            "not of two classes; raise it"
        )
    seen, _ = _means_and_labels(test, subset)
    return scorer.score(scorer.linear(means, labels, seen), test.labels[test.complete(subset)].cpu())


def _means_and_labels(
    posteriors: UnimodalPosteriors, subset: tuple[str, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    samples = posteriors.complete(subset)
    means = posteriors.posterior(subset, samples).mean
    return means.cpu().numpy(), posteriors.labels[samples].cpu().numpy()
