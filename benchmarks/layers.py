"""Networks with our convolutions against the same with those of torch.nn.

A forward and a backward pass of each network of the registry, in bfloat16 autocast, the two in turns. What is
above 1 repays its lines in `mmjsd.modalities.convolutions`.
"""

import copy
from functools import partial
from statistics import median

import torch
from measuring import in_turns, parsed, parser, ratio, report, run
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


def step(network: nn.Module, x: Tensor) -> None:
    """Run it forwards and backwards."""
    with autocast("bfloat16", CPU):
        out = network(x)
    out.float().square().sum().backward()


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--width", type=float, default=0.125, help="of the networks of faces")
    options.add_argument("--turns", type=int, default=15)
    options.add_argument("--repeat", type=int, default=3, help="timed steps of a turn")
    options = parsed(options, batch_size=2, width=0.02, turns=1, repeat=1)
    torch.set_num_threads(options.threads)
    layout = image_layout(CPU)
    every = networks(20, 1.0, options.batch_size) | {
        name: entry
        for name, entry in networks(20, options.width, options.batch_size).items()
        if name.startswith("celeba")
    }
    rows, results = [], {}
    for name, (network, x) in every.items():
        ours = network.to(memory_format=layout)
        x = x.contiguous(memory_format=layout) if x.dim() == 4 else x
        both = {"torch.nn": partial(step, with_torch(ours), x), "ours": partial(step, ours, x)}
        times = in_turns(both, turns=options.turns, repeat=options.repeat)
        results[name] = ratio(times["torch.nn"], times["ours"])
        milliseconds = {f"{which} ms": 1000 * median(taken) for which, taken in times.items()}
        rows.append({"network": name, **milliseconds, "times as fast": results[name]})
    report(options, {f"Networks, batch {options.batch_size}, {options.threads} threads": rows}, results)


if __name__ == "__main__":
    run(main)
