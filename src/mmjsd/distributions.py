"""Gaussian experts, their products and mixtures, and the divergences between them.

Shapes: E experts, B batch, D latent. Every expert is a diagonal Gaussian; experts are stacked on axis 0. All
functions are vectorised over experts, and closed form but where a mixture makes that impossible.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmjsd import distributed, registry
from mmjsd.devices import widest_float

__all__ = [
    "Gaussian",
    "Mean",
    "Mixture",
    "jensen_shannon",
    "kl_divergence",
    "per_sample",
    "product_of_experts",
    "stratified_mixture",
    "weighted_sum",
    "with_prior",
]


class Gaussian(NamedTuple):
    """Diagonal Gaussian; `mean` and `log_variance` are tensors of one shape (..., D)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def standard(cls, *shape: int, device: torch.device | str | None = None) -> "Gaussian":
        """N(0, I) of the given shape."""
        zeros = torch.zeros(shape, device=device)
        return cls(zeros, zeros)

    @classmethod
    def stack(cls, experts: "list[Gaussian]") -> "Gaussian":
        """Experts of shape (B, D) stacked to (E, B, D)."""
        return cls(torch.stack([e.mean for e in experts]), torch.stack([e.log_variance for e in experts]))

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """A sample of the distribution's shape, differentiable in its parameters."""
        noise = distributed.drawn(
            torch.randn, self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        return self.mean + noise * torch.exp(0.5 * self.log_variance)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z in nats, summed over the last axis: (..., D) -> (...)."""
        squares = (z - self.mean) ** 2 * torch.exp(-self.log_variance)
        return -0.5 * (squares + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def repeated(self, *counts: int) -> "Gaussian":
        """As many of it: (...) -> (*counts, ...)."""
        return Gaussian(*(tensor.expand(*counts, *tensor.shape) for tensor in self))

    def select(self, generator: torch.Generator | None = None) -> "Gaussian":
        """Itself: the only component, where a mixture has several."""
        return self

    def at(self, *index: Any) -> "Gaussian":
        """Both tensors indexed alike."""
        return Gaussian(self.mean[index], self.log_variance[index])


class Mixture(NamedTuple):
    """Mixture of Gaussian experts."""

    experts: Gaussian
    """(E, B, D)."""
    weights: Tensor
    """(E,) or (E, B), summing to 1 over the experts."""

    @property
    def mean(self) -> Tensor:
        """Of the whole mixture: (B, D)."""
        return (per_sample(self.weights, self.experts) * self.experts.mean).sum(0)

    def select(self, generator: torch.Generator | None = None) -> Gaussian:
        """Select one component for each sample: -> (B, D)."""
        return stratified_mixture(self.experts, self.weights, generator)

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """A sample (B, D), differentiable in the parameters of the experts."""
        return self.select(generator).rsample(generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z in nats: (..., B, D) -> (..., B)."""
        return self.weighted(self.log_probs(z))

    def log_probs(self, z: Tensor) -> Tensor:
        """Log-density of z under each expert: (..., B, D) -> (..., E, B)."""
        return self.experts.log_prob(z.unsqueeze(-3))

    def weighted(self, log_probs: Tensor) -> Tensor:
        """Log-density under the mixture from those under its experts: (..., E, B) -> (..., B)."""
        weights = per_sample(self.weights, self.experts).squeeze(-1)
        return torch.logsumexp(log_probs + torch.log(weights), dim=-2)


Mean = Callable[[Gaussian, Tensor], Gaussian | Mixture]
"""An abstract mean: experts (E, B, D) and weights (E,) or (E, B) -> one distribution over (B, D)."""


def with_prior(experts: Gaussian) -> Gaussian:
    """Add N(0, I) to the experts as the last: (E, B, D) -> (E + 1, B, D)."""
    mean = torch.cat([experts.mean, torch.zeros_like(experts.mean[:1])])
    return Gaussian(mean, torch.cat([experts.log_variance, torch.zeros_like(experts.mean[:1])]))


def kl_divergence(q: Gaussian, p: Gaussian | None = None) -> Tensor:
    """KL(q || p) in nats, closed form, summed over the last axis: (..., D) -> (...). p None: N(0, I)."""
    if p is None:
        return 0.5 * (torch.exp(q.log_variance) + q.mean**2 - 1 - q.log_variance).sum(-1)
    difference = q.log_variance - p.log_variance
    squares = (q.mean - p.mean) ** 2 * torch.exp(-p.log_variance)
    return 0.5 * (torch.exp(difference) + squares - 1 - difference).sum(-1)


def product_of_experts(experts: Gaussian, weights: Tensor | None = None) -> Gaussian:
    """Normalised product prod_e q_e^w_e of Gaussian experts: (E, B, D) -> (B, D).

    Args:
        experts: means and log-variances of shape (E, B, D).
        weights: exponents >= 0 of shape (E,) or (E, B). None: all 1, the plain product, whose precisions add
            (Hinton 2002; Wu & Goodman 2018). Summing to 1: the weighted geometric mean, the dynamic prior of
            mmJSD (Sutter et al. 2020, Eq. 8). An expert of weight 0 has no part; not all may be 0.
    """
    log_precision = -experts.log_variance
    if weights is not None:
        columns = per_sample(weights, experts)
        # where they are 0, the gradient of weights that are learnt is 0, too
        logs = torch.where(columns > 0, torch.log(torch.where(columns > 0, columns, 1)), -math.inf)
        log_precision = log_precision + logs
    log_total = torch.logsumexp(log_precision, dim=0)
    mean = (torch.exp(log_precision - log_total) * experts.mean).sum(0)
    return Gaussian(mean, -log_total)


def jensen_shannon(experts: Gaussian, weights: Tensor, mean: str | Mean = "geometric") -> Tensor:
    """Jensen-Shannon divergence sum_e w_e KL(q_e || f) with an abstract mean f of the experts: -> (B,).

    Sutter et al. 2020, Definition 1; f is the dynamic prior. The caller stacks the prior as an expert. Closed
    form where f is Gaussian; where it is a mixture of the experts, an unbiased estimate from one sample each.

    Args:
        experts: (E, B, D).
        weights: (E,) or (E, B), summing to 1 over the experts.
        mean: f, or its name in :mod:`mmjsd.means`.

    Raises:
        MmjsdError: there is no mean of that name.
    """
    f = (registry.resolve("means", mean) if isinstance(mean, str) else mean)(experts, weights)
    if isinstance(f, Gaussian):
        divergences = kl_divergence(experts, f)
    else:
        each = f.log_probs(experts.rsample())  # (E, E, B): log q_v(z_e)
        divergences = torch.diagonal(each).movedim(-1, 0) - f.weighted(each)
    return weighted_sum(divergences, weights)


def stratified_mixture(
    experts: Gaussian, weights: Tensor, generator: torch.Generator | None = None
) -> Gaussian:
    """One expert per sample, the mixture's posterior drawn with the least variance: (E, B, D) -> (B, D).

    Args:
        experts: (E, B, D).
        weights: (E,): the number of samples of each expert is in proportion to its weight (largest
            remainders, ties broken at random), which samples they are is random. (E, B), when modalities are
            missing: each sample has a weight of its own per expert; the counts follow them up to rounding.
        generator: source of randomness, on the device of the experts.
    """
    count, rows, _ = experts.mean.shape
    device = experts.mean.device
    batch = distributed.whole(rows)
    order = distributed.own(torch.randperm(batch, generator=generator, device=device))
    if weights.dim() == 1:
        wide = widest_float(device)
        quota = weights.to(wide) / weights.sum() * batch
        counts = torch.floor(quota + 1e-6)
        tie_break = torch.rand(count, generator=generator, device=device, dtype=wide)
        rank = torch.argsort(torch.argsort(quota - counts + 1e-6 * tie_break, descending=True))
        counts = counts + (rank < batch - counts.sum())
        choice = torch.searchsorted(torch.cumsum(counts, 0), order.to(wide), right=True)
    else:
        # one point in each of B equal strata of the unit interval, cut at the cumulated weights
        jitter = torch.rand((), generator=generator, device=device)
        points = (order + jitter) / batch
        bounds = torch.cumsum(weights / weights.sum(0), 0)
        choice = (points >= bounds[:-1]).sum(0)
        # a point at a boundary must not fall to an expert of weight 0
        choice = torch.where(weights.gather(0, choice[None])[0] > 0, choice, weights.argmax(0))
    return experts.at(choice.clamp(max=count - 1), torch.arange(rows, device=device))


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """Sum w_e times value over the experts: (E, B) -> (B,), of weights (E,) or (E, B).

    An expert of weight 0 does not count, however far it lies.
    """
    by_sample = weights.to(values.dtype).reshape(len(weights), -1)
    return torch.where(by_sample > 0, by_sample * values, 0).sum(0)


def per_sample(weights: Tensor, experts: Gaussian) -> Tensor:
    """Bring weights (E,) or (E, B) into the form (E, B or 1, 1), to multiply experts (E, B, D)."""
    return weights.to(experts.mean.dtype).reshape(len(weights), -1, 1)
