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
    for _ in range(iterations):
        members = torch.nn.functional.one_hot(labels, clusters).to(samples.dtype)  # (R, N, K)
        counts = members.sum(1)[..., None]
        means = members.transpose(1, 2) @ samples / counts.clamp(min=1)
        centres = torch.where(counts > 0, means, centres)
        previous, labels = labels, _nearest(samples, centres)
        if torch.equal(previous, labels):
            break
    return labels


def _plus_plus(samples: Tensor, clusters: int, repetitions: int, generator: torch.Generator) -> Tensor:
    """Initial centres (R, K, D): each drawn by its squared distance to the nearest before."""
    chances = torch.ones(repetitions, len(samples), dtype=samples.dtype, device=samples.device)
    nearest = torch.full_like(chances, torch.inf)
    centres = []
    for _ in range(clusters):
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
        centres.append(samples[drawn])
        nearest = torch.minimum(nearest, _squared_distances(samples, centres[-1][:, None])[..., 0])
        # where every sample is a centre already, any will do
        chances = torch.where(nearest.sum(1, keepdim=True) > 0, nearest, 1.0)
    return torch.stack(centres, 1)


def _nearest(samples: Tensor, centres: Tensor) -> Tensor:
    return _squared_distances(samples, centres).argmin(-1)


def _squared_distances(samples: Tensor, centres: Tensor) -> Tensor:
    """(N, D), (R, K, D) -> (R, N, K)."""
    flat = centres.flatten(0, 1)
    products = samples @ flat.T
    distances = (samples**2).sum(1, keepdim=True) + (flat**2).sum(1) - 2 * products
    return distances.clamp(min=0).unflatten(1, centres.shape[:2]).transpose(0, 1)
