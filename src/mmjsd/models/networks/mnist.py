"""MNIST (1, 28, 28): one hidden layer of 400."""

import math

from torch import nn

from mmjsd.modalities.layers import scaled

__all__ = ["decoder", "encoder"]


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    (hidden,) = scaled(width, 400)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU()), hidden


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    (hidden,) = scaled(width, 400)
    return nn.Sequential(
        nn.Linear(latent, hidden),
        nn.ReLU(),
        nn.Linear(hidden, math.prod(shape)),
        nn.Sigmoid(),
        nn.Unflatten(1, shape),
    )
