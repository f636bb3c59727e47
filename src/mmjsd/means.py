"""Abstract means: how several Gaussian experts become one distribution.

As dynamic prior f they are what mmJSD holds its experts against; as posterior of a subset they are what is
generated from. Each takes experts (E, B, D) and weights (E,) or (E, B) that sum to 1 over the experts.
"""

from torch import Tensor

from mmjsd.distributions import Gaussian, Mixture, product_of_experts, with_prior

__all__ = ["arithmetic", "geometric", "product_with_prior"]


def geometric(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Weighted geometric mean: the normalised prod_e q_e^w_e (Sutter et al. 2020, Eq. 8; Nielsen 2019)."""
    return product_of_experts(experts, weights)


def arithmetic(experts: Gaussian, weights: Tensor) -> Mixture:
    """Weighted arithmetic mean, the mixture sum_e w_e q_e."""
    return Mixture(experts, weights)


def product_with_prior(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Product of the experts and N(0, I), whatever the weights (Wu & Goodman 2018): the posterior of MVAE."""
    return product_of_experts(with_prior(experts))
