"""Encoder bodies and decoders, found by the kind and shape of a modality, never by its name.

An encoder body maps a batch of a modality to features (B, F); a decoder maps latents (B, D) to the parameters
of the likelihood: the mean of an image or vector, logits where the likelihood is a Bernoulli, the logits
(B, L, alphabet) of a text. The networks of this package are those of the reference implementation of mmJSD.
Other shapes have the default networks of their kind.
"""

from typing import Protocol

from torch import nn

from mmjsd import registry
from mmjsd.modalities import kind_of
from mmjsd.modalities.likelihoods import BERNOULLI

__all__ = ["Networks", "build"]


class Networks(Protocol):
    """A module of networks."""

    def encoder(self, shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
        """Build the encoder body for rows of this shape, of a relative width; tell its number of features."""

    def decoder(self, shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
        """Build the decoder of latents (B, latent)."""


def build(
    kind: str,
    shape: tuple[int, ...],
    latent: int,
    width: float,
    likelihood: str = "",
    networks: Networks | None = None,
) -> tuple[nn.Module, int, nn.Module]:
    """Build an encoder body and a decoder of `latent` dimensions, of a relative width.

    Args:
        kind, shape: of the modality.
        latent: dimensions of what is decoded.
        width: relative to the usual one.
        likelihood: that the decoder gives the parameters of; nothing: the default of the kind.
        networks: to build; None: those of the registry, or the default ones of the kind.

    Returns:
        The body, its number of features, and the decoder.
    """
    if networks is None:
        name = f"{kind} {'x'.join(map(str, shape))}"
        known = name in registry.entries("networks")
        networks = registry.resolve("networks", name) if known else kind_of(kind)
    body, features = networks.encoder(shape, width)
    decoder = networks.decoder(shape, latent, width)
    return body, features, _to_logits(decoder) if likelihood == BERNOULLI else decoder


def _to_logits(decoder: nn.Module) -> nn.Module:
    """Leave out the sigmoid that a decoder, such as MNIST's, ends with: a Bernoulli has one of its own."""
    if isinstance(decoder, nn.Sequential):
        for place, layer in enumerate(decoder):
            if isinstance(layer, nn.Sigmoid) and not list(decoder[place:].parameters()):
                decoder[place] = nn.Identity()
    return decoder
