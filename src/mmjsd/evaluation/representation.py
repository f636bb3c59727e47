"""Representation: how well a linear classifier reads the class, or the attributes, from the shared latent."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmjsd.average_precision import average_precisions
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.subsets import name_of

__all__ = ["accuracy", "attribute_precisions"]


def accuracy(train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]) -> float:
    """Accuracy on the test samples of a logistic regression fitted on the training samples. Share in 0..1.

    Both see the posterior means of the shared latent given the subset, where all of it is there.

    Raises:
        MmjsdError: the training samples are of one class or none.
    """
    means, labels = _means_and_labels(train, subset)
    if len(np.unique(labels)) < 2:
        raise MmjsdError(
            f"evaluation.train_samples: the {len(labels)} of {len(train)} that have {name_of(subset)} are "
            "not of two classes; raise it"
        )
    regression = LogisticRegression(max_iter=2000)
    regression.fit(means, labels)
    return float(regression.score(*_means_and_labels(test, subset)))


def attribute_precisions(
    train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]
) -> Tensor:
    """Average precision on the test samples of a logistic regression for each attribute: -> (A,).

    Where all or none of the training samples have an attribute nothing is learnt of it: all scores are equal.
    """
    means, labels = _means_and_labels(train, subset)
    seen, present = _means_and_labels(test, subset)
    scores = np.zeros(present.shape)
    for attribute, column in enumerate(labels.T):
        if 0 < column.sum() < len(column):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # of separable attributes
                regression = LogisticRegression(max_iter=500).fit(means, column)
            scores[:, attribute] = regression.decision_function(seen)
    return average_precisions(torch.from_numpy(scores), torch.from_numpy(present).bool())


def _means_and_labels(
    posteriors: UnimodalPosteriors, subset: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    samples = posteriors.complete(subset)
    means = posteriors.posterior(subset, samples).mean
    return means.cpu().numpy(), posteriors.labels[samples].cpu().numpy()
