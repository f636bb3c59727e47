"""CelebA images (3, 64, 64): residual networks of five levels, 128 to 640 channels."""

from torch import nn

from mmjsd.modalities.convolutions import ConvTranspose2d
from mmjsd.modalities.layers import scaled
from mmjsd.models.networks.residual import Block

__all__ = ["decoder", "encoder"]

LEVELS = (128, 256, 384, 512, 640)


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    levels = scaled(width, *LEVELS)
    body = nn.Sequential(
        nn.Conv2d(shape[0], levels[0], 3, stride=2, padding=1, bias=False),
        *(Block(2, levels[i], levels[i + 1], whole=i == 3) for i in range(4)),
        nn.Flatten(),
    )
    return body, levels[-1]


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    levels = scaled(width, *LEVELS)
    return nn.Sequential(
        nn.Linear(latent, levels[-1]),
        nn.Unflatten(1, (levels[-1], 1, 1)),
        *(Block(2, levels[i + 1], levels[i], up=True, whole=i == 3) for i in reversed(range(4))),
        ConvTranspose2d(levels[0], shape[0], 3, stride=2, padding=1, output_padding=1),
    )
