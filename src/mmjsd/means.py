"""Abstract means: how several Gaussian experts become one distribution.

As dynamic prior f they are what mmJSD holds its experts against; as posterior of a subset they are what is
generated from. Each takes experts (E, B, D) and weights (E,) or (E, B) that sum to 1 over the experts.
"""

import math

import torch
from torch import Tensor

from mmjsd import distributed, registry
from mmjsd.distributions import Gaussian, Mean, Mixture, per_sample, product_of_experts, with_prior

__all__ = [
    "arithmetic",
    "draw_subsets",
    "geometric",
    "hoelder",
    "mixture_of_products",
    "moment_matched",
    "posterior_mean",
    "product",
    "product_of_subset",
    "product_with_prior",
    "wasserstein",
]


def geometric(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Weighted geometric mean: the normalised prod_e q_e^w_e (Sutter et al. 2020, Eq. 8; Nielsen 2019)."""
    return product_of_experts(experts, weights)


def arithmetic(experts: Gaussian, weights: Tensor) -> Mixture:
    """Weighted arithmetic mean, the mixture sum_e w_e q_e."""
    return Mixture(experts, weights)


def moment_matched(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Gaussian with the moments of the mixture: m = sum w_e m_e, s^2 = sum w_e (s_e^2 + m_e^2) - m^2.

    Of all Gaussians it is the nearest to the mixture, min_f KL(sum_e w_e q_e || f) (Bishop 2006, 10.7), so of
    all Gaussian f the one with the least sum_e w_e KL(q_e || f).
    """
    return _moments(experts, torch.log(per_sample(weights, experts)))


def wasserstein(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Barycentre in the 2-Wasserstein metric: means and deviations are averaged (Agueh & Carlier 2011)."""
    columns = per_sample(weights, experts)
    deviation = torch.logsumexp(torch.log(columns) + 0.5 * experts.log_variance, dim=0)
    return Gaussian((columns * experts.mean).sum(0), 2 * deviation)


def hoelder(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Gaussian with the moments of the power mean (sum_e w_e sqrt(q_e))^2 of the densities, normalised.

    Multiplied out, that is a mixture of the experts and of sqrt(q_i q_j) for each pair of them, which is a
    Gaussian between the two times how much they overlap over all dimensions (Bhattacharyya 1943). So it is
    near the geometric mean where experts agree, and near the moment-matched one where they do not. Its cost
    grows with the square of their number.
    """
    first, second = torch.triu_indices(len(experts.mean), len(experts.mean), device=experts.mean.device)
    (m_i, v_i), (m_j, v_j) = experts.at(first), experts.at(second)  # v: log-variances
    total = torch.logaddexp(v_i, v_j)
    between = Gaussian(
        m_i * torch.exp(v_j - total) + m_j * torch.exp(v_i - total), math.log(2) + v_i + v_j - total
    )
    distance = (m_i - m_j) ** 2 * torch.exp(-total.clamp(min=_LEAST))
    overlap = (0.5 * (math.log(2) + 0.5 * (v_i + v_j) - total) - 0.25 * distance).sum(-1, keepdim=True)
    log_weights = torch.log(per_sample(weights, experts))
    # each pair of two comes twice
    twice = torch.where(first == second, 0.0, math.log(2))[:, None, None]
    return _moments(between, torch.log_softmax(log_weights[first] + log_weights[second] + twice + overlap, 0))


_LEAST = -80.0
"""Log-variance below which an expert counts as that certain: its inverse has to be finite in float32."""


def _moments(experts: Gaussian, log_weights: Tensor) -> Gaussian:
    """The Gaussian with the moments of a mixture, from the logarithms of its weights (E, B or 1, 1)."""
    weights = torch.exp(log_weights)
    mean = (weights * experts.mean).sum(0)
    within = torch.logsumexp(log_weights + experts.log_variance, dim=0)
    between = (weights * (experts.mean - mean) ** 2).sum(0)
    # log(exp(within) + between) with a finite gradient where either is nothing beside the other
    scale = torch.maximum(within, torch.log(between)).clamp(min=_LEAST).detach()
    return Gaussian(mean, scale + torch.log(torch.exp(within - scale) + between * torch.exp(-scale)))


# --- Posteriors of rivals, whatever the weights -----------------------------------------------------------


def posterior_mean(name: str) -> Mean:
    """Look up how the posteriors of several modalities become one: `product`, `mixture` or a dynamic prior.

    Raises:
        MmjsdError: there is none of that name.
    """
    posteriors: dict[str, Mean] = {"product": product, "mixture": arithmetic}
    return posteriors[name] if name in posteriors else registry.resolve("means", name)


def product(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Product of the experts (Hwang et al. 2021): the posterior of MVTCAE."""
    return product_of_experts(experts)


def product_with_prior(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Product of the experts and N(0, I), whatever the weights (Wu & Goodman 2018): the posterior of MVAE."""
    return product_of_experts(with_prior(experts))


MOST_SUBSETS = 63
"""Components of a mixture of products: all subsets of six experts."""


def mixture_of_products(experts: Gaussian, weights: Tensor, *, modalities: int) -> Mixture:
    """Mixture, all alike, of the products of each subset of the experts: the posterior of MoPoE.

    Sutter, Daunhawer & Vogt 2021. As in their code, the product of all modalities has the prior as one
    more expert. Of more than six experts, 63 subsets drawn once and for all stand for all of them.

    Args:
        experts: (E, B, D).
        weights: without effect.
        modalities: how many experts there are when none is left out.
    """
    count = len(experts.mean)
    if 2**count - 1 <= MOST_SUBSETS:
        bits = 2 ** torch.arange(count)
        subsets = (torch.arange(1, 2**count) & bits[:, None]) > 0
    else:
        generator = torch.Generator().manual_seed(count)
        subsets = draw_subsets(torch.ones(count, MOST_SUBSETS, dtype=torch.bool), generator)
    has_prior = subsets.sum(0, keepdim=True) == modalities
    members = torch.cat([subsets, has_prior]).T.to(experts.mean)
    every = with_prior(experts)
    highest = -every.log_variance.min(0).values
    # all products at once: their precisions are sums of what is relative to the most certain expert
    precision = torch.exp((-every.log_variance - highest).clamp(min=_LEAST))
    total = torch.tensordot(members, precision, 1)
    mean = torch.tensordot(members, precision * every.mean, 1) / total
    weights = torch.full((len(members),), 1 / len(members), device=total.device)
    return Mixture(Gaussian(mean, -highest - torch.log(total)), weights)


def product_of_subset(experts: Gaussian, subset: Tensor, modalities: int) -> Gaussian:
    """Product of a subset (E, B or 1) of the experts, with the prior as one more if it has all modalities."""
    has_prior = subset.sum(0, keepdim=True) == modalities
    return product_of_experts(with_prior(experts), torch.cat([subset, has_prior]))


def draw_subsets(present: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one subset for each sample, all non-empty ones of what is present alike: bool (E, B) -> (E, B).

    By its first member, which is the k-th with a probability in proportion to 2^-k, and a coin for each of
    those after it. The first members of a batch are stratified.
    """
    device, size = present.device, distributed.whole(present.shape[1])
    strata = torch.randperm(size, generator=generator, device=device)
    points = distributed.own((strata + torch.rand(size, generator=generator, device=device)) / size)
    coins = distributed.own(torch.rand(len(present), size, generator=generator, device=device), 1) < 0.5
    place = present.cumsum(0) - 1
    first = (-torch.log2(1 - points * (1 - 2.0 ** -present.sum(0)))).long().minimum(place[-1])
    return present & ((place == first) | ((place > first) & coins))
