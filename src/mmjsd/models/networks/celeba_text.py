"""CelebA texts of 256 characters: residual networks of five levels, 128 to 640 channels."""

from torch import Tensor, nn

from mmjsd.modalities.convolutions import RowConv1d, RowConvTranspose1d
from mmjsd.modalities.layers import one_hot, scaled
from mmjsd.modalities.text import ALPHABET
from mmjsd.models.networks.residual import Block

__all__ = ["decoder", "encoder"]

LEVELS = (128, 256, 384, 512, 640, 640, 640)
"""Channels at the lengths 128, 64, 32, 16, 8, 4 and 1."""


class _Encoder(nn.Module):
    def __init__(self, levels: list[int]):
        super().__init__()
        last = len(levels) - 2
        self.body = nn.Sequential(
            RowConv1d(len(ALPHABET), levels[0], 4, stride=2, padding=1, bias=False),
            *(Block(1, levels[i], levels[i + 1], whole=i == last) for i in range(last + 1)),
            nn.Flatten(),
        )

    def forward(self, text: Tensor) -> Tensor:
        return self.body(one_hot(text, len(ALPHABET)).unsqueeze(2))


class _Decoder(nn.Module):
    def __init__(self, latent: int, levels: list[int]):
        super().__init__()
        last = len(levels) - 2
        self.body = nn.Sequential(
            nn.Linear(latent, levels[-1]),
            nn.Unflatten(1, (levels[-1], 1, 1)),
            *(
                Block(1, levels[i + 1], levels[i], up=True, whole=i == last)
                for i in reversed(range(last + 1))
            ),
            RowConvTranspose1d(levels[0], len(ALPHABET), 4, stride=2, padding=1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.body(latent).squeeze(2).transpose(1, 2)


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    levels = scaled(width, *LEVELS)
    return _Encoder(levels), levels[-1]


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    return _Decoder(latent, scaled(width, *LEVELS))
