import math

import pytest
import torch
from PIL import Image

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.distributions import Mixture, product_of_experts, with_prior
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.training import model_file
from support.samples import make_run


def build(store, **options):
    torch.manual_seed(0)
    model = model_file.build(modalities_of(store.splits["train"]), make_run(**options)).model.eval()
    values = ResidentSplit(store.splits["train"], torch.device("cpu")).batch(torch.arange(6)).values
    return model, values


def test_number_of_parameters_without_subspaces(store):
    """1.41 million, as the reference has with its 71 symbols."""
    model, _ = build(store)
    assert 1_405_000 < sum(p.numel() for p in model.parameters()) < 1_415_000


SCALED = {"mnist": "laplace", "svhn": "normal"}


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(None, (0.75, 1.0)), (0.3, (0.3, 0.3)), ({"svhn": 0.2}, (0.75, 0.2)), ("learned", (0.75, 1.0))],
    ids=str,
)
def test_scales_of_likelihoods(store, scale, expected):
    """Those that are learnt begin at the defaults; only they are weights."""
    model, _ = build(store, likelihoods=SCALED, likelihood_scale=scale)
    with torch.no_grad():
        scales = [model.likelihood_scale(name) for name in model.modalities]
    assert [float(s) for s in scales[:2]] == pytest.approx(expected, abs=0.01)
    assert scales[2] is None
    learnt = ["log_scales.mnist", "log_scales.svhn"] if scale == "learned" else []
    assert [name for name in model.state_dict() if "scales" in name] == learnt


def test_a_learnt_scale_is_that_of_the_errors(store):
    """The mean distance of a Laplace, the deviation of a normal; never 0, whatever is decoded exactly."""
    model, values = build(store, likelihoods=SCALED, likelihood_scale="learned")
    optimiser = torch.optim.Adam(model.log_scales.parameters(), lr=0.02)
    error = {name: 0.1 * torch.randn_like(values[name]) for name in SCALED}
    for exact in (False, True):
        for _ in range(600):
            optimiser.zero_grad()
            outputs = {name: values[name] + (0 if exact else error[name]) for name in SCALED}
            logs = [model.log_likelihood(name, outputs[name], values[name]).mean() for name in SCALED]
            (-sum(logs)).backward()
            optimiser.step()
        scales = [model.likelihood_scale(name).detach().item() for name in SCALED]
        if not exact:
            expected = [error["mnist"].abs().mean().item(), error["svhn"].square().mean().sqrt().item()]
            assert scales == pytest.approx(expected, rel=0.02)
    assert all(math.exp(-6) < scale < 1.2 * math.exp(-6) for scale in scales)


@pytest.mark.parametrize("name", ["mnist", "svhn"])
def test_bernoulli_decoders_give_logits(store, name):
    """Also that of MNIST, which ends with a sigmoid otherwise: means come near 0 and 1, and weights stay."""
    model, _ = build(store, likelihoods={name: "bernoulli"})
    plain, _ = build(store)
    assert model.state_dict().keys() == plain.state_dict().keys()
    c = 1e3 * torch.randn(20, 20)
    means = model.decode_mean(name, c[:, :0], c)
    assert means.min() < 0.01
    assert means.max() > 0.99
    torch.testing.assert_close(means, model.decode(name, c[:, :0], c).sigmoid())


@pytest.mark.parametrize("private", [0, 4])
def test_shapes(store, private):
    model, values = build(store, private_latent=private)
    shared, styles = model.encode(values)
    assert shared.mean.shape == (3, 6, 20)
    assert all(q.mean.shape == (6, private) for q in styles.values())
    assert {n: tuple(x.shape) for n, x in model.generate({"text": values["text"]}).items()} == {
        "mnist": (6, 1, 28, 28),
        "svhn": (6, 3, 32, 32),
        "text": (6, 8, 70),
    }
    assert len(model.generate({"text": values["text"][:1]}, n=5)["svhn"]) == 5
    assert len(model.generate(n=7)["mnist"]) == 7
    torch.testing.assert_close(model.generate(n=3)["text"].sum(-1), torch.ones(3, 8))


def test_generates_what_is_asked_for(store):
    model, _ = build(store)
    shared = torch.zeros(2, 20)
    for targets, expected in ((None, ["mnist", "svhn", "text"]), (("text",), ["text"]), ((), [])):
        assert list(model.generate_from(shared, targets)) == expected


def test_samples_given_an_input_are_consecutive_and_differ(store):
    model, values = build(store)
    assert model.generate(values, n=4)["svhn"].unique(dim=0).shape[0] == 24
    again = [model.generate(values, generator=torch.Generator().manual_seed(5))["svhn"] for _ in range(2)]
    assert torch.equal(*again)


PI = {"weights": {"mnist": 0.1, "svhn": 0.3, "text": 0.2, "prior": 0.4}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"objective": "mmjsd", **PI}, "geometric mean"),
        ({"objective": "mmjsd", "dynamic_prior": "arithmetic", **PI}, "mixture"),
        ({"objective": "mvae"}, "product with prior"),
        ({"objective": "mmvae", **PI}, "mixture"),
    ],
    ids=["mmjsd-geometric", "mmjsd-arithmetic", "mvae", "mmvae"],
)
def test_posterior_of_a_subset(store, options, expected):
    model, values = build(store, **options)
    subset = ("svhn", "text")
    experts = model.encode({name: values[name] for name in subset}).shared
    alone = model.posterior(experts.at([0]), ("svhn",))
    torch.testing.assert_close(alone.mean, experts.mean[0])
    torch.testing.assert_close(alone.log_variance, experts.log_variance[0])
    both = model.posterior(experts, subset)
    if expected == "mixture":
        assert isinstance(both, Mixture)
        torch.testing.assert_close(both.weights, torch.tensor([0.6, 0.4]))
        of_experts = (both.select().mean[None] == experts.mean).all(-1)
        assert of_experts.any(0).all()
        assert of_experts.sum(1).tolist() in ([4, 2], [3, 3])  # 3.6 and 2.4 of 6
        return
    product = {
        "geometric mean": product_of_experts(experts, torch.tensor([0.6, 0.4])),
        "product with prior": product_of_experts(with_prior(experts)),
    }[expected]
    torch.testing.assert_close(both.mean, product.mean)
    torch.testing.assert_close(both.log_variance, product.log_variance)


def test_modalities_that_never_weighed_weigh_alike(store):
    weights = {"mnist": 1.0, "svhn": 0.0, "text": 0.0, "prior": 1.0}
    model, values = build(store, weights=weights)
    experts = model.encode({name: values[name] for name in ("svhn", "text")}).shared
    expected = product_of_experts(experts, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(model.posterior(experts, ("svhn", "text")).mean, expected.mean)


def test_refuses_what_does_not_fit(store):
    model, values = build(store)
    with pytest.raises(MmjsdError, match="no modality 'sound'; it has mnist, svhn, text"):
        model.encode({"sound": values["mnist"]})
    with pytest.raises(MmjsdError, match=r"svhn must have shape \(B, \*\(3, 32, 32\)\)"):
        model.encode({"svhn": values["mnist"]})
    with pytest.raises(MmjsdError, match=r"svhn must be floats, got torch\.uint8; `prepare` makes them"):
        model.encode({"svhn": (255 * values["svhn"]).byte()})
    with pytest.raises(MmjsdError, match=r"svhn must be in 0\.\.1, got 0\.\.144; `prepare` makes"):
        model.generate({"svhn": 255 * values["svhn"]})
    with pytest.raises(MmjsdError, match="no modality given"):
        model.encode({})
    with pytest.raises(MmjsdError, match="how many"):
        model.generate()
    with pytest.raises(MmjsdError, match=r"text must be int64 or floats, got torch\.uint8; `prepare` makes"):
        model.encode({"text": values["text"].byte()})
    with pytest.raises(MmjsdError, match=r"text must have shape \(B, \*\(8, 70\)\), got \(6, 8\)"):
        model.encode({"text": values["text"].float()})
    with pytest.raises(
        MmjsdError, match=r"text must be in 0\.\.69, got 0\.\.70; `prepare` makes such inputs"
    ):
        model.generate({"text": torch.tensor([[0] * 7 + [70]])})
    with pytest.raises(MmjsdError, match=r"^sound: not one of the modalities; known are image, text, vector"):
        model_file.build([Modality("x", "sound", (5,), 5)], make_run())


def test_any_number_of_modalities(store):
    """Two images and no text, under other names."""
    modalities = [Modality("left", "image", (1, 28, 28), 784), Modality("right", "image", (1, 28, 28), 784)]
    model = model_file.build(modalities, make_run()).model
    assert set(model.generate({"left": torch.rand(2, 1, 28, 28)})) == {"left", "right"}


def test_what_people_have_is_prepared(store, tmp_path):
    """Files and words give the samples that the rows of the store give."""
    model, values = build(store)
    table = store.splits["train"].modalities["mnist"]
    paths = [tmp_path / f"{row}.png" for row in range(6)]
    for path, picture in zip(paths, table.data, strict=False):
        Image.fromarray(picture[0]).save(path)
    inputs = model.prepare({"mnist": [str(path) for path in paths], "text": "Seven"})
    torch.testing.assert_close(inputs["mnist"], values["mnist"])
    assert (inputs["text"].shape, inputs["text"].dtype) == ((6, 8), torch.int64)
    samples = model.generate(inputs, n=2)
    assert {name: len(x) for name, x in samples.items()} == {"mnist": 12, "svhn": 12, "text": 12}
    assert model.encode(inputs).shared.mean.shape == (2, 6, 20)
    assert all(x.device == model.device for x in inputs.values())
    with pytest.raises(MmjsdError, match=r"^sound: the model has no such modality; it has mnist, svhn, text"):
        model.prepare({"sound": "x.wav"})
