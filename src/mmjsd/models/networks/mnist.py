"""MNIST (1, 28, 28): one hidden layer of 400."""

from torch import nn

__all__ = ["decoder", "encoder"]

FEATURES = 400


def encoder() -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, FEATURES), nn.ReLU()), FEATURES


def decoder(latent: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(latent, FEATURES),
        nn.ReLU(),
        nn.Linear(FEATURES, 28 * 28),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 28, 28)),
    )
