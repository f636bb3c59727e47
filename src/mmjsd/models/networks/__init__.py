"""Encoder bodies and decoders, found by the kind and shape of a modality, never by its name.

An encoder body maps a batch of a modality to features (B, F); a decoder maps latents (B, D) to the parameters
of the likelihood: the mean of an image, the logits (B, L, alphabet) of a text. The networks of this package
are those of the reference implementation of mmJSD. Other shapes have the default networks of their kind.
"""

from typing import Protocol

from torch import nn

from mmjsd import registry
from mmjsd.modalities import kind_of

__all__ = ["Networks", "build"]


class Networks(Protocol):
    """A module of networks."""

    def encoder(self, shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
        """Build the encoder body for rows of this shape, of a relative width; tell its number of features."""

    def decoder(self, shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
        """Build the decoder of latents (B, latent)."""


def build(kind: str, shape: tuple[int, ...], latent: int, width: float) -> tuple[nn.Module, int, nn.Module]:
    """Build an encoder body and a decoder of `latent` dimensions, of a relative width.

    Returns:
        The body, its number of features, and the decoder.
    """
    name = f"{kind} {'x'.join(map(str, shape))}"
    known = name in registry.entries("networks")
    networks: Networks = registry.resolve("networks", name) if known else kind_of(kind)
    body, features = networks.encoder(shape, width)
    return body, features, networks.decoder(shape, latent, width)
