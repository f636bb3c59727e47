"""Likelihoods p(x | decoder output) that kinds of modality have in common, by name.

Each computes log p(x | output) in nats, summed over all but the batch: (B, ...), (B, ...) -> (B,). A scale is
a number, or a tensor of one.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BERNOULLI", "LOG_DENSITIES", "bernoulli", "laplace", "mean_of", "normal"]

BERNOULLI = "bernoulli"


def laplace(output: "Tensor", x: "Tensor", scale: "float | Tensor") -> "Tensor":
    """Laplace of this scale around the output."""
    return -(output.float() - x).abs().sum(_all(x)) / scale - math.prod(x.shape[1:]) * _log(2 * scale)


def normal(output: "Tensor", x: "Tensor", scale: "float | Tensor") -> "Tensor":
    """Normal around the output, of which the scale is the standard deviation."""
    squares = ((output.float() - x) / scale) ** 2
    return -0.5 * (squares + math.log(2 * math.pi)).sum(_all(x)) - math.prod(x.shape[1:]) * _log(scale)


def bernoulli(output: "Tensor", x: "Tensor", scale: None) -> "Tensor":
    """Bernoulli with the output as logits: minus the cross entropy.

    Of values 0 and 1 it is the probability. Of grey ones it is usual in VAEs of images, but no density: its
    integral over 0..1 is not 1 (Loaiza-Ganem & Cunningham 2019), so it cannot be compared to those of other
    likelihoods.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    return -binary_cross_entropy_with_logits(output.float(), x, reduction="none").sum(_all(x))


LOG_DENSITIES: dict[str, Any] = {"laplace": laplace, "normal": normal, BERNOULLI: bernoulli}


def mean_of(output: "Tensor", likelihood: str) -> "Tensor":
    """Compute the mean of the likelihood: the output, or its sigmoid where that is logits."""
    return output.float().sigmoid() if likelihood == BERNOULLI else output.float()


def _all(x: "Tensor") -> tuple[int, ...]:
    """All axes but the batch's."""
    return tuple(range(1, x.dim()))


def _log(value: "float | Tensor") -> "float | Tensor":
    return math.log(value) if isinstance(value, float) else value.log()
