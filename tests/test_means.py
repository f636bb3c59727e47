"""Abstract means of Gaussian experts."""

import pytest
import torch

from mmjsd import registry
from mmjsd.distributions import (
    Gaussian,
    Mixture,
    jensen_shannon,
    kl_divergence,
    product_of_experts,
    with_prior,
)
from mmjsd.means import (
    MOST_SUBSETS,
    arithmetic,
    draw_subsets,
    geometric,
    hoelder,
    mixture_of_products,
    moment_matched,
    product_of_subset,
    product_with_prior,
    wasserstein,
)

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


def moments(density, grid):
    """Mean and log-variance of an unnormalised density on a grid (N,) of one dimension."""
    step = grid[1] - grid[0]
    mass = density.sum() * step
    mean = (grid * density).sum() * step / mass
    variance = ((grid - mean) ** 2 * density).sum() * step / mass
    return mean, torch.log(variance)


@pytest.mark.parametrize("distance", [0.0, 0.5, 3.0])
def test_by_numerical_integration_in_one_dimension(distance):
    e = Gaussian(
        torch.tensor([-distance, 0.3, distance]).double().reshape(3, 1, 1),
        torch.tensor([-1.0, 0.2, 0.7]).double().reshape(3, 1, 1),
    )
    grid = torch.linspace(-15, 15, 30001).double()
    densities = e.log_prob(grid[:, None, None, None]).exp()[..., 0].T  # (3, N)
    for mean, density in (
        (moment_matched, (WEIGHTS[:, None] * densities).sum(0)),
        (hoelder, (WEIGHTS[:, None] * densities.sqrt()).sum(0) ** 2),
        (geometric, (densities ** WEIGHTS[:, None]).prod(0)),
    ):
        f = mean(e, WEIGHTS)
        expected = moments(density, grid)
        torch.testing.assert_close(f.mean.squeeze(), expected[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(f.log_variance.squeeze(), expected[1], rtol=1e-6, atol=1e-6)


def test_the_hoelder_mean_by_monte_carlo_in_four_dimensions():
    """Its dimensions are not independent: how much two experts overlap is of all of them."""
    e = Gaussian(*(0.7 * tensor[:, :1] for tensor in experts())).at()
    wide = Gaussian(torch.zeros(4).double(), torch.full((4,), 1.5).double())
    z = wide.at(None).mean + torch.exp(0.5 * wide.log_variance) * torch.randn(400_000, 4).double()
    each = e.log_prob(z[:, None, None]).detach()[..., 0]  # (N, 3)
    weight = (WEIGHTS * torch.exp(0.5 * each)).sum(1) ** 2 / wide.log_prob(z).exp()
    mean = (weight[:, None] * z).sum(0) / weight.sum()
    variance = (weight[:, None] * (z - mean) ** 2).sum(0) / weight.sum()
    f = hoelder(e, WEIGHTS)
    torch.testing.assert_close(f.mean[0].detach(), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(f.log_variance[0].detach().exp(), variance, rtol=0.03, atol=0.0)


def test_deviations_are_averaged_by_wasserstein():
    e = experts()
    f = wasserstein(e, WEIGHTS)
    deviations = torch.exp(0.5 * e.log_variance)
    torch.testing.assert_close(torch.exp(0.5 * f.log_variance), (WEIGHTS[:, None, None] * deviations).sum(0))
    torch.testing.assert_close(f.mean, (WEIGHTS[:, None, None] * e.mean).sum(0))


def test_no_gaussian_is_nearer_to_the_experts_than_the_moment_matched():
    e = experts()
    least = jensen_shannon(e, WEIGHTS, moment_matched)
    f = moment_matched(e, WEIGHTS)
    for name in MEANS:
        if isinstance(registry.resolve("means", name)(e, WEIGHTS), Gaussian):
            assert (jensen_shannon(e, WEIGHTS, name) >= least - 1e-12).all()
    for shift, stretch in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        other = Gaussian(f.mean + shift, f.log_variance + stretch)
        assert ((WEIGHTS[:, None] * kl_divergence(e, other)).sum(0) > least).all()


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("apart", [0.0, 1e-6, 1.0, 1e4])
@pytest.mark.parametrize("log_variances", [(0.0, 0.0, 0.0), (-80, -80, -80), (-120, 0.0, 3.0), (20, -20, 0)])
def test_divergences_and_gradients_are_finite(name, apart, log_variances):
    """Of experts far apart, equal or nearly so, and nearly certain; in the precision of training."""
    mean = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1) * apart * torch.ones(3, 2, 4)
    mean = mean.requires_grad_()
    log_variance = torch.tensor(log_variances).reshape(3, 1, 1).repeat(1, 2, 4).float().requires_grad_()
    f = registry.resolve("means", name)(Gaussian(mean, log_variance), WEIGHTS.float())
    f.mean.sum().backward(retain_graph=True)
    if isinstance(f, Gaussian):
        f.log_variance.sum().backward()
    for tensor in (mean, log_variance):
        assert torch.isfinite(tensor.grad if tensor.grad is not None else tensor).all()
    assert torch.isfinite(f.mean).all()


# --- Subsets ----------------------------------------------------------------------------------------------


def test_all_subsets_are_drawn_alike():
    """Those of what is present, of each sample."""
    present = torch.tensor([[True, False, True], [True, True, False], [True, True, False]])
    present = present.repeat_interleave(7000, 1)
    drawn = draw_subsets(present)
    assert not (drawn & ~present).any()
    assert drawn.any(0).all()
    numbers = (drawn * torch.tensor([1, 2, 4])[:, None]).sum(0)
    counts = [torch.bincount(part, minlength=8).float() for part in numbers.split(7000)]
    torch.testing.assert_close(counts[0][1:], torch.full((7,), 1000.0), rtol=0.15, atol=0)
    torch.testing.assert_close(counts[1][[2, 4, 6]], torch.full((3,), 7000 / 3), rtol=0.1, atol=0)
    assert counts[2][1] == 7000


def test_subsets_of_many_modalities():
    drawn = draw_subsets(torch.ones(100, 4000, dtype=torch.bool))
    torch.testing.assert_close(drawn.float().mean(), torch.tensor(0.5), rtol=0.02, atol=0)


@pytest.mark.parametrize(("count", "components"), [(1, 1), (2, 3), (6, 63), (20, MOST_SUBSETS)])
def test_a_mixture_of_products_has_few_components(count, components):
    e = Gaussian(*torch.randn(2, count, 5, 4))
    mixture = mixture_of_products(e, torch.ones(count), modalities=count + 1)
    assert mixture.experts.mean.shape == (components, 5, 4)
    assert mixture.rsample().shape == mixture.mean.shape == (5, 4)
    again = mixture_of_products(e, torch.ones(count), modalities=count + 1)
    assert torch.equal(mixture.experts.mean, again.experts.mean)


@pytest.mark.parametrize("spread", [1.0, 15.0], ids=["alike", "far apart"])
def test_products_of_subsets_at_once_are_those_of_each(spread):
    e = Gaussian(3 * torch.randn(4, 5, 6), spread * torch.randn(4, 5, 6))
    mixture = mixture_of_products(e, torch.ones(4), modalities=4)
    for number in range(1, 16):
        members = (torch.tensor(number) & torch.tensor([1, 2, 4, 8])) > 0
        expected = product_of_subset(e, members[:, None], 4)
        torch.testing.assert_close(mixture.experts.at(number - 1), expected, rtol=1e-4, atol=1e-4)
