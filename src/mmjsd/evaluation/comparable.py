"""Two sets of embeddings, to be compared as distributions."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mmjsd.devices import as_float64
from mmjsd.errors import MmjsdError

__all__ = ["comparable"]


def comparable(*sets: ArrayLike | Tensor) -> tuple[Tensor, ...]:
    """Check sets of embeddings (N, D) and make double precision tensors of them.

    Raises:
        MmjsdError: embeddings of different width, or not finite.
    """
    tensors = tuple(as_float64(torch.as_tensor(s)) for s in sets)
    if any(t.dim() != 2 for t in tensors) or len({t.shape[1] for t in tensors}) > 1:
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise MmjsdError(f"quality: embeddings must be (N, D) with one D, got {shapes}")
    if not all(torch.isfinite(t).all() for t in tensors):
        raise MmjsdError("quality: an embedding is not finite; look at the generated samples")
    return tensors
