"""Precision/recall distributions.

Sajjadi, Bachem, Lucic, Bousquet & Gelly 2018, "Assessing generative models via precision and recall".
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.comparable import comparable
from mmjsd.evaluation.k_means import k_means

__all__ = ["f_beta_pair", "precision_recall_distribution"]

ANGLES = 1001
"""Points of a precision/recall curve, as in the paper."""


def precision_recall_distribution(
    real: ArrayLike | Tensor,
    generated: ArrayLike | Tensor,
    clusters: int = 20,
    repetitions: int = 10,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute precision and recall of the generated samples for every trade-off between the two (PRD).

    Both sets together are clustered by k-means; P and Q being the histograms of the real and the generated
    over the clusters, precision is sum_i min(slope P_i, Q_i) and recall precision / slope (Sajjadi et al.
    2018, Eq. 8), for slopes at equal angles. The curve is the mean over several clusterings.

    Args:
        real, generated: embeddings, (N, D) each; as many of both, or the clusters follow the larger set.
        clusters: of a clustering.
        repetitions: clusterings.
        seed: of the clusterings.

    Returns:
        precision and recall, (1001,) each, from full precision to full recall.

    Raises:
        MmjsdError: embeddings of different width, not finite, or fewer samples than clusters.
    """
    sets = comparable(real, generated)
    if (fewest := min(map(len, sets))) < clusters:
        raise MmjsdError(
            f"quality: {fewest} samples cannot be put into {clusters} clusters; give as many at least"
        )
    samples = torch.cat(sets).float()
    labels = k_means(samples, clusters, repetitions, seed)
    p, q = (_histograms(part, clusters) for part in labels.split([len(s) for s in sets], dim=1))
    # 0 and 90 degrees are left out: there one of the two is 0 by definition
    angles = torch.linspace(1e-6, torch.pi / 2 - 1e-6, ANGLES, dtype=torch.float64, device=samples.device)
    slopes = torch.tan(angles)[:, None, None]
    precision = torch.minimum(slopes * p, q).sum(-1)
    recall = precision / slopes[..., 0]
    curves = [c.mean(1).clamp(0, 1).flip(0).cpu().numpy() for c in (precision, recall)]
    return curves[0], curves[1]


def f_beta_pair(precision: ArrayLike, recall: ArrayLike, beta: float = 8) -> tuple[float, float]:
    """Find the best F_beta and F_1/beta on a precision/recall curve (Sajjadi et al. 2018, Sec. 4).

    F_beta, with beta > 1, weighs recall more (are all kinds of real samples generated?), F_1/beta precision
    (is what is generated realistic?).
    """
    return _f_beta(precision, recall, beta), _f_beta(precision, recall, 1 / beta)


def _f_beta(precision: ArrayLike, recall: ArrayLike, beta: float) -> float:
    p, r = np.asarray(precision), np.asarray(recall)
    return float(((1 + beta**2) * p * r / np.maximum(beta**2 * p + r, 1e-12)).max())


def _histograms(labels: Tensor, clusters: int) -> Tensor:
    """Share of the samples in each cluster: (R, N) -> (R, clusters)."""
    counts = torch.zeros(len(labels), clusters, dtype=torch.float64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.float64)) / labels.shape[1]
