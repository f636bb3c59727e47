"""Quality: how close generated samples come to real ones, as distributions in the space of an embedding.

Precision/recall distributions (Sajjadi et al. 2018, "Assessing generative models via precision and recall")
and the Fréchet distance (Heusel et al. 2017). Both compare whole sets, so neither depends on the order of
its samples.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mmjsd.devices import as_float64
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.embeddings import Embedding
from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.subsets import name_of

__all__ = ["Quality", "f_beta_pair", "frechet_distance", "precision_recall_distribution", "qualities"]

ANGLES = 1001
"""Points of a precision/recall curve, as in the paper."""


class Quality(NamedTuple):
    """Of one set of generated images, against real ones of its modality."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    """The precision/recall curve, (1001,) each."""
    f8: float
    f1_8: float
    """F_8 weighs recall, F_1/8 precision."""
    mean: float
    """Mean of all precisions and recalls of the curve."""
    fid: float
    """Fréchet distance in the embedding; only of Inception features is it the FID of other work."""


@torch.no_grad()
def qualities(
    embed: Embedding,
    test: UnimodalPosteriors,
    conditions: Iterable[tuple[str, ...]],
    count: int,
    seed: int = 0,
) -> dict[tuple[str, str], Quality]:
    """Quality of the images of every image modality, random and generated given each subset.

    As many images are generated as there are real ones to compare them with: the distinct images of the test
    pairs, at most `count`.

    Args:
        embed: the embedding.
        test: the posteriors of the test pairs, in random order.
        conditions: subsets of modalities; the empty one stands for the prior.
        count: images of a set at most.
        seed: of the clusterings.

    Returns:
        (subset joined by `-` or `random`, modality) -> quality.

    Raises:
        MmjsdError: fewer images than clusters.
    """
    model = test.model
    images = tuple(name for name, m in model.modalities.items() if m.kind == "image")
    real = {}
    for name in images:
        rows = test.complete((name,))
        _, first = np.unique(test.columns[name][rows].cpu().numpy(), return_index=True)
        chosen = rows[torch.as_tensor(np.sort(first)[:count], device=rows.device)]
        real[name] = torch.cat([embed(name, test.inputs(name, part)) for part in chosen.split(512)])
    most = max(map(len, real.values()), default=0)
    found = {}
    for subset in conditions:
        parts: Iterable[dict[str, Tensor]] = random_samples(model, most, images)
        if subset:
            parts = conditional_samples(test, subset, test.complete(subset)[:most], images)
        embedded: dict[str, list[Tensor]] = {name: [] for name in images}
        for generated in parts:
            for name, x in generated.items():
                embedded[name].append(embed(name, x))
        for name, chunks in embedded.items():
            generated_set = torch.cat(chunks)[: len(real[name])]
            found[name_of(subset) or "random", name] = _quality(real[name], generated_set, seed)
    return found


def _quality(real: Tensor, generated: Tensor, seed: int) -> Quality:
    precision, recall = precision_recall_distribution(real, generated, seed=seed)
    f8, f1_8 = f_beta_pair(precision, recall)
    mean = float(np.concatenate([precision, recall]).mean())
    return Quality(precision, recall, f8, f1_8, mean, frechet_distance(real, generated))


def precision_recall_distribution(
    real: ArrayLike | Tensor,
    generated: ArrayLike | Tensor,
    clusters: int = 20,
    repetitions: int = 10,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of the generated samples for every trade-off between the two (PRD).

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
    sets = _checked(real, generated)
    if (fewest := min(map(len, sets))) < clusters:
        raise MmjsdError(
            f"quality: {fewest} samples cannot be put into {clusters} clusters; give as many at least"
        )
    samples = torch.cat(sets).float()
    labels = _cluster(samples, clusters, repetitions, seed)
    p, q = (_histograms(part, clusters) for part in labels.split([len(s) for s in sets], dim=1))
    # 0 and 90 degrees are left out: there one of the two is 0 by definition
    angles = torch.linspace(1e-6, torch.pi / 2 - 1e-6, ANGLES, dtype=torch.float64, device=samples.device)
    slopes = torch.tan(angles)[:, None, None]
    precision = torch.minimum(slopes * p, q).sum(-1)
    recall = precision / slopes[..., 0]
    curves = [c.mean(1).clamp(0, 1).flip(0).cpu().numpy() for c in (precision, recall)]
    return curves[0], curves[1]


def f_beta_pair(precision: ArrayLike, recall: ArrayLike, beta: float = 8) -> tuple[float, float]:
    """The best F_beta and F_1/beta on a precision/recall curve (Sajjadi et al. 2018, Sec. 4).

    F_beta, with beta > 1, weighs recall more (are all kinds of real samples generated?), F_1/beta precision
    (is what is generated realistic?).
    """
    return _f_beta(precision, recall, beta), _f_beta(precision, recall, 1 / beta)


def frechet_distance(real: ArrayLike | Tensor, generated: ArrayLike | Tensor) -> float:
    """Fréchet distance ||m_1 - m_2||^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^1/2) of Gaussians fitted to both sets.

    Heusel et al. 2017, Eq. 6; of Inception features, the FID.

    Args:
        real, generated: embeddings, (N, D) each.

    Raises:
        MmjsdError: embeddings of different width, not finite, or fewer than two samples.
    """
    sets = _checked(real, generated)
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


def _f_beta(precision: ArrayLike, recall: ArrayLike, beta: float) -> float:
    p, r = np.asarray(precision), np.asarray(recall)
    return float(((1 + beta**2) * p * r / np.maximum(beta**2 * p + r, 1e-12)).max())


def _checked(*sets: ArrayLike | Tensor) -> tuple[Tensor, ...]:
    """The sets as double precision tensors."""
    tensors = tuple(as_float64(torch.as_tensor(s)) for s in sets)
    if any(t.dim() != 2 for t in tensors) or len({t.shape[1] for t in tensors}) > 1:
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise MmjsdError(f"quality: embeddings must be (N, D) with one D, got {shapes}")
    if not all(torch.isfinite(t).all() for t in tensors):
        raise MmjsdError("quality: an embedding is not finite; look at the generated samples")
    return tensors


def _histograms(labels: Tensor, clusters: int) -> Tensor:
    """Share of the samples in each cluster: (R, N) -> (R, clusters)."""
    counts = torch.zeros(len(labels), clusters, dtype=torch.float64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.float64)) / labels.shape[1]


# --- k-means, all repetitions at once ---------------------------------------------------------------------


def _cluster(samples: Tensor, clusters: int, repetitions: int, seed: int, iterations: int = 100) -> Tensor:
    """Cluster of each sample in each repetition: (N, D) -> (R, N)."""
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
    """Initial centres (R, K, D): each drawn by its squared distance to the nearest before (k-means++)."""
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
