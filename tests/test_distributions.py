import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.distributions import kl_divergence as reference_kl

from mmjsd import registry
from mmjsd.distributions import (
    Gaussian,
    Mixture,
    jensen_shannon,
    kl_divergence,
    product_of_experts,
    stratified_mixture,
    with_prior,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def experts(count: int = 3, batch: int = 5, dim: int = 4) -> Gaussian:
    return Gaussian(
        torch.randn(count, batch, dim, dtype=torch.float64),
        torch.randn(count, batch, dim, dtype=torch.float64),
    )


def normal(g: Gaussian) -> Normal:
    return Normal(g.mean, (0.5 * g.log_variance).exp())


def test_log_prob_is_that_of_torch():
    g, z = experts(), torch.randn(3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(g.log_prob(z), normal(g).log_prob(z).sum(-1))


def test_rsample_has_the_moments_and_gradients():
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    log_variance = torch.tensor([0.5, -1.0], requires_grad=True)
    z = Gaussian(mean.expand(200_000, 2), log_variance.expand(200_000, 2)).rsample()
    torch.testing.assert_close(z.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance.exp(), atol=0.02, rtol=0)
    z.mean(0).sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(2))
    assert log_variance.grad is not None


def test_rsample_follows_its_generator():
    g = experts()
    draws = [g.rsample(torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("prior", [True, False])
def test_kl_is_that_of_torch(prior):
    q, p = experts(), experts()
    other = normal(p) if not prior else Normal(torch.zeros(4).double(), torch.ones(4).double())
    expected = reference_kl(normal(q), other).sum(-1)
    torch.testing.assert_close(kl_divergence(q, None if prior else p), expected)


def test_product_is_proportional_to_the_product_of_the_densities():
    e, weights = experts(), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    for w in (None, weights):
        f = product_of_experts(e, w)
        z = torch.randn(7, 5, 4, dtype=torch.float64)
        exponents = torch.ones(3).double() if w is None else w
        each = torch.stack([e.at(i).log_prob(z) for i in range(3)])  # (3, 7, 5)
        difference = (exponents[:, None, None] * each).sum(0) - f.log_prob(z)
        # constant in z: the normaliser
        torch.testing.assert_close(difference, difference[:1].expand(7, 5))


def test_product_of_standard_normals_has_added_precision():
    f = product_of_experts(Gaussian.standard(4, 2, 3))
    torch.testing.assert_close(f.log_variance, torch.full((2, 3), -math.log(4)))


def test_an_expert_of_weight_zero_has_no_part():
    e = experts()
    torch.testing.assert_close(
        product_of_experts(e, torch.tensor([0.4, 0.0, 0.6])).mean,
        product_of_experts(e.at([0, 2]), torch.tensor([0.4, 0.6])).mean,
    )
    one = product_of_experts(e, torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(one.mean, e.mean[1])
    torch.testing.assert_close(one.log_variance, e.log_variance[1])


def test_weights_per_sample_are_masks_per_sample():
    e = experts(batch=2)
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    f = product_of_experts(e, weights)
    torch.testing.assert_close(f.mean[0], product_of_experts(e).mean[0])
    torch.testing.assert_close(f.mean[1], product_of_experts(e.at([0, 2])).mean[1])


def test_product_survives_extreme_variances():
    e = Gaussian(torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[[-200.0]], [[200.0]]]))
    f = product_of_experts(e)
    assert f.mean.item() == 1.0
    assert f.log_variance.item() == -200.0


def test_gradients_of_the_divergences():
    mean = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    log_variance = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda m, v: jensen_shannon(Gaussian(m, v), weights), (mean, log_variance)
    )
    assert torch.autograd.gradcheck(lambda m, v: kl_divergence(Gaussian(m, v)), (mean, log_variance))


@pytest.mark.parametrize("mean", registry.entries("means"))
def test_jensen_shannon_of_equal_experts_is_zero(mean):
    one = experts(count=1)
    e = Gaussian(one.mean.expand(3, -1, -1), one.log_variance.expand(3, -1, -1))
    torch.testing.assert_close(jensen_shannon(e, torch.ones(3) / 3, mean), torch.zeros(5).double())


def test_geometric_jensen_shannon_against_monte_carlo():
    e, weights = experts(batch=1), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    f = product_of_experts(e, weights)
    z = normal(e).sample((200_000,))  # (N, 3, 1, 4)
    estimate = (e.log_prob(z) - f.log_prob(z)).mean(0)  # (3, 1)
    torch.testing.assert_close(
        jensen_shannon(e, weights), (weights[:, None] * estimate).sum(0), rtol=0.02, atol=0.02
    )


def test_arithmetic_jensen_shannon_against_numerical_integration():
    mean, log_variance = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([0.0, -1.0, 0.5]).double()
    weights = torch.tensor([0.5, 0.3, 0.2]).double()
    grid = torch.linspace(-15, 15, 60_001).double()
    density = Normal(mean[:, None], (0.5 * log_variance[:, None]).exp()).log_prob(grid)
    mixture = torch.logsumexp(density + weights.log()[:, None], 0)
    exact = (weights[:, None] * density.exp() * (density - mixture)).sum() * (grid[1] - grid[0])
    copies = 100_000
    e = Gaussian(mean.view(3, 1, 1).expand(3, copies, 1), log_variance.view(3, 1, 1).expand(3, copies, 1))
    estimates = jensen_shannon(e, weights, "arithmetic")
    assert estimates.mean() == pytest.approx(exact.item(), abs=4 * estimates.std().item() / copies**0.5)


@pytest.mark.parametrize("mean", registry.entries("means"))
def test_jensen_shannon_ignores_experts_of_weight_zero(mean):
    far = Gaussian(torch.tensor([[[0.0]], [[0.0]], [[1e4]]]), torch.zeros(3, 1, 1))
    divergence = jensen_shannon(far, torch.tensor([0.5, 0.5, 0.0]), mean)
    torch.testing.assert_close(divergence, torch.zeros(1))


def chosen(weights: torch.Tensor, batch: int) -> torch.Tensor:
    """Which expert each sample got."""
    count = len(weights)
    means = torch.arange(count, dtype=torch.float32).view(count, 1, 1).expand(count, batch, 1)
    return stratified_mixture(Gaussian(means, torch.zeros(count, batch, 1)), weights).mean[:, 0].long()


@pytest.mark.parametrize(
    ("weights", "batch", "counts"),
    [
        ([1 / 3, 1 / 3, 1 / 3], 9, [3, 3, 3]),
        ([0.5, 0.3, 0.2], 10, [5, 3, 2]),
        ([0.55, 0.25, 0.2], 10, [6, 2, 2]),
        ([0.0, 1.0, 0.0], 8, [0, 8, 0]),
    ],
)
def test_counts_are_in_proportion_to_the_weights(weights, batch, counts):
    found = torch.bincount(chosen(torch.tensor(weights), batch), minlength=3).tolist()
    if weights[0] == 0.55:  # 5.5, 2.5, 2: the remainder falls to one of the two at random
        assert found in ([6, 2, 2], [5, 3, 2])
    else:
        assert found == counts


def test_a_single_sample_may_come_from_any_expert():
    # the reference always takes the last one
    found = torch.stack([chosen(torch.ones(4) / 4, 1)[0] for _ in range(400)])
    assert (torch.bincount(found, minlength=4) > 60).all()


def test_assignment_is_random_not_in_blocks():
    found = torch.stack([chosen(torch.ones(3) / 3, 30) for _ in range(300)]).float()
    torch.testing.assert_close(found.mean(0), torch.ones(30), atol=0.2, rtol=0)


def test_mixture_never_takes_a_missing_expert():
    weights = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.0, 0.5]]).repeat(1, 50)
    for _ in range(20):
        picked = chosen(weights, 200)
        assert (weights.gather(0, picked[None]) > 0).all()


def test_mixture_with_weights_per_sample_keeps_the_proportions():
    weights = torch.tensor([0.5, 0.3, 0.2])[:, None].expand(3, 100)
    counts = torch.bincount(chosen(weights, 100), minlength=3)
    torch.testing.assert_close(counts, torch.tensor([50, 30, 20]), atol=1, rtol=0)


def test_with_prior_adds_a_standard_normal():
    e = with_prior(Gaussian(torch.ones(2, 3, 4), torch.ones(2, 3, 4)))
    assert e.mean.shape == (3, 3, 4)
    assert not e.mean[2].any()
    assert not e.log_variance[2].any()


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_mixture_is_that_of_torch(per_sample):
    e = experts()
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    if per_sample:
        weights = torch.rand(3, 5, dtype=torch.float64)
        weights[0, 1] = 0
        weights = weights / weights.sum(0)
    f = Mixture(e, weights)
    components = Normal(e.mean.transpose(0, 1), (0.5 * e.log_variance).exp().transpose(0, 1))  # (5, 3, 4)
    shares = weights.reshape(3, -1).T.expand(5, 3)
    reference = MixtureSameFamily(Categorical(shares), Independent(components, 1))
    z = torch.randn(7, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(f.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(f.weighted(f.log_probs(z)), f.log_prob(z))
    torch.testing.assert_close(f.log_probs(z), torch.stack([e.at(i).log_prob(z) for i in range(3)], 1))
    torch.testing.assert_close(f.mean, reference.mean)


def test_samples_of_a_mixture_are_of_its_experts():
    """In proportion to the weights, following a generator, and differentiable."""
    means = torch.tensor([-100.0, 0.0, 100.0]).view(3, 1, 1).expand(3, 1000, 1).clone().requires_grad_()
    f = Mixture(Gaussian(means, torch.zeros(3, 1000, 1)), torch.tensor([0.5, 0.3, 0.2]))
    drawn = f.select()
    assert isinstance(drawn, Gaussian)
    assert [int((drawn.mean == mean).sum()) for mean in (-100, 0, 100)] == [500, 300, 200]
    z = f.rsample()
    assert [int(((z - mean).abs() < 10).sum()) for mean in (-100, 0, 100)] == [500, 300, 200]
    assert z.std() > 10
    z.sum().backward()
    assert means.grad.sum() == 1000
    again = [f.rsample(torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)


def test_a_gaussian_is_its_only_component():
    g = experts().at(0)
    assert g.select() is g


def test_jensen_shannon_with_a_mean_of_ones_own():
    """Here the prior alone, with which it is the weighted sum of the divergences from it."""
    e, weights = experts(), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    found = jensen_shannon(e, weights, lambda experts, weights: Gaussian.standard(5, 4))
    torch.testing.assert_close(found, (weights[:, None] * kl_divergence(e)).sum(0))
