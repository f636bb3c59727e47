import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from mmjsd import registry
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Table, modalities_of
from mmjsd.distributions import Gaussian, Mean
from mmjsd.evaluation.latents import CHUNK, UnimodalPosteriors
from mmjsd.evaluation.likelihood import JOINT, estimates, mean_and_error
from mmjsd.means import arithmetic, geometric, product_with_prior
from mmjsd.modalities import Modality
from mmjsd.models.vae import MultimodalVAE, Posteriors
from mmjsd.subsets import subsets
from mmjsd.training.model_file import build
from support.samples import make_run

#: How posteriors become one: every abstract mean, and the product of MVAE.
MEANS = [*(registry.resolve("means", name) for name in registry.entries("means")), product_with_prior]
#: Those whose densities are written out here from their definitions.
DEFINED = [geometric, arithmetic, product_with_prior]
NAMES = ("a", "b", "c")
WIDTH, SHARED, NOISE = 4, 2, 1.0
WEIGHTS = [0.2, 0.5, 0.3]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class LinearGaussian(MultimodalVAE):
    """p(x_j | s_j, c) = N(W_j c + V_j s_j + b_j, NOISE^2 I): every likelihood known in closed form.

    Args:
        mean, weights: as of the model.
        private: dimensions of each s_j.
        experts: `wide`: Gaussians about the exact posterior means, wide enough for importance sampling of any
            target from any subset. `exact`: p(c|x_j) and p(s_j|x_j). `factors`: p(x_j|c) as a density of c,
            of which the product with the prior is the exact posterior of c (without private latents).
    """

    def __init__(self, mean: Mean, private: int, experts: str = "wide", weights: list[float] = WEIGHTS):
        super().__init__(
            [],
            shared_latent=SHARED,
            private_latent=private,
            likelihood_scale=1.0,
        )
        self.mean = mean
        self.modalities = {name: Modality(name, "vector", (WIDTH,), WIDTH) for name in NAMES}
        self.weights = dict(zip(NAMES, weights, strict=True))
        self.experts = experts
        self.loadings = nn.ParameterDict()
        self.offsets = {}
        for name in NAMES:
            # orthogonal columns: the latents are independent given x_j, as in the encoder's family
            columns, _ = torch.linalg.qr(torch.randn(WIDTH, SHARED + private))
            self.loadings[name] = columns * (0.5 + torch.rand(SHARED + private))
            self.offsets[name] = torch.randn(WIDTH)
        self.decoded: list[tuple[str, Tensor, Tensor]] = []

    def encode(self, values) -> Posteriors:
        shared, private = [], {}
        for name, x in values.items():
            w = self.loadings[name].detach()
            precision = (w**2).sum(0) / NOISE**2
            evidence = (x - self.offsets[name]) @ w / NOISE**2
            if self.experts == "factors":
                q = Gaussian(evidence / precision, -precision.log().expand_as(evidence))
            else:
                q = Gaussian(evidence / (1 + precision), -(1 + precision).log().expand_as(evidence))
            if self.experts == "wide":
                precision = torch.cat([torch.full((SHARED,), 0.25), 0.7 * (1 + precision[SHARED:])])
                q = Gaussian(q.mean, -precision.log().expand_as(q.mean))
            shared.append(q.at(..., slice(SHARED)))
            private[name] = q.at(..., slice(SHARED, None))
        return Posteriors(Gaussian.stack(shared), private)

    def decode(self, name: str, private: Tensor, shared: Tensor) -> Tensor:
        self.decoded.append((name, private, shared))
        return torch.cat([shared, private], 1) @ self.loadings[name].detach().T + self.offsets[name]

    def log_likelihood(self, name: str, output: Tensor, x: Tensor) -> Tensor:
        return Normal(output, NOISE).log_prob(x).sum(1)

    def exact(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """log p(x_j) and log p(x), key `joint`, of the linear-Gaussian model."""
        latent = SHARED + len(NAMES) * self.private_latent
        loading = torch.zeros(len(NAMES) * WIDTH, latent, dtype=torch.float64)
        for j, name in enumerate(NAMES):
            rows = slice(j * WIDTH, (j + 1) * WIDTH)
            start = SHARED + j * self.private_latent
            loading[rows, :SHARED] = self.loadings[name].detach()[:, :SHARED].double()
            loading[rows, start : start + self.private_latent] = self.loadings[name].detach()[:, SHARED:]
        covariance = loading @ loading.T + NOISE**2 * torch.eye(len(loading), dtype=torch.float64)
        offset = torch.cat([self.offsets[name] for name in NAMES]).double()
        x = torch.cat([values[name] for name in NAMES], 1).double()
        found = {JOINT: MultivariateNormal(offset, covariance).log_prob(x)}
        for j, name in enumerate(NAMES):
            rows = slice(j * WIDTH, (j + 1) * WIDTH)
            own = MultivariateNormal(offset[rows], covariance[rows, rows])
            found[name] = own.log_prob(values[name].double())
        return found


def posteriors(model: MultimodalVAE, count: int, spread: float = 1.2) -> UnimodalPosteriors:
    """Posteriors of so many random samples, their rows stored in another order than that of the samples."""
    rng = np.random.default_rng(1)
    tables, pairs = {}, []
    for name in NAMES:
        data = (spread * rng.normal(size=(count + 2, WIDTH))).astype(np.float32)
        tables[name] = Table("vector", data, np.zeros(count + 2, np.int64))
        pairs.append(rng.permutation(count + 2)[:count])
    split = Split(tables, np.stack(pairs, 1).astype(np.int32), np.zeros(count, np.int64))
    return UnimodalPosteriors(model, ResidentSplit(split, torch.device("cpu")))


def values_of(test: UnimodalPosteriors, samples: Tensor) -> dict[str, Tensor]:
    return {name: test.inputs(name, samples) for name in NAMES}


# --- against the exact likelihood -------------------------------------------------------------------------


@pytest.mark.parametrize("private", [0, 1])
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("subset", list(subsets(NAMES)), ids="-".join)
def test_estimates_converge_to_the_exact_likelihood(mean, private, subset):
    """Importance sampling estimates p itself without bias: the mean of p'/p over repetitions is 1."""
    model = LinearGaussian(mean, private)
    test = posteriors(model, 3)
    repetitions = 20
    samples = torch.arange(3).repeat_interleave(repetitions)
    found = estimates(test, subset, samples, 4000)
    assert set(found) == {*NAMES, JOINT}
    for name, expected in model.exact(values_of(test, samples)).items():
        ratios = torch.exp(found[name].double() - expected).view(3, repetitions)
        error = ratios.std(1) / math.sqrt(repetitions)
        assert (error < 0.05).all(), f"{name}: {error}"
        assert ((ratios.mean(1) - 1).abs() < 5 * error + 1e-5).all(), f"{name}: {ratios.mean(1)} ± {error}"


@pytest.mark.parametrize("weights", [[0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
def test_mixture_with_an_expert_of_no_weight(weights):
    model = LinearGaussian(arithmetic, 0, weights=weights)
    test = posteriors(model, 2)
    samples = torch.arange(2).repeat_interleave(20)
    found = estimates(test, ("a", "b"), samples, 4000)
    for name, expected in model.exact(values_of(test, samples)).items():
        ratios = torch.exp(found[name].double() - expected).view(2, 20)
        assert ((ratios.mean(1) - 1).abs() < 5 * ratios.std(1) / math.sqrt(20)).all()


# --- which weights belong to which data point -------------------------------------------------------------


@pytest.mark.parametrize("importance_samples", [1, 3, 700])
@pytest.mark.parametrize("private", [0, 2])
@pytest.mark.parametrize("mean", MEANS)
def test_exact_posterior_gives_the_exact_likelihood_of_each_point(mean, private, importance_samples):
    """Then all importance weights of a point are p(x_j), whatever is drawn; those of other points are not.

    The reference averages weights over different data points, where this fails by hundreds of nats.
    """
    model = LinearGaussian(mean, private, "exact")
    test = posteriors(model, 9, spread=10)
    samples = torch.tensor([4, 0, 8, 8, 2, 1, 7])
    expected = model.exact(values_of(test, samples))
    for name in NAMES:
        found = estimates(test, (name,), samples, importance_samples)[name]
        assert expected[name].std() > 20  # points so different that a mix-up cannot hide
        torch.testing.assert_close(found.double(), expected[name], atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("importance_samples", [1, 3, 700])
def test_exact_joint_posterior_gives_the_exact_joint_likelihood(importance_samples):
    model = LinearGaussian(product_with_prior, 0, "factors")
    test = posteriors(model, 9, spread=10)
    samples = torch.tensor([4, 0, 8, 8, 2, 1, 7])
    expected = model.exact(values_of(test, samples))[JOINT]
    found = estimates(test, NAMES, samples, importance_samples)[JOINT]
    assert expected.std() > 20
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=1e-5)


def test_estimate_of_a_sample_is_its_own():
    """The others of its batch, and the chunks they are computed in, make no difference."""
    model = LinearGaussian(arithmetic, 1)
    test = posteriors(model, 7, spread=4)
    k = 1500
    assert k < CHUNK < 7 * k
    alone = torch.cat([estimates(test, NAMES, torch.tensor([i]), k)[JOINT] for i in range(7)])
    together = estimates(test, NAMES, torch.arange(7), k)[JOINT]
    order = torch.tensor([6, 2, 0, 5, 1, 4, 3])
    shuffled = estimates(test, NAMES, order, k)[JOINT]
    assert alone.std() > 5
    torch.testing.assert_close(together, alone, atol=0.3, rtol=0)
    torch.testing.assert_close(shuffled, alone[order], atol=0.3, rtol=0)


# --- few importance samples -------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [0, 2])
@pytest.mark.parametrize("subset", [("b",), ("a", "c"), NAMES], ids="-".join)
@pytest.mark.parametrize("mean", DEFINED)
def test_one_importance_sample_is_the_single_sample_elbo(mean, subset, private):
    """log p(x_j|s_j,c) + log p(s_j)/q(s_j) + log p(c)/q(c) at the latents that were drawn."""
    model = LinearGaussian(mean, private)
    test = posteriors(model, 5)
    samples = torch.tensor([3, 1, 4, 0])
    model.decoded.clear()
    found = estimates(test, subset, samples, 1)
    assert [name for name, _, _ in model.decoded] == list(NAMES)
    values = values_of(test, samples)
    encoded = model.encode({name: values[name] for name in subset})
    c = model.decoded[0][2]
    ratio = log_normal(torch.zeros(SHARED), torch.ones(SHARED), c) - log_q(model, encoded.shared, subset, c)
    joint = ratio
    for name, s, shared in list(model.decoded):  # decoding below adds to it
        assert torch.equal(shared, c)  # one c for all modalities
        own = Normal(model.decode(name, s, c), NOISE).log_prob(values[name]).sum(1)
        if name in subset:
            q = encoded.private[name]
            own = own + log_normal(torch.zeros(private), torch.ones(private), s)
            own = own - log_normal(q.mean, torch.exp(q.log_variance / 2), s)
        torch.testing.assert_close(found[name], ratio + own, atol=1e-4, rtol=1e-5)
        joint = joint + own
    torch.testing.assert_close(found[JOINT], joint, atol=1e-4, rtol=1e-5)


def log_normal(mean: Tensor, deviation: Tensor, z: Tensor) -> Tensor:
    return Normal(mean, deviation).log_prob(z).sum(-1) if z.shape[-1] else torch.zeros(len(z))


def log_q(model: MultimodalVAE, experts: Gaussian, subset: tuple[str, ...], c: Tensor) -> Tensor:
    """log q(c|x_A) from its definition: products normalised by their precisions, mixtures by torch."""
    means, precisions = experts.mean, torch.exp(-experts.log_variance)
    weights = torch.tensor([model.weights[name] for name in subset])
    weights = weights / weights.sum()
    if len(subset) == 1:
        return log_normal(means[0], precisions[0] ** -0.5, c)
    if model.mean is arithmetic:
        parts = Independent(Normal(means.movedim(0, 1), precisions.movedim(0, 1) ** -0.5), 1)
        return MixtureSameFamily(Categorical(weights.expand(len(c), -1)), parts).log_prob(c)
    if model.mean is geometric:
        precisions = precisions * weights[:, None, None]
        total = precisions.sum(0)
    else:
        assert model.mean is product_with_prior
        total = precisions.sum(0) + 1
    return log_normal((precisions * means).sum(0) / total, total**-0.5, c)


@pytest.mark.parametrize("name", NAMES)
def test_mean_of_single_sample_estimates_is_the_elbo(name):
    """E_q log p(x_j|s_j,c) - KL(q(c)||p) - KL(q(s_j)||p), in closed form for the linear-Gaussian model."""
    model = LinearGaussian(geometric, 2)
    test = posteriors(model, 1)
    x = values_of(test, torch.tensor([0]))[name]
    shared, private = model.encode({name: x})
    mean = torch.cat([shared.mean[0], private[name].mean], 1)[0]
    variance = torch.cat([shared.log_variance[0], private[name].log_variance], 1)[0].exp()
    loading = model.loadings[name].detach()
    fit = Normal(loading @ mean + model.offsets[name], NOISE).log_prob(x).sum()
    elbo = fit - ((loading**2) @ variance).sum() / (2 * NOISE**2)
    elbo = elbo - 0.5 * (variance + mean**2 - 1 - variance.log()).sum()
    found = estimates(test, (name,), torch.zeros(40_000, dtype=torch.long), 1)[name]
    mean, error = mean_and_error(found)
    assert error < 0.08
    assert abs(mean - elbo.item()) < 4 * error


@pytest.mark.parametrize("target", ["a", JOINT])
def test_bound_tightens_with_importance_samples(target):
    model = LinearGaussian(geometric, 1)
    test = posteriors(model, 1)
    exact = model.exact(values_of(test, torch.tensor([0])))[target].item()
    bounds = [
        mean_and_error(estimates(test, ("a", "b"), torch.zeros(n, dtype=torch.long), k)[target])
        for n, k in [(4000, 1), (2000, 5), (300, 100)]
    ]
    for (lower, _), (higher, error) in zip(bounds, [*bounds[1:], (exact, 0.0)], strict=True):
        assert lower < higher + 3 * error
    assert bounds[0][0] < bounds[1][0] - 0.3 < bounds[2][0]
    assert bounds[2][0] == pytest.approx(exact, abs=0.2)


@pytest.mark.parametrize("values", [[3.0, -1.0, 7.5, 2.0], [-1e3, -1.2e3]])
def test_mean_and_error_are_those_of_numpy(values):
    found = mean_and_error(torch.tensor(values))
    assert found[0] == pytest.approx(np.mean(values))
    assert found[1] == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)))
    assert all(isinstance(number, float) for number in found)


def test_one_value_has_no_error():
    mean, error = mean_and_error(torch.tensor([2.5]))
    assert mean == 2.5
    assert math.isnan(error)


@pytest.mark.parametrize("objective", list(registry.entries("objectives")))
@pytest.mark.parametrize("private", [0, 4])
def test_estimates_of_a_real_model(store, objective, private):
    run = make_run(objective=objective, private_latent=private)
    model = build(modalities_of(store.splits["train"]), run).model.eval()
    test = UnimodalPosteriors(model, ResidentSplit(store.splits["test"], torch.device("cpu")))
    found = estimates(test, ("mnist", "text"), torch.arange(6), 4)
    assert list(found) == ["mnist", "svhn", "text", JOINT]
    for values in found.values():
        assert values.shape == (6,)
        assert torch.isfinite(values).all()
        assert not values.requires_grad
    assert (found["text"] > found[JOINT]).all()  # 8 characters against 3864 values


# --- the density of the posterior of a subset -------------------------------------------------------------


def random_experts(count: int, batch: int, dim: int) -> Gaussian:
    return Gaussian(2 * torch.randn(count, batch, dim), 0.7 * torch.randn(count, batch, dim))


@pytest.mark.parametrize("subset", list(subsets(NAMES)), ids="-".join)
@pytest.mark.parametrize("mean", DEFINED)
def test_posterior_density_is_that_of_its_definition(mean, subset):
    model = LinearGaussian(mean, 0)
    experts, c = random_experts(len(subset), 50, SHARED), 2 * torch.randn(50, SHARED)
    found = model.posterior(experts, subset).log_prob(c)
    assert found.shape == (50,)
    torch.testing.assert_close(found, log_q(model, experts, subset, c), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("subset", [("b",), ("a", "c"), NAMES], ids="-".join)
@pytest.mark.parametrize("mean", MEANS)
def test_posterior_density_integrates_to_one(mean, subset):
    model = LinearGaussian(mean, 0)
    grid = torch.linspace(-25, 25, 5001)[:, None]
    each = random_experts(len(subset), 1, 1)
    experts = Gaussian(*(t.expand(-1, len(grid), -1) for t in each))
    density = model.posterior(experts, subset).log_prob(grid).exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1, abs=1e-4)
    if mean in (geometric, product_with_prior) and len(subset) > 1:
        # in proportion to the product of the densities it is made of
        weights = torch.tensor([model.weights[name] for name in subset])
        exponents = weights / weights.sum() if mean is geometric else torch.ones(len(subset))
        product = (exponents[:, None] * experts.log_prob(grid)).sum(0)
        if mean is product_with_prior:
            product = product + Normal(0.0, 1.0).log_prob(grid[:, 0])
        product = product.double().softmax(0) / (grid[1] - grid[0])
        torch.testing.assert_close(density, product.float(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("subset", [("b",), ("a", "c"), NAMES], ids="-".join)
@pytest.mark.parametrize("mean", MEANS)
def test_samples_follow_the_posterior_density(mean, subset):
    """Share of the samples below each point against the integral of the density."""
    model = LinearGaussian(mean, 0)
    grid = torch.linspace(-25, 25, 5001)[:, None]
    each = random_experts(len(subset), 1, 1)
    experts = Gaussian(*(t.expand(-1, len(grid), -1) for t in each))
    density = model.posterior(experts, subset).log_prob(grid).exp()
    cumulated = torch.cumulative_trapezoid(density, grid[:, 0])
    count = 40_000
    drawn = model.posterior(Gaussian(*(t.expand(-1, count, -1) for t in each)), subset).rsample()
    shares = torch.searchsorted(drawn[:, 0].sort().values, grid[1:, 0].contiguous()) / count
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand
    assert (shares - cumulated).abs().max() < 1.95 / math.sqrt(count)


@pytest.mark.parametrize("weights", [[0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
def test_mixture_density_with_an_expert_of_no_weight(weights):
    """Weight 0 beside others has no part; where no expert of the subset has weight, all weigh alike."""
    model = LinearGaussian(arithmetic, 0, weights=weights)
    experts, c = random_experts(2, 30, SHARED), 2 * torch.randn(30, SHARED)
    found = model.posterior(experts, ("a", "b")).log_prob(c)
    each = experts.log_prob(c)
    expected = each[1] if weights[1] else torch.logsumexp(each, 0) - math.log(2)
    torch.testing.assert_close(found, expected)
