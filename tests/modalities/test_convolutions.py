"""Against the layers of torch.nn, with the same parameters."""

import pytest
import torch
from torch import nn

from mmjsd.modalities import convolutions

#: Class, shape of the input, arguments: those of the networks, and some of none.
CASES = {
    "text, 1 wide": ("Conv1d", (5, 8), (7, 1)),
    "text, halved": ("Conv1d", (5, 8), (7, 4, 2, 1)),
    "text, of odd length": ("Conv1d", (5, 9), (7, 4, 2, 1)),
    "text, whole": ("Conv1d", (5, 4), (7, 4)),
    "text, judged": ("Conv1d", (5, 8), (7, 3, 1, 1)),
    "text, from a point": ("ConvTranspose1d", (5, 1), (7, 4)),
    "text, doubled": ("ConvTranspose1d", (5, 4), (7, 4, 2, 1)),
    "text, doubled to an odd length": ("ConvTranspose1d", (5, 4), (7, 4, 2, 1, 1)),
    "text, doubled from a point": ("ConvTranspose1d", (5, 1), (7, 4, 2, 1)),
    "text, 3 wide": ("ConvTranspose1d", (5, 4), (7, 3, 1, 1)),
    "image, halved": ("Conv2d", (5, 8, 6), (7, 4, 2, 1)),
    "image, whole": ("Conv2d", (5, 4, 3), (7, (4, 3))),
    "image, a point": ("Conv2d", (5, 1, 1), (7, 1)),
    "image, from a point": ("ConvTranspose2d", (5, 1, 1), (7, (4, 3))),
    "image, doubled": ("ConvTranspose2d", (5, 4, 3), (7, 4, 2, 1)),
    "image, doubled to odd sides": ("ConvTranspose2d", (5, 4, 3), (7, 4, 2, 1, 1)),
    "image, 3 wide": ("ConvTranspose2d", (5, 4, 3), (7, 3, 2, 1, 1)),
    "image, doubled to its colours": ("ConvTranspose2d", (5, 4, 3), (3, 4, 2, 1)),
    "image, doubled to its colours, 3 wide": ("ConvTranspose2d", (5, 4, 3), (3, 3, 2, 1, 1)),
    "image, one side a point": ("ConvTranspose2d", (5, 1, 3), (7, 4, 2, 1)),
}


def run(layer: nn.Module, x: torch.Tensor, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """The output, and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = layer(x)
    assert out.dtype == dtype
    generator = torch.Generator().manual_seed(2)
    (out.float() * torch.randn(out.shape, generator=generator)).sum().backward()
    return [out.detach().float(), x.grad, *(parameter.grad for parameter in layer.parameters())]


def pair(case: str, *, bias: bool) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    name, shape, arguments = CASES[case]
    plain = getattr(nn, name)(shape[0], *arguments, bias=bias)
    ours = getattr(convolutions, name)(shape[0], *arguments, bias=bias)
    ours.load_state_dict(plain.state_dict())
    return ours, plain, torch.randn(6, *shape)


def largest_difference(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    return max(((one - other).norm() / other.norm()).item() for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_values_and_gradients_are_those_of_torch(case, bias):
    ours, plain, x = pair(case, bias=bias)
    assert largest_difference(run(ours, x), run(plain, x)) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_they_are_in_the_precision_of_autocast(case):
    ours, plain, x = pair(case, bias=True)
    assert largest_difference(run(ours, x, torch.bfloat16), run(plain, x)) < 0.02


@pytest.mark.parametrize("case", [case for case, (name, *_) in CASES.items() if name.endswith("2d")])
def test_images_may_be_channels_last(case):
    ours, plain, x = pair(case, bias=True)
    ours, x = ours.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    assert largest_difference(run(ours, x), run(plain, x)) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_gradients_only_where_they_are_wanted(case):
    ours, plain, x = pair(case, bias=True)
    for layer in (ours, plain):
        layer(x).sum().backward()
    assert (
        largest_difference([p.grad for p in ours.parameters()], [p.grad for p in plain.parameters()]) < 1e-6
    )
    for layer in (ours, plain):
        layer.requires_grad_(False)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(one).sum().backward()
    plain(other).sum().backward()
    assert largest_difference([one.grad], [other.grad]) < 1e-5


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[("Conv1d", arguments) for arguments in ((7, 1), (7, 7, 1, 3), (7, 4, 2, 1))],
        *[("ConvTranspose1d", arguments) for arguments in ((7, 4), (7, 4, 2, 1), (7, 4, 2, 1, 1))],
    ],
)
def test_rows_are_texts(name, arguments, bias):
    torch.manual_seed(1)
    plain = getattr(nn, name)(5, *arguments, bias=bias)
    ours = getattr(convolutions, f"Row{name}")(5, *arguments, bias=bias)
    ours.load_state_dict(plain.state_dict())
    rows = nn.Sequential(nn.Unflatten(2, (1, 12)), ours, nn.Flatten(2))
    x = torch.randn(6, 5, 12)
    assert largest_difference(run(rows, x), run(plain, x)) < 1e-6
