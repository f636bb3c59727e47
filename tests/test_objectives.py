import pytest
import torch

from mmjsd import registry
from mmjsd.data.batches import Batch, ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.distributions import kl_divergence, product_of_experts, with_prior
from mmjsd.objectives import MMJSD, MMVAE, MVAE
from mmjsd.training.model_file import build
from support.samples import make_run
from support.training import VARIANTS

SUBSPACES = {"private_latent": 4, "beta_style": 3.0, "style_weights": {"text": 5.0}}
OBJECTIVES = list(registry.entries("objectives"))


def setup(store, count=24, **options):
    """An objective with a model of the same weights each time, a batch, and the parameters."""
    torch.manual_seed(0)
    run = make_run(**options)
    batch = ResidentSplit(store.splits["train"], torch.device("cpu")).batch(torch.arange(count))
    return build(modalities_of(store.splits["train"]), run), batch, run


def weighted_sum(terms, run, sizes):
    """The loss of MMJSD and MMVAE from its terms, as the definition writes it."""
    largest = max(sizes.values())
    reconstruction = sum(largest / size * terms[f"reconstruction/{name}"] for name, size in sizes.items())
    style = sum(
        run.style_weights.get(name, 1.0) * terms.get(f"divergence/style/{name}", 0.0) for name in sizes
    )
    return reconstruction + run.beta * (
        run.beta_style * style + run.beta_content * terms["divergence/content"]
    )


SIZES = {"mnist": 784, "svhn": 3072, "text": 8}


@pytest.mark.parametrize("objective", ["mmjsd", "mmvae"])
@pytest.mark.parametrize("options", [{}, SUBSPACES])
def test_loss_is_the_weighted_sum_of_its_terms(store, objective, options):
    objective, batch, run = setup(store, objective=objective, beta=3.0, beta_content=0.5, **options)
    loss, terms = objective(batch)
    torch.testing.assert_close(loss.detach(), weighted_sum(terms, run, SIZES))
    assert any(term.startswith("divergence/style") for term in terms) == bool(options)


@pytest.mark.parametrize("options", [{}, SUBSPACES])
def test_mvae_adds_the_unimodal_elbos_with_unweighted_reconstruction(store, options):
    objective, batch, run = setup(store, objective="mvae", **options)
    loss, terms = objective(batch)
    joint = weighted_sum(terms, run, SIZES)
    unimodal = sum(terms[f"unimodal/{name}"] for name in SIZES)
    torch.testing.assert_close(loss.detach(), joint + unimodal)
    # the unimodal reconstruction of text is not blown up by its weight of 384
    assert terms["unimodal/text"] < 5 * terms["reconstruction/text"]


def test_reconstruction_weights_are_those_given(store):
    given = {"mnist": 7.0, "text": 0.0}
    objective, batch, run = setup(store, objective="mmvae", reconstruction_weights=given)
    loss, terms = objective(batch)
    reconstruction = 7 * terms["reconstruction/mnist"] + terms["reconstruction/svhn"]
    torch.testing.assert_close(loss.detach(), reconstruction + run.beta * terms["divergence/content"])


def test_content_divergences(store):
    """Each against its definition, written out expert by expert."""
    objective, batch, _ = setup(store)
    with torch.no_grad():
        q = objective.model.encode(batch.values).shared
        experts = [q.at(i) for i in range(3)]
        f = product_of_experts(with_prior(q), torch.ones(4) / 4)
        js = sum(kl_divergence(e, f) for e in experts) / 4
        js = js + kl_divergence(type(q)(torch.zeros_like(f.mean), torch.zeros_like(f.mean)), f) / 4
        kl = sum(kl_divergence(e) for e in experts) / 3
        joint = kl_divergence(product_of_experts(with_prior(q)))
        for name, expected in (("mmjsd", js), ("mmvae", kl), ("mvae", joint)):
            objective, _, _ = setup(store, objective=name)
            torch.testing.assert_close(objective(batch).terms["divergence/content"], expected.mean())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))
@pytest.mark.parametrize("options", [{}, SUBSPACES], ids=["shared", "subspaces"])
def test_every_parameter_learns(store, variant, options):
    """Of the model, and the objective has none of its own."""
    objective, batch, _ = setup(store, **variant, **options)
    objective(batch).loss.backward()
    assert len(list(objective.parameters())) == len(list(objective.model.parameters()))
    for name, parameter in objective.model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_warmup_scales_the_divergences_and_nothing_else(store, objective):
    """Loss, gradient and logged terms are those of a beta that much smaller."""
    warming, batch, _ = setup(store, objective=objective, beta=2.0, **SUBSPACES)
    smaller, _, _ = setup(store, objective=objective, beta=0.5, **SUBSPACES)
    found = []
    for computed, warmup in ((warming, torch.tensor(0.25)), (smaller, 1.0), (warming, 1.0)):
        torch.manual_seed(1)
        computed.zero_grad()
        loss, terms = computed(batch, warmup)
        loss.backward()
        found.append([loss.detach(), *terms.values(), *(p.grad.clone() for p in computed.parameters())])
    for one, other in zip(found[0], found[1], strict=True):
        assert torch.equal(one, other)
    assert found[0][0] < found[2][0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_missing_has_no_influence(store, objective):
    """The loss and gradients do not depend on the values at masked places."""
    objective, batch, _ = setup(store, objective=objective, **SUBSPACES)
    present = torch.ones(3, len(batch), dtype=torch.bool)
    present[1, ::2] = False
    present[0, 1::4] = False
    results = []
    for noise in (0.0, 1.0):
        svhn = torch.where(present[1][:, None, None, None], batch.values["svhn"], noise)
        masked = Batch({**batch.values, "svhn": svhn}, present)
        torch.manual_seed(1)
        objective.zero_grad()
        loss, _ = objective(masked)
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in objective.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_mask_of_everything_present_is_no_mask(store, objective):
    objective, batch, _ = setup(store, objective=objective)
    masked = Batch(batch.values, torch.ones(3, len(batch), dtype=torch.bool))
    one, other = objective(batch).terms, objective(masked).terms
    torch.testing.assert_close(one["divergence/content"], other["divergence/content"])


@pytest.mark.parametrize("objective", ["mmjsd", "mmvae"])
def test_weights_are_renormalised_over_what_is_present(store, objective):
    weights = {"mnist": 0.2, "svhn": 0.3, "text": 0.1, "prior": 0.4}
    objective, batch, _ = setup(store, objective=objective, weights=weights)
    present = torch.ones(3, len(batch), dtype=torch.bool)
    present[0] = False
    weights = objective.weights(Batch(batch.values, present), prior=True)[:, 0]
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.375, 0.125, 0.5]))
    torch.testing.assert_close(objective.weights(batch, prior=False), torch.tensor([2.0, 3.0, 1.0]) / 6)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))
def test_trains_with_gaps(store_with_gaps, variant):
    objective, batch, _ = setup(store_with_gaps, **variant)
    assert batch.present is not None
    assert not batch.present.all()
    assert torch.isfinite(objective(batch).loss)


def test_a_model_is_saved_without_its_objective(store):
    """Files of models are of the model alone: the weights pi are parameters of the run."""
    objective, _, _ = setup(store)
    assert {f"model.{name}" for name in objective.model.state_dict()} == objective.state_dict().keys()


def test_side_by_side():
    built_in = registry.BUILT_IN["objectives"]
    found = {name: registry.resolve("objectives", name) for name in built_in}
    assert found == {"mmjsd": MMJSD, "mvae": MVAE, "mmvae": MMVAE}
