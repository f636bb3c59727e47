"""Encoder bodies and decoders, chosen by the kind and shape of a modality, never by its name.

An encoder body maps a batch of a modality to features (B, `features`); a decoder maps latents (B, D) to the
parameters of the likelihood: the mean of an image, the logits (B, L, alphabet) of a text.
The architectures are those of the reference implementation of mmJSD.
"""

from typing import Protocol

from torch import nn

from mmjsd.errors import MmjsdError
from mmjsd.models.networks import celeba_image, celeba_text, mnist, svhn, text

__all__ = ["build"]


class _Architecture(Protocol):
    def encoder(self, width: float) -> tuple[nn.Module, int]: ...

    def decoder(self, latent: int, width: float) -> nn.Module: ...


_NETWORKS: dict[tuple[str, tuple[int, ...]], _Architecture] = {
    ("image", (1, 28, 28)): mnist,
    ("image", (3, 32, 32)): svhn,
    ("text", (8,)): text,
    ("image", (3, 64, 64)): celeba_image,
    ("text", (256,)): celeba_text,
}


def build(kind: str, shape: tuple[int, ...], latent: int, width: float) -> tuple[nn.Module, int, nn.Module]:
    """Encoder body, its number of features, and decoder of `latent` dimensions, of a relative width.

    Raises:
        MmjsdError: there are no networks for this kind and shape.
    """
    architecture = _NETWORKS.get((kind, shape))
    if architecture is None:
        raise MmjsdError(f"models/networks: no networks for {kind} of shape {shape}; add them in __init__.py")
    body, features = architecture.encoder(width)
    return body, features, architecture.decoder(latent, width)
