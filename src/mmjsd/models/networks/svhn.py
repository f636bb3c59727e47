"""SVHN (3, 32, 32): four 4x4 convolutions, channels 32-64-64-128, and their mirror image."""

from torch import nn

from mmjsd.modalities.convolutions import Conv2d, ConvTranspose2d
from mmjsd.modalities.layers import scaled

__all__ = ["decoder", "encoder"]


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    first, second, third, features = scaled(width, 32, 64, 64, 128)
    body = nn.Sequential(
        Conv2d(shape[0], first, 4, stride=2, padding=1),
        nn.ReLU(),
        Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(),
        Conv2d(second, third, 4, stride=2, padding=1),
        nn.ReLU(),
        Conv2d(third, features, 4),
        nn.ReLU(),
        nn.Flatten(),
    )
    return body, features


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    first, second, third, features = scaled(width, 32, 64, 64, 128)
    return nn.Sequential(
        nn.Linear(latent, features),
        nn.ReLU(),
        nn.Unflatten(1, (features, 1, 1)),
        ConvTranspose2d(features, third, 4),
        nn.ReLU(),
        ConvTranspose2d(third, second, 4, stride=2, padding=1),
        nn.ReLU(),
        ConvTranspose2d(second, first, 4, stride=2, padding=1),
        nn.ReLU(),
        ConvTranspose2d(first, shape[0], 4, stride=2, padding=1),
    )
