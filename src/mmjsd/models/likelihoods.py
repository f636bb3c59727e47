"""Likelihoods p(x_j | s_j, c) by kind of modality: Laplace for images and vectors, categorical for text."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["likelihood_mean", "log_likelihood"]


def log_likelihood(kind: str, output: Tensor, x: Tensor, scale: float) -> Tensor:
    """log p(x | decoder output) in nats, summed over all but the batch: -> (B,).

    Args:
        kind: `text`: output are logits (B, L, A), x token ids (B, L). Else output is the mean of a Laplace
            distribution of the given scale, of the shape of x.
    """
    if kind == "text":
        return -F.cross_entropy(output.float().flatten(0, 1), x.flatten(), reduction="none").view_as(x).sum(1)
    size = math.prod(x.shape[1:])
    return -(output.float() - x).abs().sum(tuple(range(1, x.dim()))) / scale - size * math.log(2 * scale)


def likelihood_mean(kind: str, output: Tensor) -> Tensor:
    """The mean of the likelihood: a generated sample. Character probabilities (B, L, A) for text."""
    return torch.softmax(output.float(), -1) if kind == "text" else output.float()
