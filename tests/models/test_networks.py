"""Networks of the paper for its shapes, default ones for all others."""

import math

import pytest
import torch
from torch import Tensor, nn

from mmjsd import registry
from mmjsd.errors import MmjsdError
from mmjsd.modalities import image, kind_of, text
from mmjsd.models import networks
from mmjsd.models.networks import svhn
from mmjsd.models.networks import text as paper_text

LATENT = 5
SHAPES: list[tuple[str, tuple[int, ...]]] = [
    *(("image", (1, side, side)) for side in (1, 2, 3, 4, 5, 8, 17, 28, 31, 256)),
    *(
        ("image", shape)
        for shape in ((3, 1, 1), (3, 1, 50), (2, 9, 4), (4, 13, 37), (3, 40, 24), (3, 96, 72))
    ),
    *(("image", shape) for shape in ((3, 32, 32), (3, 64, 64), (3, 28, 28))),
    *(("text", (length,)) for length in (1, 2, 3, 4, 5, 7, 8, 9, 33, 100, 256, 300)),
    *(("vector", (width,)) for width in (1, 2, 7, 64, 1000)),
]


def batch(kind: str, shape: tuple[int, ...], count: int = 6) -> Tensor:
    match kind:
        case "image":
            return torch.rand(count, *shape)
        case "text":
            return torch.randint(70, (count, *shape))
        case _:
            return torch.randn(count, *shape)


def log_likelihood(kind: str, output: Tensor, x: Tensor) -> Tensor:
    """The default likelihood of a kind, with a scale so small that details count."""
    return kind_of(kind).log_likelihood(output, x, next(iter(kind_of(kind).LIKELIHOODS)), 0.1)


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(("kind", "shape"), SHAPES, ids=str)
def test_networks_of_every_shape(kind: str, shape: tuple[int, ...]) -> None:
    """Features and parameters of the likelihood have the right shapes, and all weights are trained."""
    torch.manual_seed(0)
    body, features, decoder = networks.build(kind, shape, LATENT, 1.0)
    head = nn.Linear(features, LATENT)
    x = batch(kind, shape)
    encoded = body(x)
    assert encoded.shape == (6, features)
    output = decoder(head(encoded))
    assert output.shape == ((6, *shape, 70) if kind == "text" else (6, *shape))
    likelihood = log_likelihood(kind, output, x)
    assert likelihood.shape == (6,)
    (-likelihood.mean()).backward()
    for module in (body, decoder):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


@pytest.mark.parametrize(("kind", "shape"), SHAPES, ids=str)
def test_default_networks_are_as_large_as_they_need_to_be(kind: str, shape: tuple[int, ...]) -> None:
    body, features = kind_of(kind).encoder(shape, 1.0)
    decoder = kind_of(kind).decoder(shape, LATENT, 1.0)
    assert features in (128, 256)
    assert math.prod(shape) < count(body, decoder) < 8_000_000
    narrow, few = kind_of(kind).encoder(shape, 0.01)
    assert 1 <= few <= 3
    assert count(narrow) < count(body) / 20
    assert narrow(batch(kind, shape)).shape == (6, few)


@pytest.mark.parametrize("name", registry.entries("networks"))
def test_shapes_of_the_paper_have_its_networks(name: str) -> None:
    kind, shape = name.split()
    body, features, decoder = networks.build(kind, tuple(map(int, shape.split("x"))), LATENT, 0.1)
    of_paper = registry.resolve("networks", name)
    expected, expected_features = of_paper.encoder(tuple(map(int, shape.split("x"))), 0.1)
    assert features == expected_features
    assert str(body) == str(expected)
    assert str(decoder) == str(of_paper.decoder(tuple(map(int, shape.split("x"))), LATENT, 0.1))
    assert of_paper.__name__.startswith("mmjsd.models.networks.")


def test_those_of_polymnist_have_the_weights_of_the_releases() -> None:
    """Of a latent of 512, as wide as the hidden layer is there."""
    body, features, decoder = networks.build("image", (3, 28, 28), 512, 1.0)
    convolutions = 32 * (27 + 1) + 64 * (32 * 9 + 1) + 128 * (64 * 9 + 1)
    assert (count(body), features) == (convolutions + 512 * (2048 + 1), 512)
    mirror = 64 * (128 * 9 + 1) + 32 * (64 * 9 + 1) + 3 * (32 * 9 + 1)
    assert count(decoder) == 2048 * (512 + 1) + mirror


def test_defaults_continue_the_papers_networks() -> None:
    """Those of a text of 8 characters are the same but for names; of 3x32x32 images, wider."""
    for build, paper in ((text.encoder, paper_text.encoder), (image.encoder, svhn.encoder)):
        shape = (8,) if build is text.encoder else (3, 32, 32)
        ours, theirs = build(shape, 1.0)[0], paper(shape, 1.0)[0]
        kernels = [tuple(p.shape[2:]) for p in ours.parameters() if p.dim() > 2]
        assert kernels == [tuple(p.shape[2:]) for p in theirs.parameters() if p.dim() > 2]
    sizes = [
        sorted(map(tuple, (p.shape for p in module.parameters())))
        for module in (text.decoder((8,), LATENT, 1.0), paper_text.decoder((8,), LATENT, 1.0))
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("kind", "shape", "names"),
    [
        ("image", (1, 28, 28), ["1.weight", "1.bias"]),
        ("text", (8,), [f"body.{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")]),
    ],
)
def test_names_of_weights_in_files_stay(kind: str, shape: tuple[int, ...], names: list[str]) -> None:
    assert list(networks.build(kind, shape, LATENT, 0.1)[0].state_dict()) == names


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MmjsdError, match=r"^pictur: not one of the modalities; known are image,"):
        networks.build("pictur", (3,), LATENT, 1.0)


@pytest.mark.parametrize(("kind", "shape"), [("image", (3, 11, 6)), ("text", (13,)), ("vector", (9,))])
def test_default_networks_learn(kind: str, shape: tuple[int, ...]) -> None:
    """An autoencoder of them tells eight samples apart."""
    torch.manual_seed(0)
    body, features, decoder = networks.build(kind, shape, LATENT, 0.5)
    network = nn.Sequential(body, nn.Linear(features, LATENT), decoder)
    x = batch(kind, shape, 8)
    if kind == "image":
        x = nn.functional.interpolate(x[..., :3, :2], shape[1:], mode="bilinear")
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        loss = -log_likelihood(kind, network(x), x).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    best = -log_likelihood(
        kind, 100 * nn.functional.one_hot(x, 70).float() if kind == "text" else x, x
    ).mean()
    assert losses[-1] - best.item() < 0.3 * (losses[0] - best.item())
