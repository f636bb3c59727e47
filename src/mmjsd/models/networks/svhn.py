"""SVHN (3, 32, 32): four 4x4 convolutions, channels 32-64-64-128, and their mirror image."""

from torch import nn

__all__ = ["decoder", "encoder"]

FEATURES = 128


def encoder() -> tuple[nn.Module, int]:
    body = nn.Sequential(
        nn.Conv2d(3, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, FEATURES, 4),
        nn.ReLU(),
        nn.Flatten(),
    )
    return body, FEATURES


def decoder(latent: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(latent, FEATURES),
        nn.ReLU(),
        nn.Unflatten(1, (FEATURES, 1, 1)),
        nn.ConvTranspose2d(FEATURES, 64, 4),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, stride=2, padding=1),
    )
