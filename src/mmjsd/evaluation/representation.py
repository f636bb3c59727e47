"""Representation: how well a linear classifier reads the class from the shared latent."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mmjsd.evaluation.latents import UnimodalPosteriors

__all__ = ["accuracy"]


def accuracy(train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...]) -> float:
    """Accuracy on the test samples of a logistic regression fitted on the training samples. Share in 0..1.

    Both see the posterior means of the shared latent given the subset, where all of it is there.
    """
    regression = LogisticRegression(max_iter=2000)
    regression.fit(*_means_and_labels(train, subset))
    return float(regression.score(*_means_and_labels(test, subset)))


def _means_and_labels(
    posteriors: UnimodalPosteriors, subset: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    samples = posteriors.complete(subset)
    means = posteriors.posterior(subset, samples).mean
    return means.cpu().numpy(), posteriors.labels[samples].cpu().numpy()
