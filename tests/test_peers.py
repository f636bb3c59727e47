"""Losses as those of MultiVae (Senellart et al. 2025): the same networks, weights and noise.

It is in a group of its own: `uv run --group peers pytest tests/test_peers.py`. What differs on purpose:
MMVAE with one sample has the ELBO of Sutter et al. 2020, not MultiVae's bound, which is `bound` here; MoPoE
draws one subset a sample where MultiVae takes the divergences of all, so here all are drawn in turn. And
MultiVae's MMVAE and MMVAE+ sum over the batch where all others take the mean.
"""

import pytest
import torch

from mmjsd import objectives
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.training.model_file import build
from support.noise import have_known_noise, known_noise
from support.samples import make_run

models = pytest.importorskip("multivae.models", reason="MultiVae is in the group `peers`")
output = pytest.importorskip("pythae.models.base.base_utils").ModelOutput
base = pytest.importorskip("pythae.models.nn.base_architectures")

SAMPLES, BETA = 7, 2.5  # as many as there are subsets, so that MultiVae takes each once
WEIGHTS = {"mnist": 1.5, "svhn": 1.0, "text": 20.0}


@pytest.fixture(autouse=True)
def _known_noise(monkeypatch):
    def theirs(self, sample_shape=()):
        return self.loc + known_noise((*sample_shape, *self.loc.shape)) * self.scale

    have_known_noise(monkeypatch)
    monkeypatch.setattr(torch.distributions.Normal, "rsample", theirs)


class Encoder(base.BaseEncoder):
    def __init__(self, model, name):
        super().__init__()
        self.ours, self.name = [model], name  # in a list: no module of its own
        self.latent_dim, self.style_dim = model.shared_latent, model.private_latent

    def forward(self, x):
        posteriors = self.ours[0].encode({self.name: x})
        shared, private = posteriors.shared.at(0), posteriors.private[self.name]
        return output(
            embedding=shared.mean,
            log_covariance=shared.log_variance,
            style_embedding=private.mean,
            style_log_covariance=private.log_variance,
        )


class Decoder(base.BaseDecoder):
    def __init__(self, model, name):
        super().__init__()
        self.ours, self.name, self.latent_dim = [model], name, model.shared_latent + model.private_latent

    def forward(self, z):
        (model,) = self.ours
        shared, private = z.split([model.shared_latent, model.private_latent], -1)
        return output(reconstruction=model.decode(self.name, private, shared))


def both(store, name, peer, *, weights=WEIGHTS, private=0, ours=None, theirs=None):
    """Our objective, its batch, MultiVae's model around the same networks, and what that is given."""
    from multivae.data.datasets import MultimodalBaseDataset

    torch.manual_seed(0)
    options = {"beta": BETA, "private_latent": private, "reconstruction_weights": weights, **(ours or {})}
    run = make_run(objective=name, **options)
    split = store.splits["train"]
    objective = build(modalities_of(split), run)
    model = objective.model
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.arange(SAMPLES))
    config = getattr(models, f"{peer}Config")(
        n_modalities=3,
        latent_dim=20,
        input_dims={m.name: m.shape for m in model.modalities.values()},
        uses_likelihood_rescaling=True,
        rescale_factors=dict(weights),
        **(theirs or {}),
    )
    names = list(model.modalities)
    other = getattr(models, peer)(
        config,
        encoders={name: Encoder(model, name) for name in names},
        decoders={name: Decoder(model, name) for name in names},
    )
    for name in names:

        def log_prob(rebuilt, x, name=name):
            lead = rebuilt.shape[: rebuilt.dim() - (2 if name == "text" else 3)]
            repeated = x.expand(*lead[:-1], *x.shape).flatten(0, len(lead) - 1)
            return model.log_likelihood(name, rebuilt.flatten(0, len(lead) - 1), repeated).view(*lead, 1)

        other.recon_log_probs[name] = log_prob
    return objective, batch, other, MultimodalBaseDataset(data=batch.values)


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


def test_mvtcae(store):
    objective, batch, peer, data = both(
        store, "mvtcae", "MVTCAE", ours={"total_correlation": 0.8}, theirs={"beta": BETA, "alpha": 0.8}
    )
    assert_equal(objective(batch).loss, peer(data).loss)


def test_mvae(store):
    """Its unimodal ELBOs weigh the reconstruction, ours do not: so all weights are 1 here."""
    objective, batch, peer, data = both(
        store,
        "mvae",
        "MVAE",
        weights=dict.fromkeys(WEIGHTS, 1.0),
        theirs={"beta": BETA, "warmup": 0, "use_subsampling": True, "k": 0},
    )
    unimodal_with_prior = peer(data).loss
    loss = objective(batch)
    # of a modality alone it takes the product with the prior, ours the posterior itself: by hand
    model, posteriors = objective.model, objective.model.encode(batch.values)
    for expert, (name, x) in enumerate(batch.values.items()):
        own = posteriors.shared.at(expert)
        product = objectives.product_of_experts(
            objectives.with_prior(posteriors.shared.at(slice(expert, expert + 1)))
        )
        for q, sign in ((own, -1), (product, 1)):
            nll = -model.log_likelihood(name, model.decode(name, torch.zeros(SAMPLES, 0), q.rsample()), x)
            loss = loss._replace(loss=loss.loss + sign * (nll + BETA * objectives.kl_divergence(q)).mean())
    assert_equal(loss.loss, unimodal_with_prior)


@pytest.mark.parametrize("private", [0, 3])
def test_mopoe(store, monkeypatch, private):
    theirs = {"beta": BETA}
    if private:
        theirs |= {"modalities_specific_dim": dict.fromkeys(WEIGHTS, private), "beta_style": BETA}
    objective, batch, peer, data = both(store, "mopoe", "MoPoE", private=private, theirs=theirs)
    names = sorted(WEIGHTS)
    subsets = [
        torch.tensor([name in peer.subsets[key] for name in WEIGHTS]) for key in peer.subsets if key != ""
    ]
    assert len(subsets) == SAMPLES
    assert names == list(WEIGHTS)
    monkeypatch.setattr(objectives, "draw_subsets", lambda present: torch.stack(subsets, 1))
    loss, terms = objective(batch)
    divergences = []
    for subset in subsets:
        monkeypatch.setattr(
            objectives, "draw_subsets", lambda present, s=subset: s[:, None].expand(3, SAMPLES)
        )
        divergences.append(objective(batch).terms["divergence/content"])
    mean = sum(divergences) / len(divergences)
    assert_equal(loss - BETA * terms["divergence/content"] + BETA * mean, peer(data).loss)


def looser(samples, estimator):
    """What MultiVae is told of the bound."""
    return {"K": samples, "prior_and_posterior_dist": "normal", "loss": f"{estimator}_looser"}


@pytest.mark.parametrize("samples", [1, 10])
@pytest.mark.parametrize("estimator", ["iwae", "dreg"])
def test_mmvae(store, samples, estimator):
    objective, batch, peer, data = both(
        store,
        "mmvae",
        "MMVAE",
        ours={"importance_samples": samples, "estimator": estimator, "beta": 1.0},
        theirs={**looser(samples, estimator), "learn_prior": False},
    )
    loss = objective.bound(batch, 1.0, objective.model.encode(batch.values)).loss
    assert_equal_bound(objective, loss, peer, data)


@pytest.mark.parametrize("samples", [1, 10])
@pytest.mark.parametrize("estimator", ["iwae", "dreg"])
def test_mmvaeplus(store, samples, estimator):
    objective, batch, peer, data = both(
        store,
        "mmvaeplus",
        "MMVAEPlus",
        private=4,
        ours={"importance_samples": samples, "estimator": estimator},
        theirs={
            **looser(samples, estimator),
            "learn_shared_prior": False,
            "learn_modality_prior": True,
            "modalities_specific_dim": 4,
            "beta": BETA,
        },
    )
    assert_equal_bound(objective, objective(batch).loss, peer, data)


def assert_equal_bound(objective, loss, peer, data):
    """The loss, and the gradients."""
    parameters = [objective.model.heads["svhn"].weight, next(objective.model.decoders["svhn"].parameters())]
    gradients = torch.autograd.grad(loss, parameters)
    other = peer(data).loss / SAMPLES
    assert_equal(loss, other)
    for one, two in zip(gradients, torch.autograd.grad(other, parameters), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3 * two.abs().max().item())
