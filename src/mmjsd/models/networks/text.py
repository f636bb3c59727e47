"""Text of 8 characters: a 1x1 convolution to 128 channels and two 4-wide ones, and their mirror image."""

from torch import Tensor, nn

from mmjsd.modalities.convolutions import Conv1d, ConvTranspose1d
from mmjsd.modalities.layers import one_hot, scaled
from mmjsd.modalities.text import ALPHABET

__all__ = ["decoder", "encoder"]


class _Encoder(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv1d(len(ALPHABET), features, 1),
            nn.ReLU(),
            Conv1d(features, features, 4, stride=2, padding=1),
            nn.ReLU(),
            Conv1d(features, features, 4),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, text: Tensor) -> Tensor:
        return self.body(one_hot(text, len(ALPHABET)))


class _Decoder(nn.Module):
    def __init__(self, latent: int, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(latent, features),
            nn.ReLU(),
            nn.Unflatten(1, (features, 1)),
            ConvTranspose1d(features, features, 4),
            nn.ReLU(),
            ConvTranspose1d(features, features, 4, stride=2, padding=1),
            nn.ReLU(),
            Conv1d(features, len(ALPHABET), 1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.body(latent).transpose(1, 2)


def encoder(shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
    (features,) = scaled(width, 128)
    return _Encoder(features), features


def decoder(shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
    return _Decoder(latent, *scaled(width, 128))
