"""MNIST (1, 28, 28): one hidden layer of 400."""

from torch import nn

from mmjsd.models.networks.width import scaled

__all__ = ["decoder", "encoder"]


def encoder(width: float) -> tuple[nn.Module, int]:
    (hidden,) = scaled(width, 400)
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, hidden), nn.ReLU()), hidden


def decoder(latent: int, width: float) -> nn.Module:
    (hidden,) = scaled(width, 400)
    return nn.Sequential(
        nn.Linear(latent, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 28 * 28),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 28, 28)),
    )
