"""PolyMNIST (3, 28, 28): three 3x3 convolutions of stride 2, channels 32-64-128, and their mirror image.

As in the releases of MoPoE and MVTCAE, where the hidden layer is as wide as the latent, 512.
"""

from torch import nn

from mmjsd.modalities.convolutions import Conv2d, ConvTranspose2d
from mmjsd.modalities.layers import scaled

__all__ = ["decoder", "encoder"]


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    first, second, third, features = scaled(width, 32, 64, 128, 512)
    body = nn.Sequential(
        Conv2d(shape[0], first, 3, stride=2, padding=1),
        nn.ReLU(),
        Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        Conv2d(second, third, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(third * 4 * 4, features),
        nn.ReLU(),
    )
    return body, features


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    first, second, third = scaled(width, 32, 64, 128)
    return nn.Sequential(
        nn.Linear(latent, third * 4 * 4),
        nn.ReLU(),
        nn.Unflatten(1, (third, 4, 4)),
        ConvTranspose2d(third, second, 3, stride=2, padding=1),
        nn.ReLU(),
        ConvTranspose2d(second, first, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        ConvTranspose2d(first, shape[0], 3, stride=2, padding=1, output_padding=1),
    )
