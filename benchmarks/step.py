"""A step of training, and its parts.

Every objective, in float32 and bfloat16, compiled and not, by the project's own loop
(`mmjsd.training.loop`: gather, scale, step, bookkeeping), in turns with a plain float32 step on a batch that
is there already (`plain.py`). Then what the parts of a step take, in the precision that `auto` chooses and
not compiled; on the CPU in processor time, which other work does not add to. Random data in the shapes of
MNIST-SVHN-Text.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from loops import random_split, training, unending, waiting_for
from measuring import Row, in_turns, parsed, parser, ratio, report, run, seconds
from plain import OBJECTIVES, Plain, one_hot
from torch import nn

from mmjsd import registry
from mmjsd.data.batches import Batch, ResidentSplit
from mmjsd.data.store import Split, modalities_of
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.params import Run, make_run
from mmjsd.training.model_file import build

PARTS = ("data path", "encoders", "sampling, divergence", "decoders", "likelihoods", "backward", "optimiser")


def endless(data: ResidentSplit, batch_size: int) -> Iterator[Batch]:
    """Yield the batches of one epoch after the other."""
    while True:
        yield from map(data.batch, data.shuffled(batch_size).to(data.device))


class Parts:
    """The step of `mmjsd.training.loop.train` without its bookkeeping, and how long its parts took.

    Args:
        run: its parameters.
        split: to train on.
        device: to compute on.
    """

    def __init__(self, run: Run, split: Split, device: torch.device):
        self.objective = build(modalities_of(split), run).to(device).to(memory_format=image_layout(device))
        model: Any = self.objective.model
        self.optimiser = torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
        self.computing = autocast(pick_precision(run.precision, device), device)
        self.batches = endless(ResidentSplit(split, device), run.batch_size)
        self.wait = waiting_for(device)
        self.clock = time.process_time if device.type == "cpu" else time.perf_counter
        self.seconds: Counter[str] = Counter()
        for part, modules in (
            ("encoders", model.encoders),
            ("encoders", model.heads),
            ("decoders", model.decoders),
        ):
            for module in modules.values():
                self._time_module(module, part)
        model.log_likelihood = partial(self._time, "likelihoods", model.log_likelihood)

    def __call__(self) -> None:
        """Do a step."""
        batch = self._time("data path", next, self.batches)
        inside = self._inside()
        with self.computing:
            loss = self._time("sampling, divergence", self.objective, batch).loss
        self.seconds["sampling, divergence"] -= self._inside() - inside
        self.optimiser.zero_grad(set_to_none=True)
        self._time("backward", loss.backward)
        self._time("optimiser", self.optimiser.step)

    def _inside(self) -> float:
        """Seconds of the parts that the objective calls."""
        return sum(self.seconds[part] for part in ("encoders", "decoders", "likelihoods"))

    def _time(self, part: str, function: Callable[..., Any], *given: Any) -> Any:
        self.wait()
        started = self.clock()
        result = function(*given)
        self.wait()
        self.seconds[part] += self.clock() - started
        return result

    def _time_module(self, module: nn.Module, part: str) -> None:
        forward = module.forward
        module.forward = lambda *given: self._time(part, forward, *given)  # type: ignore[method-assign]


def measured_parts(
    objective: str, split: Split, options: Any, device: torch.device
) -> dict[str, list[float]]:
    """Measure what the parts of a step take, and the whole loop (`whole`), in turns: seconds of a step."""
    chosen = make_run(objective, **unending(options, options.device), compile="off")
    steps, parts = training(chosen, split), Parts(chosen, split, device)
    found: dict[str, list[float]] = {"whole": []}
    for turn in range(options.turns + 1):
        steps()
        whole = seconds(steps, options.repeat, parts.wait, parts.clock)
        parts()
        parts.seconds.clear()
        for _ in range(options.repeat):
            parts()
        if turn:  # the first ones choose algorithms and allocate
            found["whole"].append(whole)
            for part in PARTS:
                found.setdefault(part, []).append(parts.seconds[part] / options.repeat)
    steps.close()
    # a turn seldom has a shuffle in it: each step bears its share
    data = ResidentSplit(split, device)
    shuffle = partial(data.shuffled, options.batch_size)
    shuffles = [seconds(shuffle, 1, parts.wait, parts.clock) for _ in range(9)]
    share = median(shuffles) / (len(data) // options.batch_size)
    found["data path"] = [taken + share for taken in found["data path"]]
    return found


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=256)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="auto", help="as the parameter of a run")
    options.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    options.add_argument("--no-compile", action="store_true", help="leave out the compiled steps")
    options.add_argument("--turns", type=int, default=15)
    options.add_argument("--repeat", type=int, default=3, help="timed steps of a turn")
    options.add_argument("--pairs", type=int, default=200_000, help="of 10,000 images of each modality")
    options = parsed(options, batch_size=16, threads=1, turns=1, repeat=1, pairs=400, no_compile=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = pick_device(options.device)
    split = random_split(10_000, options.pairs)
    batch = next(endless(ResidentSplit(split, device), options.batch_size))
    values = [batch.values["mnist"], batch.values["svhn"], one_hot(batch.values["text"])]

    shared = unending(options, options.device)
    steps: dict[str, Callable[[], object]] = {}
    for objective in registry.entries("objectives"):
        if objective in OBJECTIVES:
            plain = Plain(make_run(objective, **shared), device)
            steps[f"{objective} plain"] = partial(plain.step, values)
        for precision in options.precisions:
            for compiled in ("off",) if options.no_compile else ("off", "on"):
                chosen = make_run(objective, **shared, precision=precision, compile=compiled)
                name = f"{objective} {precision}{' compiled' if compiled == 'on' else ''}"
                steps[name] = training(chosen, split)
    times = in_turns(steps, turns=options.turns, repeat=options.repeat, wait=waiting_for(device))

    rows: list[Row] = []
    results = {}
    for name, taken in times.items():
        under = times.get(f"{name.split()[0]} plain", taken)
        rows.append(
            {"step": name, "ms": 1000 * median(taken), "samples/s": options.batch_size / median(taken)}
        )
        rows[-1]["times as fast as plain"] = ratio(under, taken)
        if not name.endswith("plain"):
            results[f"{name}, times as fast as plain"] = rows[-1]["times as fast as plain"]

    found = {name: measured_parts(name, split, options, device) for name in registry.entries("objectives")}
    shares = {
        name: {part: ratio(taken, times["whole"]) for part, taken in times.items() if part != "whole"}
        for name, times in found.items()
    }
    parts = [{"part of the step": part} | {name: shares[name][part] for name in shares} for part in PARTS]
    rest = {name: 1 - sum(share.values()) for name, share in shares.items()}
    parts += [{"part of the step": "bookkeeping (the rest)"} | rest]
    results |= {f"{name}, share of the data path": share["data path"] for name, share in shares.items()}
    title = f"batch {options.batch_size}, {device}, {options.threads} threads"
    precision = pick_precision("auto", device)
    report(
        options,
        {f"Steps: {title}": rows, f"Shares of a step in {precision}: {title}": parts},
        results,
    )


if __name__ == "__main__":
    run(main)
