"""Representation: how well a linear classifier reads the class from the shared latent."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmjsd.evaluation.latents import UnimodalPosteriors

__all__ = ["accuracy"]


def accuracy(
    train: UnimodalPosteriors, test: UnimodalPosteriors, subset: tuple[str, ...], fitted_on: Tensor
) -> float:
    """Accuracy on the whole test split of a logistic regression fitted on training samples.

    Both see the posterior means of the shared latent. Share in 0..1.

    Args:
        subset: the modalities the posterior is given.
        fitted_on: indices of training samples.
    """
    fitted_on = train.complete(subset, fitted_on)
    everything = test.complete(subset, torch.arange(len(test), device=fitted_on.device))
    regression = LogisticRegression(max_iter=2000)
    regression.fit(
        train.posterior(subset, fitted_on).mean.cpu().numpy(), train.labels(fitted_on).cpu().numpy()
    )
    means = test.posterior(subset, everything).mean.cpu().numpy()
    return float(regression.score(means, test.labels(everything).cpu().numpy()))
