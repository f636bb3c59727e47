"""Abstract means of Gaussian experts."""

import pytest
import torch

from mmjsd import registry
from mmjsd.distributions import Gaussian, Mixture, product_of_experts, with_prior
from mmjsd.means import arithmetic, geometric, product_with_prior

MEANS = list(registry.entries("means"))
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def experts() -> Gaussian:
    mean, log_variance = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    return Gaussian(mean.requires_grad_(), log_variance.requires_grad_())


@pytest.mark.parametrize("name", MEANS)
def test_one_distribution_for_each_sample(name):
    """Whether its weights are those of all samples or its own, and all experts learn."""
    e, mean = experts(), registry.resolve("means", name)
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    f = mean(e, WEIGHTS)
    assert isinstance(f, Gaussian | Mixture)
    assert f.mean.shape == f.rsample().shape == (5, 4)
    assert f.log_prob(z).shape == (7, 5)
    each = mean(e, WEIGHTS[:, None].expand(3, 5))
    torch.testing.assert_close(each.log_prob(z), f.log_prob(z))
    f.rsample().sum().backward()
    assert e.mean.grad.abs().sum() > 0
    assert e.log_variance.grad.abs().sum() > 0


@pytest.mark.parametrize("name", MEANS)
def test_the_mean_of_equal_experts_is_each_of_them(name):
    one = experts().at(slice(1))
    e = Gaussian(one.mean.expand(3, -1, -1), one.log_variance.expand(3, -1, -1))
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    f = registry.resolve("means", name)(e, WEIGHTS)
    torch.testing.assert_close(f.log_prob(z), one.at(0).log_prob(z))
    torch.testing.assert_close(f.mean, one.mean[0])


@pytest.mark.parametrize("name", MEANS)
def test_an_expert_of_weight_zero_has_no_part(name):
    """For all samples, or for one where a modality is missing."""
    e, mean = experts(), registry.resolve("means", name)
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    without = mean(e.at([0, 2]), torch.tensor([0.4, 0.6]).double())
    weights = torch.tensor([0.4, 0.0, 0.6]).double()
    torch.testing.assert_close(mean(e, weights).log_prob(z), without.log_prob(z))
    some = WEIGHTS[:, None].repeat(1, 5)
    some[:, 1] = weights
    found = mean(e, some).log_prob(z)
    torch.testing.assert_close(found[:, 1], without.log_prob(z)[:, 1])
    torch.testing.assert_close(found[:, 0], mean(e, WEIGHTS).log_prob(z)[:, 0])


def test_the_geometric_mean_is_that_of_the_densities():
    e = experts()
    f = geometric(e, WEIGHTS)
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    each = e.log_prob(z[:, None])  # (7, 3, 5)
    difference = (WEIGHTS[:, None] * each).sum(1) - f.log_prob(z)
    torch.testing.assert_close(difference, difference[:1].expand(7, 5))  # constant in z: the normaliser


def test_the_arithmetic_mean_is_that_of_the_densities():
    e = experts()
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    expected = (WEIGHTS[:, None] * e.log_prob(z[:, None]).exp()).sum(1)
    torch.testing.assert_close(arithmetic(e, WEIGHTS).log_prob(z).exp(), expected)


def test_the_product_with_the_prior_has_no_weights():
    e = experts()
    f = product_with_prior(e, WEIGHTS)
    expected = product_of_experts(with_prior(e))
    assert torch.equal(f.mean, expected.mean)
    assert torch.equal(f.log_variance, expected.log_variance)
    precision = torch.exp(-e.log_variance)
    torch.testing.assert_close(torch.exp(-f.log_variance), 1 + precision.sum(0))
    torch.testing.assert_close(f.mean, (precision * e.mean).sum(0) / (1 + precision.sum(0)))
