"""Networks with our convolutions against the same with those of torch.nn: `python benchmarks/layers.py`.

A forward and a backward pass of each network of the registry, in bfloat16 autocast, the two in turns. What is
above 1 repays its lines in `mmjsd.modalities.convolutions`.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import Tensor, nn

from mmjsd import registry
from mmjsd.devices import autocast, image_layout
from mmjsd.modalities import convolutions, kind_of

CPU = torch.device("cpu")


class AsTexts(nn.Module):
    """A convolution of torch.nn on images of one row, as the texts that they are."""

    def __init__(self, convolution: nn.Module):
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.squeeze(2)).unsqueeze(2)


def with_torch(network: nn.Module) -> nn.Module:
    """A copy of the network with the convolutions of torch.nn."""
    plain = copy.deepcopy(network)
    for parent in list(plain.modules()):
        for name, module in list(parent.named_children()):
            if type(module).__module__ != convolutions.__name__:
                continue
            is_row = type(module).__name__.startswith("Row")
            module.__class__ = type(module).__base__
            if is_row:
                setattr(parent, name, AsTexts(module))
    return plain


def networks(latent: int, width: float, batch: int) -> dict[str, tuple[nn.Module, Tensor]]:
    """Each encoder and decoder of the registry, with a batch for it."""
    found = {}
    for name, place in registry.entries("networks").items():
        kind, _, form = name.partition(" ")
        shape = tuple(map(int, form.split("x")))
        module = registry.resolve("networks", name)
        x = torch.rand(batch, *shape) if kind == "image" else torch.randint(0, 20, (batch, *shape))
        short = place.rpartition(".")[2]
        found[f"{short} encoder"] = module.encoder(shape, width)[0], kind_of(kind).as_input(x)
        found[f"{short} decoder"] = module.decoder(shape, latent, width), torch.randn(batch, latent)
    return found


def seconds(network: nn.Module, x: Tensor) -> float:
    """Of a step."""
    started = time.perf_counter()
    with autocast("bfloat16", CPU):
        out = network(x)
    out.float().square().sum().backward()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=float, default=0.125, help="of the networks of faces")
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    layout = image_layout(CPU)
    every = networks(20, 1.0, args.batch_size) | {
        name: entry
        for name, entry in networks(20, args.width, args.batch_size).items()
        if name.startswith("celeba")
    }
    print(f"| {'network':20} | torch.nn ms | ours ms | ratio |")
    print(f"|{'-' * 22}|------------:|--------:|------:|")
    for name, (network, x) in every.items():
        ours = network.to(memory_format=layout)
        plain = with_torch(ours)
        x = x.contiguous(memory_format=layout) if x.dim() == 4 else x
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(args.turns + 1):
            for taken, which in zip(times, (plain, ours), strict=True):
                seconds(which, x)
                taken += [seconds(which, x) for _ in range(3)]
        before, after = (1000 * statistics.median(taken[3:]) for taken in times)
        print(f"| {name:20} | {before:11.2f} | {after:7.2f} | {before / after:5.2f} |", flush=True)


if __name__ == "__main__":
    main()
