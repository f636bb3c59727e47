import pytest
import torch

from mmjsd.data.batches import Batch, ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.distributions import kl_divergence, product_of_experts, with_prior
from mmjsd.objectives import MMJSD, MMVAE, MVAE, OBJECTIVES
from mmjsd.training.model_file import build_model
from support.samples import make_run

SUBSPACES = {"private_latent": 4, "beta_style": 3.0, "style_weights": {"text": 5.0}}


def setup(store, count=24, **options):
    torch.manual_seed(0)
    run = make_run(**options)
    modalities = modalities_of(store.splits["train"])
    batch = ResidentSplit(store.splits["train"], torch.device("cpu")).batch(torch.arange(count))
    return build_model(modalities, run), OBJECTIVES[run.objective](modalities, run), batch, run


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
    model, objective, batch, run = setup(store, objective=objective, beta=3.0, beta_content=0.5, **options)
    loss, terms = objective(model, batch)
    torch.testing.assert_close(loss.detach(), weighted_sum(terms, run, SIZES))
    assert any(term.startswith("divergence/style") for term in terms) == bool(options)


@pytest.mark.parametrize("options", [{}, SUBSPACES])
def test_mvae_adds_the_unimodal_elbos_with_unweighted_reconstruction(store, options):
    model, objective, batch, run = setup(store, objective="mvae", **options)
    loss, terms = objective(model, batch)
    joint = weighted_sum(terms, run, SIZES)
    unimodal = sum(terms[f"unimodal/{name}"] for name in SIZES)
    torch.testing.assert_close(loss.detach(), joint + unimodal)
    # the unimodal reconstruction of text is not blown up by its weight of 384
    assert terms["unimodal/text"] < 5 * terms["reconstruction/text"]


def test_content_divergences(store):
    """Each against its definition, written out expert by expert."""
    model, mmjsd, batch, run = setup(store)
    with torch.no_grad():
        q = model.encode(batch.values).shared
        experts = [q.at(i) for i in range(3)]
        f = product_of_experts(with_prior(q), torch.ones(4) / 4)
        js = sum(kl_divergence(e, f) for e in experts) / 4
        js = js + kl_divergence(type(q)(torch.zeros_like(f.mean), torch.zeros_like(f.mean)), f) / 4
        kl = sum(kl_divergence(e) for e in experts) / 3
        joint = kl_divergence(product_of_experts(with_prior(q)))
        modalities = modalities_of(store.splits["train"])
        for objective, expected in (
            (mmjsd, js),
            (MMVAE(modalities, run), kl),
            (MVAE(modalities, run), joint),
        ):
            torch.testing.assert_close(objective(model, batch).terms["divergence/content"], expected.mean())


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
@pytest.mark.parametrize("options", [{}, SUBSPACES, {"dynamic_prior": "arithmetic"}])
def test_every_parameter_learns(store, objective, options):
    model, objective, batch, _ = setup(store, objective=objective, **options)
    objective(model, batch).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
def test_warmup_scales_the_divergences_and_nothing_else(store, objective):
    """Loss, gradient and logged terms are those of a beta that much smaller."""
    model, warming, batch, run = setup(store, objective=objective, beta=2.0, **SUBSPACES)
    smaller = OBJECTIVES[objective](
        modalities_of(store.splits["train"]), run.model_copy(update={"beta": 0.5})
    )
    found = []
    for computed, warmup in ((warming, torch.tensor(0.25)), (smaller, 1.0), (warming, 1.0)):
        torch.manual_seed(1)
        model.zero_grad()
        loss, terms = computed(model, batch, warmup)
        loss.backward()
        found.append([loss.detach(), *terms.values(), *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(found[0], found[1], strict=True):
        assert torch.equal(one, other)
    assert found[0][0] < found[2][0]


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
def test_what_is_missing_has_no_influence(store, objective):
    """The loss and gradients do not depend on the values at masked places."""
    model, objective, batch, _ = setup(store, objective=objective, **SUBSPACES)
    present = torch.ones(3, len(batch), dtype=torch.bool)
    present[1, ::2] = False
    present[0, 1::4] = False
    results = []
    for noise in (0.0, 1.0):
        svhn = torch.where(present[1][:, None, None, None], batch.values["svhn"], noise)
        masked = Batch({**batch.values, "svhn": svhn}, present)
        torch.manual_seed(1)
        model.zero_grad()
        loss, _ = objective(model, masked)
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_mask_of_everything_present_is_no_mask(store):
    model, objective, batch, _ = setup(store)
    masked = Batch(batch.values, torch.ones(3, len(batch), dtype=torch.bool))
    one, other = objective(model, batch).terms, objective(model, masked).terms
    torch.testing.assert_close(one["divergence/content"], other["divergence/content"])


def test_weights_are_renormalised_over_what_is_present(store):
    _, objective, batch, _ = setup(store, weights={"mnist": 0.2, "svhn": 0.3, "text": 0.1, "prior": 0.4})
    present = torch.ones(3, len(batch), dtype=torch.bool)
    present[0] = False
    weights = objective.weights(Batch(batch.values, present), prior=True)[:, 0]
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.375, 0.125, 0.5]))
    torch.testing.assert_close(objective.weights(batch, prior=False), torch.tensor([2.0, 3.0, 1.0]) / 6)


def test_trains_with_gaps(store_with_gaps):
    model, objective, batch, _ = setup(store_with_gaps)
    assert batch.present is not None
    assert not batch.present.all()
    assert torch.isfinite(objective(model, batch).loss)


def test_side_by_side():
    assert OBJECTIVES == {"mmjsd": MMJSD, "mvae": MVAE, "mmvae": MMVAE}
