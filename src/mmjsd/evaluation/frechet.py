"""The Fréchet distance of two sets of embeddings (Heusel et al. 2017)."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.comparable import comparable

__all__ = ["frechet_distance"]


def frechet_distance(real: ArrayLike | Tensor, generated: ArrayLike | Tensor) -> float:
    """Compute ||m_1 - m_2||^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^1/2) of Gaussians fitted to both sets.

    Heusel et al. 2017, Eq. 6; of Inception features, the FID.

    Args:
        real, generated: embeddings, (N, D) each.

    Raises:
        MmjsdError: embeddings of different width, not finite, or fewer than two samples.
    """
    sets = comparable(real, generated)
    if (fewest := min(map(len, sets))) < 2:
        raise MmjsdError(f"quality: {fewest} sample has no covariance; give two at least")
    means = [s.mean(0) for s in sets]
    scaled = [(s - m) / (len(s) - 1) ** 0.5 for s, m in zip(sets, means, strict=True)]
    covariances = [s.T @ s for s in scaled]
    # tr (C_1 C_2)^1/2 is the sum of the singular values of C_1^1/2 C_2^1/2: unlike the square root of the
    # product, which is not symmetric, those exist whatever the rank
    first, second = (_root(c) for c in covariances)
    overlap = torch.linalg.svdvals(first @ second).sum()
    distance = ((means[0] - means[1]) ** 2).sum() + sum(c.trace() for c in covariances) - 2 * overlap
    return max(float(distance), 0.0)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
