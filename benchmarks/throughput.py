"""Throughput of training against a plain reference step: `python benchmarks/throughput.py`.

Measured in turns, a few steps each, so that other work on the machine slows all alike; medians are printed:

a       the plain step: the same networks, written without care for speed (below), float32, eager
b, c    our step, eager and compiled: channels-last, autocast `auto`; like a on one batch, there already
d       our whole loop, eager and compiled: shuffle, gather, scale, step
e       the data path alone: shuffle, gather, scale

Data are random arrays in the shapes of MNIST-SVHN-Text.
"""

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmjsd.data.batches import Batch, ResidentSplit
from mmjsd.data.store import Split, Table, modalities_of
from mmjsd.data.text import word_table
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.modalities.text import ALPHABET
from mmjsd.params import Run, make_run
from mmjsd.training.model_file import build

# --- The plain reference: one module and one list entry per modality -------------------------------------


def plain_networks(latent: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Encoders (to means and log-variances) and decoders of MNIST, SVHN and one-hot text (B, alphabet, 8)."""
    symbols = len(ALPHABET)
    encoders = [
        nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * latent)),
        nn.Sequential(
            *(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(128, 2 * latent)),
        ),
        nn.Sequential(
            *(nn.Conv1d(symbols, 128, 1), nn.ReLU(), nn.Conv1d(128, 128, 4, 2, 1), nn.ReLU()),
            *(nn.Conv1d(128, 128, 4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2 * latent)),
        ),
    ]
    decoders = [
        nn.Sequential(nn.Linear(latent, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()),
        nn.Sequential(
            *(nn.Linear(latent, 128), nn.ReLU(), nn.Unflatten(1, (128, 1, 1))),
            *(nn.ConvTranspose2d(128, 64, 4), nn.ReLU(), nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1)),
        ),
        nn.Sequential(
            *(nn.Linear(latent, 128), nn.ReLU(), nn.Unflatten(1, (128, 1))),
            *(nn.ConvTranspose1d(128, 128, 4), nn.ReLU(), nn.ConvTranspose1d(128, 128, 4, 2, 1), nn.ReLU()),
            *(nn.Conv1d(128, symbols, 1), nn.LogSoftmax(1)),
        ),
    ]
    return nn.ModuleList(encoders), nn.ModuleList(decoders)


def kl(m1: Tensor, v1: Tensor, m2: Tensor | float = 0.0, v2: Tensor | float = 1.0) -> Tensor:
    """KL between diagonal Gaussians of means m and variances v, summed over the latent."""
    ratio = v1 / v2
    return 0.5 * (ratio + (m1 - m2) ** 2 / v2 - 1 - torch.log(ratio)).sum(1)


def product(means: list[Tensor], variances: list[Tensor], weights: list[float]) -> tuple[Tensor, Tensor]:
    precision = sum(w / v for w, v in zip(weights, variances, strict=True))
    mean = sum(w * m / v for w, m, v in zip(weights, means, variances, strict=True)) / precision
    return mean, 1 / precision


def draw(mean: Tensor, variance: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * variance.sqrt()


OBJECTIVES = ("mmjsd", "mmvae", "mvae")


class Plain:
    """The three objectives as one would first write them."""

    def __init__(self, run: Run, device: torch.device):
        self.objective, self.beta, self.scale = run.objective, run.beta, run.likelihood_scale
        encoders, decoders = plain_networks(run.shared_latent)
        self.encoders, self.decoders = encoders.to(device), decoders.to(device)
        self.networks = nn.ModuleList([encoders, decoders])
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=run.learning_rate)

    def reconstruction(self, values: list[Tensor], c: Tensor) -> list[Tensor]:
        """-log p(x_j|c) of each modality."""
        losses = []
        for decoder, x in zip(self.decoders, values, strict=True):
            output = decoder(c)
            if output.dim() == 3:
                losses.append(-(x * output).sum((1, 2)))
            else:
                laplace = torch.distributions.Laplace(output.view_as(x), torch.tensor(self.scale).to(x))
                losses.append(-laplace.log_prob(x).flatten(1).sum(1))
        return losses

    def loss(self, values: list[Tensor]) -> Tensor:
        means, variances = [], []
        for encoder, x in zip(self.encoders, values, strict=True):
            mean, log_variance = encoder(x).chunk(2, 1)
            means.append(mean)
            variances.append(log_variance.exp())
        prior_mean, prior_variance = torch.zeros_like(means[0]), torch.ones_like(means[0])
        if self.objective == "mvae":
            mean, variance = product([*means, prior_mean], [*variances, prior_variance], [1.0] * 4)
            c, divergence = draw(mean, variance), kl(mean, variance)
        else:
            which = torch.randperm(len(prior_mean), device=prior_mean.device) % 3  # a third of the batch each
            mean, variance = torch.zeros_like(means[0]), torch.zeros_like(means[0])
            for j in range(3):
                mean = torch.where((which == j)[:, None], means[j], mean)
                variance = torch.where((which == j)[:, None], variances[j], variance)
            c = draw(mean, variance)
            if self.objective == "mmjsd":
                experts = [*means, prior_mean], [*variances, prior_variance]
                f_mean, f_variance = product(*experts, [0.25] * 4)
                divergence = sum(0.25 * kl(m, v, f_mean, f_variance) for m, v in zip(*experts, strict=True))
            else:
                divergence = sum(kl(m, v) / 3 for m, v in zip(means, variances, strict=True))
        weights = [3072 / 784, 1.0, 3072 / 8]
        weighted = sum(w * r for w, r in zip(weights, self.reconstruction(values, c), strict=True))
        loss = (weighted + self.beta * divergence).mean()
        if self.objective == "mvae":
            for j in range(3):
                alone = self.reconstruction(values, draw(means[j], variances[j]))[j]
                loss = loss + (alone + self.beta * kl(means[j], variances[j])).mean()
        return loss

    def step(self, values: list[Tensor]) -> None:
        loss = self.loss(values)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


# --- Ours ------------------------------------------------------------------------------------------------


class Ours:
    """The step of `mmjsd.training.loop.train`."""

    def __init__(self, run: Run, split: Split, device: torch.device, compiled: bool):
        objective: Any = build(modalities_of(split), run).to(device).to(memory_format=image_layout(device))
        self.model = objective.model
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=run.learning_rate, fused=True)
        self.objective = torch.compile(objective) if compiled else objective
        self.precision = pick_precision(run.precision, device)
        self.computing = autocast(self.precision, device)

    def step(self, batch: Batch) -> None:
        with self.computing:
            loss, _ = self.objective(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def random_split(rows: int, pairs_per_row: int) -> Split:
    """Random images and real words, paired at random, in the shapes of MNIST-SVHN-Text."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 10
    words, word_labels = word_table()
    tables = {
        "mnist": Table("image", rng.integers(0, 256, (rows, 1, 28, 28), np.uint8), labels),
        "svhn": Table("image", rng.integers(0, 256, (rows, 3, 32, 32), np.uint8), labels),
        "text": Table("text", words, word_labels, ALPHABET),
    }
    count = rows * pairs_per_row
    pairs = np.stack([rng.integers(0, len(table.data), count) for table in tables.values()], 1)
    return Split(tables, pairs.astype(np.int32), labels[pairs[:, 0]])


def epochs(data: ResidentSplit, batch_size: int) -> Iterator[Tensor]:
    """Sample indices of one step after the other, for ever."""
    while True:
        yield from data.shuffled(batch_size)


# --- Measuring -------------------------------------------------------------------------------------------


def seconds(step: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Time of one of `repeat` steps, waiting for the device before and after."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    started = time.perf_counter()
    for _ in range(repeat):
        step()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return (time.perf_counter() - started) / repeat


def measure(
    steps: dict[str, Callable[[], object]], count: int, turn: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each kind of step, of `count` timed ones, taken in turns of `turn` steps.

    On a GPU a whole turn is timed at once: there the host runs ahead of the device, as it does in training.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(2):  # the first steps compile, choose algorithms and allocate
        for step in steps.values():
            seconds(step, 2, device)
    for _ in range(math.ceil(count / turn)):
        for name, step in steps.items():
            seconds(step, 1, device)  # brings its weights back into the caches
            if device.type != "cpu":
                times[name].append(seconds(step, turn, device))
            else:
                times[name] += [seconds(step, 1, device) for _ in range(turn)]
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each row")
    parser.add_argument("--turn", type=int, default=5, help="steps of a row before it is the next one's turn")
    parser.add_argument("--objective", choices=OBJECTIVES, default="mmjsd")
    parser.add_argument("--device", default="auto", help="as the parameter of a run")
    parser.add_argument("--precision", default="auto", help="of our steps: auto, float32 or bfloat16")
    parser.add_argument("--rows", type=int, default=10_000, help="images of a modality; 20 pairs each")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = pick_device(args.device)
    run = make_run(args.objective, dataset="random", batch_size=args.batch_size, precision=args.precision)

    split = random_split(args.rows, 20)
    data = ResidentSplit(split, device)
    size = min(args.batch_size, len(data))
    samples = epochs(data, size)
    batch = data.batch(next(samples))
    images = [batch.values["mnist"], batch.values["svhn"]]
    text = F.one_hot(batch.values["text"], len(ALPHABET)).float().transpose(1, 2).contiguous()
    plain, eager = Plain(run, device), Ours(run, split, device, compiled=False)
    assert count(plain.networks) == count(eager.model), "not the same networks"

    steps: dict[str, Callable[[], object]] = {
        "a": lambda: plain.step([*images, text]),
        "b": lambda: eager.step(batch),
        "d eager": lambda: eager.step(data.batch(next(samples))),
        "e": lambda: data.batch(next(samples)),
    }
    if not args.no_compile:
        fast = Ours(run, split, device, compiled=True)
        steps["c"] = lambda: fast.step(batch)
        steps["d compiled"] = lambda: fast.step(data.batch(next(samples)))
    found = measure(steps, args.steps, args.turn, device)
    # a median step has no shuffle in it: each bears its share
    shuffle = statistics.median(seconds(lambda: data.shuffled(size), 1, device) for _ in range(9))
    for name in found:
        if name[0] in "de":
            found[name] += shuffle / (len(data) // size)

    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{args.objective}, batch {size}, {device}, {args.threads} threads, "
        f"torch {torch.__version__}, ours in {eager.precision}, {count(eager.model):,} parameters, "
        f"{args.steps} steps{load}\n"
    )
    titles = {
        "a": "plain float32 step, eager",
        "b": "our step, eager",
        "c": "our step, compiled",
        "d eager": "our whole loop, eager",
        "d compiled": "our whole loop, compiled",
        "e": "our data path alone",
    }
    print(f"| {'':10} | {'what':25} | ms/step | samples/s |    x a | x own step |")
    print(f"|{'-' * 12}|{'-' * 27}|--------:|----------:|-------:|-----------:|")
    for name, title in titles.items():
        if name in found:
            step = {"d eager": "b", "d compiled": "c"}.get(name)
            own = f"{found[step] / found[name]:.2f}" if step else ""
            print(
                f"| {name:10} | {title:25} | {1000 * found[name]:7.2f} "
                f"| {size / found[name]:9,.0f} | {found['a'] / found[name]:6.2f} | {own:>10} |"
            )


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


if __name__ == "__main__":
    main()
