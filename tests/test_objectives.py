import pytest
import torch

from mmjsd import objectives, registry
from mmjsd.data import batches
from mmjsd.data.batches import Batch, ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.distributions import (
    Gaussian,
    Mixture,
    jensen_shannon,
    kl_divergence,
    product_of_experts,
    with_prior,
)
from mmjsd.modalities import Modality
from mmjsd.objectives import MMJSD, MMVAE, MMVM, MVAE, MVTCAE, MMVAEPlus, MMVMPairwise, MoPoE
from mmjsd.training.model_file import build
from support.noise import have_known_noise, known_noise
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
    """The loss from its terms, as the definition writes it."""
    largest = max(sizes.values())
    reconstruction = sum(largest / size * terms[f"reconstruction/{name}"] for name, size in sizes.items())
    style = sum(
        run.style_weights.get(name, 1.0) * terms.get(f"divergence/style/{name}", 0.0) for name in sizes
    )
    return reconstruction + run.beta * (
        run.beta_style * style + run.beta_content * terms["divergence/content"]
    )


SIZES = {"mnist": 784, "svhn": 3072, "text": 8}


@pytest.mark.parametrize("objective", ["mmjsd", "mmvae", "mopoe", "mmvm"])
@pytest.mark.parametrize("options", [{}, SUBSPACES])
def test_loss_is_the_weighted_sum_of_its_terms(store, objective, options):
    objective, batch, run = setup(store, objective=objective, beta=3.0, beta_content=0.5, **options)
    loss, terms = objective(batch)
    torch.testing.assert_close(loss.detach(), weighted_sum(terms, run, SIZES))
    assert any(term.startswith("divergence/style") for term in terms) == bool(options)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_posteriors_that_become_certain_leave_all_finite(store, name):
    """MMVM's divergence is bounded: nothing holds variances, and on digits they fell until it was NaN."""
    objective, batch, _ = setup(store, objective=name)
    with torch.no_grad():
        for place, head in enumerate(objective.model.heads.values()):
            mean, log_variance = head.bias.chunk(2)
            mean.fill_(60.0 * place)
            log_variance.fill_(-200.0)
    loss, _ = objective(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


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
    """Some draw the shared latent differently then, but none its divergence."""
    objective, batch, _ = setup(store, objective=objective)
    masked = Batch(batch.values, torch.ones(3, len(batch), dtype=torch.bool))
    torch.manual_seed(1)
    one = objective(batch).terms
    torch.manual_seed(1)
    other = objective(masked).terms
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


@pytest.mark.parametrize("options", [{}, {"importance_samples": 3}], ids=["", "importance samples"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_missing_images_are_not_computed_where_that_pays(store_with_gaps, monkeypatch, objective, options):
    """And the loss and its gradients are the same."""
    if options and "importance_samples" not in registry.options_of("objectives", objective):
        pytest.skip("has none")
    losses, seen = [], []
    for spared in (1, 25):
        monkeypatch.setattr(batches, "SPARED", spared)
        loss, batch, _ = setup(store_with_gaps, objective=objective, **options, private_latent=2)
        loss.model.encoders["svhn"].register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
        torch.manual_seed(1)
        value = loss(batch).loss
        value.backward()
        losses.append([value.detach(), *(p.grad for p in loss.model.parameters() if p.grad is not None)])
    assert seen == [int(batch.present[1].sum()), 24]
    assert seen[0] < 24
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


def test_networks_that_normalise_batches_compute_all(store_with_gaps):
    objective, batch, _ = setup(store_with_gaps)
    assert not objective.normalises
    faces = [Modality("image", "image", (3, 64, 64), 3 * 64 * 64)]
    assert build(faces, make_run(network_width=0.05)).normalises
    on_device = Batch({name: x.to("meta") for name, x in batch.values.items()}, batch.present)
    assert on_device.computed("svhn") is None


def test_a_model_is_saved_without_its_objective(store):
    """Files of models are of the model alone: the weights pi are parameters of the run."""
    objective, _, _ = setup(store)
    assert {f"model.{name}" for name in objective.model.state_dict()} == objective.state_dict().keys()


def test_side_by_side():
    built_in = registry.BUILT_IN["objectives"]
    found = {name: registry.resolve("objectives", name) for name in built_in}
    rivals = {"mopoe": MoPoE, "mvtcae": MVTCAE, "mmvaeplus": MMVAEPlus}
    rivals |= {"mmvm": MMVM, "mmvm_pairwise": MMVMPairwise}
    assert found == {"mmjsd": MMJSD, "mvae": MVAE, "mmvae": MMVAE, **rivals}


# --- On three samples, by hand ----------------------------------------------------------------------------

GAPS = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])


def by_hand(store, monkeypatch, name, present, **options):
    """The loss, its model's posteriors, and a function that scores a modality from a shared latent."""
    objective, batch, _ = setup(store, count=3, objective=name, beta=3.0, **options)
    batch = Batch(batch.values, present)
    # no noise: what is drawn is the mean
    monkeypatch.setattr(Gaussian, "rsample", lambda self, generator=None: self.mean)
    with torch.no_grad():
        loss = objective(batch).loss
        q = objective.model.encode(batch.values).shared
    model, largest = objective.model, 3072

    def error(sample, expert, c):
        name = list(SIZES)[expert]
        output = model.decode(name, c.new_zeros(1, 0), c[None])
        x = batch.values[name][sample][None]
        return -largest / SIZES[name] * model.log_likelihood(name, output, x)[0]

    return loss, q, error


def there(present, sample):
    return [j for j in range(3) if present is None or present[j, sample]]


@pytest.mark.parametrize("present", [None, GAPS], ids=["all", "gaps"])
def test_mvtcae_by_hand(store, monkeypatch, present):
    loss, q, error = by_hand(store, monkeypatch, "mvtcae", present, total_correlation=0.6)
    each = []
    with torch.no_grad():
        for sample in range(3):
            experts = [q.at(j, sample) for j in there(present, sample)]
            precision = sum(torch.exp(-e.log_variance) for e in experts)
            mean = sum(torch.exp(-e.log_variance) * e.mean for e in experts) / precision
            joint, m = type(q)(mean, -torch.log(precision)), len(experts)
            divergence = 0.4 * kl_divergence(joint) + 0.6 / m * sum(kl_divergence(joint, e) for e in experts)
            rebuilt = sum(error(sample, j, mean) for j in there(present, sample))
            each.append((m - 0.6) / m * rebuilt + 3 * divergence)
    torch.testing.assert_close(loss, sum(each) / 3)


@pytest.mark.parametrize("present", [None, GAPS], ids=["all", "gaps"])
def test_mopoe_by_hand(store, monkeypatch, present):
    """The first sample has all modalities, with the prior as one more expert; the others some."""
    subsets = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    if present is not None:
        subsets &= present
    monkeypatch.setattr(objectives, "draw_subsets", lambda present: subsets)
    loss, q, error = by_hand(store, monkeypatch, "mopoe", present)
    each = []
    with torch.no_grad():
        for sample in range(3):
            experts = [q.at(j, sample) for j in range(3) if subsets[j, sample]]
            precision = sum(torch.exp(-e.log_variance) for e in experts) + (len(experts) == 3)
            mean = sum(torch.exp(-e.log_variance) * e.mean for e in experts) / precision
            divergence = kl_divergence(type(q)(mean, -torch.log(precision)))
            each.append(sum(error(sample, j, mean) for j in there(present, sample)) + 3 * divergence)
    torch.testing.assert_close(loss, sum(each) / 3)


@torch.no_grad()
def one_vae_a_modality(q, error, present, divergence):
    """The loss of MMVM at beta 3, by the divergence of a posterior from those that are there."""
    total = 0.0
    for sample in range(3):
        chosen = there(present, sample)
        experts = [q.at(j, sample) for j in chosen]
        for j, own in zip(chosen, experts, strict=True):
            total = total + error(sample, j, own.mean) + 3 * divergence(own, experts) / len(chosen)
    return total / 3


@pytest.mark.parametrize("present", [None, GAPS], ids=["all", "gaps"])
@pytest.mark.parametrize("prior_weight", [0.0, 0.25])
def test_mmvm_by_hand(store, monkeypatch, present, prior_weight):
    def divergence(own, experts):
        c = own.mean
        densities = [q.log_prob(c).exp() for q in experts]
        prior = type(own).standard(len(c)).log_prob(c).exp()
        mixture = (1 - prior_weight) * sum(densities) / len(experts) + prior_weight * prior
        return own.log_prob(c) - torch.log(mixture)

    loss, q, error = by_hand(store, monkeypatch, "mmvm", present, prior_weight=prior_weight)
    expected = one_vae_a_modality(q, error, present, divergence)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("present", [None, GAPS], ids=["all", "gaps"])
@pytest.mark.parametrize("prior_weight", [0.0, 0.25])
def test_pairwise_mmvm_by_hand(store, monkeypatch, present, prior_weight):
    """Written as pairs; and never less than what it bounds."""

    def divergence(own, experts):
        pairs = sum(kl_divergence(own, q) for q in experts) / len(experts)
        return (1 - prior_weight) * pairs + prior_weight * kl_divergence(own)

    options = {"prior_weight": prior_weight}
    loss, q, error = by_hand(store, monkeypatch, "mmvm_pairwise", present, **options)
    least, _, _ = by_hand(store, monkeypatch, "mmvm", present, **options)
    expected = one_vae_a_modality(q, error, present, divergence)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-2)
    assert loss > least


def test_the_posterior_of_mopoe_is_the_mixture_of_its_subsets(store):
    objective, batch, _ = setup(store, objective="mopoe")
    with torch.no_grad():
        q = objective.model.encode(batch.values).shared
    pair = objective.model.posterior(q.at([0, 2]), ("mnist", "text"))
    assert isinstance(pair, Mixture)
    assert pair.experts.mean.shape[0] == 3
    torch.testing.assert_close(pair.experts.mean[0], q.mean[0])
    torch.testing.assert_close(pair.experts.mean[1], q.mean[2])
    torch.testing.assert_close(pair.experts.mean[2], product_of_experts(q.at([0, 2])).mean)
    whole = objective.model.posterior(q, tuple(SIZES))
    assert whole.experts.mean.shape[0] == 7
    torch.testing.assert_close(whole.experts.mean[-1], product_of_experts(with_prior(q)).mean)


@pytest.mark.parametrize("present", [None, GAPS], ids=["all", "gaps"])
@pytest.mark.parametrize(("name", "samples"), [("mmvae", 3), ("mmvaeplus", 1), ("mmvaeplus", 3)])
def test_importance_samples_by_hand(store, monkeypatch, present, name, samples):
    """With private latents: MMVAE's are those of each modality, MMVAE+'s those of the expert's own alone."""
    have_known_noise(monkeypatch)
    objective, batch, _ = setup(
        store, count=3, objective=name, importance_samples=samples, beta=3.0, **SUBSPACES
    )
    batch = Batch(batch.values, present)
    model = objective.model
    for scale in model.private_scales.values():
        scale.data += 0.5
    standard = [Gaussian.standard(dimensions) for dimensions in (20, 4)]

    def kth(q, k):
        return q.mean + known_noise((samples, 1, len(q.mean)))[k, 0] * torch.exp(0.5 * q.log_variance)

    each = []
    with torch.no_grad():
        loss = objective(batch).loss
        posteriors = model.encode(batch.values)
        for sample in range(3):
            chosen = there(present, sample)
            shared = [posteriors.shared.at(j, sample) for j in range(3)]
            private = [q.at(sample) for q in posteriors.private.values()]
            bounds = []
            for expert in chosen:
                weights = []
                for k in range(samples):
                    c = kth(shared[expert], k)
                    mixture = sum(shared[j].log_prob(c).exp() for j in chosen) / len(chosen)
                    log_w = 3 * (standard[0].log_prob(c) - mixture.log())
                    for j in chosen:
                        modality, is_own = list(SIZES)[j], name == "mmvae" or j == expert
                        r = Gaussian(torch.zeros(4), model.private_scales[modality]) if not is_own else None
                        s = kth(r or private[j], k)
                        output = model.decode(modality, s[None], c[None])
                        x = batch.values[modality][sample][None]
                        log_w = log_w + 3072 / SIZES[modality] * model.log_likelihood(modality, output, x)[0]
                        if is_own:
                            weight = 5.0 if modality == "text" else 1.0
                            ratio = standard[1].log_prob(s) - private[j].log_prob(s)
                            log_w = log_w + 3 * 3 * weight * ratio
                    weights.append(log_w)
                bounds.append(torch.stack(weights).logsumexp(0) - torch.tensor(samples).log())
            each.append(-sum(bounds) / len(bounds))
    torch.testing.assert_close(loss, sum(each) / 3, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("name", ["mmvae", "mmvaeplus"])
def test_dreg_has_the_gradient_of_iwae(store, name):
    """On average, for it is unbiased (Tucker et al. 2019), and with less noise where posteriors learn."""
    found = {}
    for estimator in ("iwae", "dreg"):
        objective, batch, _ = setup(
            store,
            1,
            objective=name,
            importance_samples=3,
            estimator=estimator,
            likelihood_scale=30.0,
            reconstruction_weights={"text": 1.0, "mnist": 1.0},
            beta=1.0,
            private_latent=2,
            network_width=0.1,
        )
        model = objective.model
        learning = [model.heads["mnist"].bias, model.decoders["mnist"][-3].bias]
        batch = Batch({key: x.expand(32, *x.shape[1:]) for key, x in batch.values.items()}, None)
        gradients = [torch.autograd.grad(objective(batch).loss, learning) for _ in range(8)]
        found[estimator] = [torch.stack(each) for each in zip(*gradients, strict=True)]
    for iwae, dreg in zip(found["iwae"], found["dreg"], strict=True):
        error = ((iwae.var(0) + dreg.var(0)) / len(iwae)).sqrt()
        away = (iwae.mean(0) - dreg.mean(0)).abs() / error
        assert away.max() < 8
        assert away.mean() < 1.5
    iwae, dreg = found["iwae"][0], found["dreg"][0]
    assert (dreg.std(0) / iwae.std(0)).median() < 0.5


class TestLearntWeights:
    """Of mmJSD: those in f, and not pi."""

    def test_they_begin_as_pi(self, store):
        pi = {"weights": {"mnist": 1, "svhn": 2, "text": 1, "prior": 4}}
        losses = []
        for options in ({}, {"learn_weights": True}):
            objective, batch, _ = setup(store, **pi, **options)
            torch.manual_seed(1)
            losses.append(objective(batch).loss)
        torch.testing.assert_close(*losses)
        learnt = objective.model.learnt_weights()
        torch.testing.assert_close(learnt, torch.tensor([0.125, 0.25, 0.125, 0.5]))

    @pytest.mark.parametrize("gaps", [False, True])
    def test_the_divergence_by_hand(self, store, store_with_gaps, gaps):
        """Sample by sample, over what is present; the gradient, too, is finite there."""
        objective, batch, _ = setup(store_with_gaps if gaps else store, learn_weights=True)
        model = objective.model
        with torch.no_grad():
            model.weight_logits.copy_(torch.tensor([2.0, -1.0, 0.0, 1.0]))
            q, weights = model.encode(batch.values).shared, torch.softmax(model.weight_logits, 0)
            each, standard = [], Gaussian.standard(1, q.mean.shape[-1])
            for sample in range(24):
                there = [j for j in range(3) if batch.is_present()[j, sample]]
                experts = [q.at(j, slice(sample, sample + 1)) for j in there] + [standard]
                own = weights[[*there, 3]]
                precision = sum(w * torch.exp(-e.log_variance) for w, e in zip(own, experts, strict=True))
                precision = precision / own.sum()
                mean = sum(w * torch.exp(-e.log_variance) * e.mean for w, e in zip(own, experts, strict=True))
                f = Gaussian(mean / own.sum() / precision, -torch.log(precision))
                each.append(sum(kl_divergence(e, f) for e in experts) / len(experts))
        loss, terms = objective(batch)
        torch.testing.assert_close(terms["divergence/content"], torch.cat(each).mean())
        loss.backward()
        for name, parameter in model.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
        assert model.weight_logits.grad.abs().min() > 0

    @pytest.mark.parametrize("logits", [[200.0, -200.0, -200.0, -200.0], [-300.0, 0.0, 0.0, 300.0]])
    def test_with_all_weight_on_one_expert_all_is_finite(self, store_with_gaps, logits):
        objective, batch, _ = setup(store_with_gaps, learn_weights=True)
        model = objective.model
        with torch.no_grad():
            model.weight_logits.copy_(torch.tensor(logits))
        loss = objective(batch).loss
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        pair = model.posterior(model.encode(batch.values).shared.at(slice(1, 3)), ("svhn", "text"))
        assert torch.isfinite(pair.mean).all()

    def test_they_find_the_geometric_mean_nearest_to_the_mixture(self):
        """Of given experts there is one, which gradients lead to."""
        log_variance = torch.tensor([-1.0, 0.5, 0.0])[:, None, None]
        experts = Gaussian(torch.tensor([2.0, -1.0, 0.0])[:, None, None], log_variance)
        pi = torch.ones(3) / 3

        def divergence(weights):
            return jensen_shannon(experts, pi, lambda experts, pi: product_of_experts(experts, weights)).sum()

        logits = torch.zeros(3, requires_grad=True)
        optimiser = torch.optim.Adam([logits], 0.05)
        for _ in range(400):
            optimiser.zero_grad()
            divergence(torch.softmax(logits, 0)).backward()
            optimiser.step()
        steps = torch.linspace(0.001, 0.999, 60)
        grid = (torch.stack([a, b, 1 - a - b]) for a in steps for b in steps if a + b < 0.9995)
        least, found = min(map(divergence, grid)), divergence(torch.softmax(logits, 0).detach())
        assert found < divergence(pi) - 0.1
        torch.testing.assert_close(found, least, rtol=0.001, atol=0.0)
        only_prior = torch.tensor([0.0, 0.0, 1.0])  # of which the divergence is that of MMVAE
        torch.testing.assert_close(divergence(only_prior), kl_divergence(experts).sum() / 3)

    def test_the_posterior_of_a_subset_has_them(self, store):
        objective, batch, _ = setup(store, learn_weights=True)
        model = objective.model
        with torch.no_grad():
            model.weight_logits.copy_(torch.tensor([2.0, -1.0, 0.0, 1.0]))
            q = model.encode({name: batch.values[name] for name in ("mnist", "text")}).shared
            found = model.posterior(q, ("mnist", "text"))
        expected = product_of_experts(q, torch.softmax(torch.tensor([2.0, 0.0]), 0))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
