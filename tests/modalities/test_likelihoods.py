"""Against the distributions of torch, and what is said of them."""

from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal

from mmjsd import registry
from mmjsd.modalities import kind_of

SHAPES = {"image": (3, 8, 5), "vector": (7,)}
CASES = [
    ("image", "laplace", Laplace),
    ("image", "normal", Normal),
    ("vector", "normal", Normal),
    ("vector", "laplace", Laplace),
]


@pytest.mark.parametrize("scale", [1.0, 0.1, torch.tensor(0.1)], ids=["one", "number", "learnt"])
@pytest.mark.parametrize(("name", "likelihood", "expected"), CASES)
def test_densities_are_those_of_torch(name: str, likelihood: str, expected: Any, scale: Any) -> None:
    kind, (mean, x) = kind_of(name), torch.rand(2, 4, *SHAPES[name])
    logs = expected(mean, scale).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(kind.log_likelihood(mean, x, likelihood, scale), logs)
    assert torch.equal(kind.likelihood_mean(mean, likelihood), mean)


def test_a_bernoulli_is_that_of_torch() -> None:
    """Also of grey values, where it is the cross entropy."""
    image, logits = kind_of("image"), 5 * torch.randn(4, 3, 8, 5)
    expected = Bernoulli(logits=logits, validate_args=False)
    for x in (torch.rand(4, 3, 8, 5), torch.rand(4, 3, 8, 5).round()):
        logs = expected.log_prob(x).flatten(1).sum(1)
        torch.testing.assert_close(image.log_likelihood(logits, x, "bernoulli", None), logs)
    torch.testing.assert_close(image.likelihood_mean(logits, "bernoulli"), expected.probs)


def test_the_likelihoods_of_each_kind() -> None:
    """With the scales of the paper for images, and 1 for vectors, by default."""
    known = {name: list(kind_of(name).LIKELIHOODS.items()) for name in registry.entries("modalities")}
    assert [name for name, _ in known["image"]] == ["laplace", "normal", "bernoulli"]
    defaults = {name: first for name, (first, *_) in known.items()}
    assert defaults == {"image": ("laplace", 0.75), "text": ("categorical", None), "vector": ("normal", 1.0)}
