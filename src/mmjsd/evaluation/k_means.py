"""k-means, several times at once: what differs between repetitions is only where they start."""

import torch
from torch import Tensor

__all__ = ["k_means"]


def k_means(samples: Tensor, clusters: int, repetitions: int, seed: int, iterations: int = 100) -> Tensor:
    """Cluster samples by Lloyd's algorithm, from centres drawn by k-means++ (Arthur & Vassilvitskii 2007).

    Args:
        samples: (N, D).
        clusters: K.
        repetitions: R, clusterings from different centres.
        seed: of the centres.
        iterations: at most.

    Returns:
        int64 (R, N), the cluster of each sample in each repetition.
    """
    samples = samples - samples.mean(0)
    generator = torch.Generator(samples.device).manual_seed(seed)
    centres = _plus_plus(samples, clusters, repetitions, generator)
    labels = _nearest(samples, centres)
    moving = torch.arange(repetitions, device=samples.device)  # those whose clusters still change
    for _ in range(iterations):
        centres[moving] = _means(samples, labels[moving], centres[moving])
        previous, labels[moving] = labels[moving], _nearest(samples, centres[moving])
        moving = moving[(labels[moving] != previous).any(1)]
        if not len(moving):
            break
    return labels


def _means(samples: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Means of the clusters (R, K, D), where one is empty its centre: labels (R, N), centres (R, K, D)."""
    members = samples.new_zeros(*centres.shape[:2], len(samples)).scatter_(1, labels[:, None], 1.0)
    counts = members.sum(2)[..., None]
    means = (members.flatten(0, 1) @ samples).view_as(centres) / counts.clamp(min=1)
    return torch.where(counts > 0, means, centres)


def _plus_plus(samples: Tensor, clusters: int, repetitions: int, generator: torch.Generator) -> Tensor:
    """Initial centres (R, K, D): each drawn by its squared distance to the nearest before."""
    chances = torch.ones(repetitions, len(samples), dtype=samples.dtype, device=samples.device)
    nearest = torch.full_like(chances, torch.inf)
    centres = []
    for _ in range(clusters):
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
        centres.append(samples[drawn])
        nearest = torch.minimum(nearest, _squared_distances(samples, centres[-1]))
        # where every sample is a centre already, any will do
        chances = torch.where(nearest.sum(1, keepdim=True) > 0, nearest, 1.0)
    return torch.stack(centres, 1)


def _nearest(samples: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each sample, which does not depend on the sample's own square: (R, N)."""
    flat = centres.flatten(0, 1)
    distances = torch.addmm((flat**2).sum(1), samples, flat.T, alpha=-2)  # (N, R * K)
    return distances.view(-1, *centres.shape[:2]).min(-1).indices.T.contiguous()


def _squared_distances(samples: Tensor, centres: Tensor) -> Tensor:
    """(N, D), (R, D) -> (R, N)."""
    distances = (samples**2).sum(1) + (centres**2).sum(1, keepdim=True) - 2 * (centres @ samples.T)
    return distances.clamp(min=0)
