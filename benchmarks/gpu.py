"""How fast training is on a GPU: `uv run benchmarks/gpu.py`, a quarter of an hour; docs/gpu.md says more.

Measured are steps at the paper's settings on random data, gathered from the GPU's memory: launched kernel by
kernel (eager), compiled, captured as a CUDA graph, and both; whether a captured step gives the numbers of an
eager one; and the whole of `mmjsd train`. Prints tables, and writes a file to send back. Where there is none,
`--device cpu --steps 3 --batch-size 8 --width 0.05 --rows 200 --no-compile` tries the script itself.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from loops import waiting_for
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmjsd import distributed, registry
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Table, modalities_of, read_store, write_store
from mmjsd.data.text import word_table
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.errors import MmjsdError, in_short
from mmjsd.modalities.text import ALPHABET
from mmjsd.params import Run, make_run
from mmjsd.provenance.environment import describe
from mmjsd.training.capture import captured
from mmjsd.training.compilation import compiled
from mmjsd.training.history import read_history
from mmjsd.training.loop import train
from mmjsd.training.model_file import build
from mmjsd.training.step import Outcome, Step

#: The paper's run: configs/paper-mnist-svhn-text.yaml.
PAIRS, EPOCHS, WANTED_MINUTES = 1_121_360, 100, 5.0
#: configs/paper-celeba.yaml, what differs from the defaults.
CELEBA = {
    **{"shared_latent": 32, "private_latent": 32, "beta_style": 2.0},
    **{"weights": {"image": 0.35, "text": 0.35, "prior": 0.3}, "style_weights": {"text": 5.0}},
    "reconstruction_weights": {"image": 1.0, "text": 16.0},
}
WARM_UP, REPEATS = 5, 3
Row = dict[str, Any]


# --- What is trained, and on what -------------------------------------------------------------------------


def digits(rows: int) -> Split:
    """Random images and real words, 20 pairs of each image, in the shapes of MNIST-SVHN-Text."""
    rng = np.random.default_rng(0)
    words, word_labels = word_table()
    labels = {"mnist": np.arange(rows) % 10, "svhn": np.arange(rows) % 10, "text": word_labels}
    tables = {
        "mnist": Table("image", rng.integers(0, 256, (rows, 1, 28, 28), np.uint8), labels["mnist"]),
        "svhn": Table("image", rng.integers(0, 256, (rows, 3, 32, 32), np.uint8), labels["svhn"]),
        "text": Table("text", words, word_labels, ALPHABET),
    }
    label = np.arange(20 * rows) % 10
    columns = []
    for each in labels.values():  # any row of the label
        order, counts = np.argsort(each, kind="stable"), np.bincount(each, minlength=10)
        first = np.cumsum(counts) - counts
        columns.append(order[first[label] + (rng.random(len(label)) * counts[label]).astype(int)])
    return Split(tables, np.stack(columns, 1).astype(np.int32), label)


def faces(rows: int) -> Split:
    """Random images and characters in the shapes of CelebA."""
    rng = np.random.default_rng(0)
    labels = np.zeros((rows, 40), np.uint8)
    tables = {
        "image": Table("image", rng.integers(0, 256, (rows, 3, 64, 64), np.uint8), labels),
        "text": Table("text", rng.integers(0, len(ALPHABET), (rows, 256)).astype(np.uint8), labels, ALPHABET),
    }
    return Split(tables, np.stack([np.arange(rows, dtype=np.int32)] * 2, 1), labels)


def made(run: Run, split: Split, data: Any, device: torch.device) -> Step:
    """The step of a run, as `mmjsd.training.loop.train` has it, with fresh weights."""
    torch.manual_seed(0)
    objective: Any = build(modalities_of(split), run).to(device).to(memory_format=image_layout(device))
    optimiser = torch.optim.Adam(objective.model.parameters(), lr=run.learning_rate, fused=True)
    computing = autocast(pick_precision(run.precision, device), device)
    share = distributed.Share.of(run.batch_size)
    return Step(objective, optimiser, data, computing, run.gradient_clipping, share)


def parts(data: ResidentSplit, size: int) -> Iterator[list[Tensor]]:
    """What one batch after the other is made of, for ever."""
    while True:
        yield from data.parts(data.shuffled(size))


# --- Measuring --------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object], steps: int, device: torch.device) -> float:
    """Of a call: the median of several times so many."""
    for _ in range(WARM_UP):
        call()
    return statistics.median(measuring.seconds(call, steps, waiting_for(device)) for _ in range(REPEATS))


def ways(
    step: Step, first: tuple[Any, ...], device: torch.device, compiling: bool
) -> Iterator[tuple[str, Any]]:
    """Each way to make a step, by name, and the step or why it does not work."""
    graphs = device.type == "cuda"
    yield "eager", step
    if graphs:
        yield "captured", _or_fault(*captured(step, first))
    if compiling:
        yield "compiled", compiled(step, first) or step
        if graphs and step.loss is not step.objective:
            yield "compiled, captured", _or_fault(*captured(step, first))


def _or_fault(advance: Callable[..., Outcome], fault: str | None) -> Any:
    return fault or advance


def data_seconds(data: ResidentSplit, part: list[Tensor], steps: int, device: torch.device) -> float:
    """Of making a batch; as in a captured step, where there is such."""
    if device.type != "cuda":
        return seconds(lambda: data.batch(*part), steps, device)
    data.batch(*part)
    gpu = torch.get_device_module(device)
    graph = gpu.CUDAGraph()
    with gpu.graph(graph):
        batch = data.batch(*part)
    taken = seconds(graph.replay, steps, device)
    del batch
    return taken


def rates(
    setting: str, run: Run, split: Split, device: torch.device, arguments: argparse.Namespace
) -> list[Row]:
    """A row for each way: time of a step, memory, and the share of the time that making the batch takes."""
    data = ResidentSplit(split, device)
    size = min(run.batch_size, len(data))
    each = parts(data, size)
    first = (1.0, *next(each))
    gathering = data_seconds(data, list(first[1:]), arguments.steps, device)
    about: Row = {"setting": setting, "objective": run.objective, "precision": run.precision}
    try:
        step = made(run, split, data, device)
    except MmjsdError as error:  # without bfloat16
        return [{**about, "fault": str(error)}]
    rows = []
    for way, advance in ways(step, first, device, arguments.compile):
        row = {**about, "way": way}
        try:
            if isinstance(advance, str):
                raise RuntimeError(advance)
            if device.type == "cuda":
                torch.get_device_module(device).empty_cache()
                torch.get_device_module(device).reset_peak_memory_stats(device)
            taken = seconds(partial(_next, advance, each), arguments.steps, device)
            row |= {"ms": 1000 * taken, "samples/s": size / taken, "data %": 100 * gathering / taken}
            if device.type == "cuda":
                row["GB"] = torch.get_device_module(device).max_memory_reserved(device) / 1e9
        except Exception as error:  # out of memory, ...: the other rows tell all the same
            row["fault"] = in_short(error)
        rows.append(row)
        del advance
        result = row.get("fault") or f"{row['ms']:.3f} ms"
        print(f"{setting} {run.objective} {run.precision} {way}: {result}", flush=True)
    return rows


def _next(advance: Callable[..., Outcome], each: Iterator[list[Tensor]]) -> None:
    advance(1.0, *next(each))


# --- The matrix products of a step ------------------------------------------------------------------------


class Products(TorchDispatchMode):
    """Counts the matrix products, (m, k) times (k, n), that linear layers and convolutions amount to."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[int, int, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm"):
            left, right = args[-2:]
            self.counts[(left.shape[0], *right.shape)] += 1
        elif name == "bmm":
            self.counts[(args[0].shape[1], *args[1].shape[1:])] += len(args[0])
        elif name in ("convolution", "_convolution"):
            self.counts[_product(args[0], args[1], result, transposed=args[6])] += 1
        elif name == "convolution_backward":
            gradient, x, weight = args[:3]
            m, k, n = _product(x, weight, gradient, transposed=args[7])
            of_x, of_weight, _ = args[10]
            self.counts[m, n, k] += of_x
            self.counts[k, m, n] += of_weight
        return result


def _product(x: Tensor, weight: Tensor, out: Tensor, *, transposed: bool) -> tuple[int, int, int]:
    """Of the points of the small side, each with all that a window of the large side has."""
    points, channels, window = (x if transposed else out)[:, 0].numel(), len(weight), weight[0].numel()
    return (points, channels, window) if transposed else (points, window, channels)


def products(step: Step, first: tuple[Any, ...]) -> Counter[tuple[int, int, int]]:
    with Products() as found:
        step(*first)
    return +found.counts


def product_seconds(counts: Counter[tuple[int, int, int]], steps: int, device: torch.device) -> float:
    """How long all these take in bfloat16, and nothing else."""
    total = 0.0
    for (m, k, n), count in counts.items():
        left, right = (torch.randn(*shape, device=device).bfloat16() for shape in ((m, k), (k, n)))
        out = torch.empty(m, n, dtype=torch.bfloat16, device=device)
        total += count * seconds(lambda: torch.mm(left, right, out=out), steps, device)  # noqa: B023
    return total


# --- What is measured -------------------------------------------------------------------------------------


def training_rates(device: torch.device, arguments: argparse.Namespace) -> list[Row]:
    """Every objective at the paper's setting; what its run would take."""
    rows = []
    split = digits(arguments.rows)
    for objective in registry.entries("objectives"):
        for precision in ("float32", "bfloat16"):
            run = make_run(objective, dataset="random", precision=precision, batch_size=arguments.batch_size)
            for row in rates("digits", run, split, device, arguments):
                if "ms" in row:
                    row["paper's run, min"] = EPOCHS * (PAIRS // run.batch_size) * row["ms"] / 60_000
                rows.append(row)
    return rows


def face_rates(device: torch.device, arguments: argparse.Namespace) -> list[Row]:
    """mmJSD on faces, and the share of the time that its matrix products alone would take in bfloat16."""
    rows = []
    split = faces(2 * arguments.batch_size)
    for precision in ("bfloat16", "float32"):
        run = make_run(
            "mmjsd",
            **{"dataset": "random", "precision": precision, "batch_size": arguments.batch_size},
            **{"network_width": arguments.width, **CELEBA},
        )
        rows += rates("faces", run, split, device, arguments)
    data = ResidentSplit(split, device)
    counts = products(made(run, split, data, device), (1.0, *next(parts(data, run.batch_size))))
    alone = product_seconds(counts, max(1, arguments.steps // 10), device)
    work = 2e-12 * sum(count * m * k * n for (m, k, n), count in counts.items())
    told = f"{1000 * alone:.2f} ms in bfloat16, {work / alone:.1f} TFLOP/s"
    print(f"faces: the {counts.total()} matrix products of a step alone: {told}", flush=True)
    for row in rows:
        if "ms" in row:
            row |= {"TFLOP/s": 1000 * work / row["ms"], "matrix rate %": 100_000 * alone / row["ms"]}
    return rows


def agreement(device: torch.device, arguments: argparse.Namespace) -> list[Row]:
    """The losses of steps of the same seed: eager, eager again, captured."""
    rows = []
    split = digits(arguments.rows)
    data = ResidentSplit(split, device)
    size = min(arguments.batch_size, len(data))
    for objective in registry.entries("objectives"):
        run = make_run(
            objective, dataset="random", private_latent=2, gradient_clipping=1e3, precision="float32"
        )
        found = {}
        for way in ("eager", "again", *(["captured"] if device.type == "cuda" else [])):
            step = made(run, split, data, device)
            torch.manual_seed(1)
            each = parts(data, size)
            warmup = torch.ones((), device=device)
            advance, fault = captured(step, (warmup, *next(each))) if way == "captured" else (step, None)
            torch.manual_seed(1)
            each = parts(data, size)
            losses = [
                advance(warmup * (number + 1) / arguments.steps, *next(each)).values.clone()
                for number in range(arguments.steps)
            ]
            found[way] = torch.stack(losses).cpu().double()
            if way != "eager":
                apart = (found[way] - found["eager"]).abs() / found["eager"].abs().clamp(min=1e-12)
                rows.append(
                    {"objective": objective, "eager and": way, "steps": arguments.steps}
                    | {"largest relative difference": apart.max().item(), "fault": fault or ""}
                )
    return rows


def whole_loop(device: torch.device, arguments: argparse.Namespace) -> list[Row]:
    """`mmjsd train` at the paper's setting, in its second epoch, of as many steps as were measured."""
    rows = []
    split = digits(arguments.rows)
    chosen = np.random.default_rng(1).integers(0, len(split.pairs), arguments.steps * arguments.batch_size)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "random.h5"
        write_store(
            path,
            **{"kind": "mnist_svhn_text", "modalities": list(split.modalities), "seed": 0, "params": {}},
            **{"classes": [str(digit) for digit in range(10)], "sources": {}},
            splits={"train": split.sample(chosen)},
        )
        for compiling in ("off", *(["on"] if arguments.compile else [])):
            run = make_run(
                "mmjsd",
                **{"dataset": "random", "epochs": 2, "batch_size": arguments.batch_size},
                **{"device": arguments.device, "compile": compiling, "precision": "float32"},
                threads=torch.get_num_threads(),
            )
            row: Row = {"way": f"mmjsd train, compile: {compiling}"}
            try:
                train(run, read_store(path), Path(name) / compiling, name="random", seed=1)
                rate = read_history(Path(name) / compiling / "history.csv")[1]["samples_per_second"]
                row |= {"samples/s": rate, "paper's run, min": EPOCHS * PAIRS / rate / 60}
            except MmjsdError as error:
                row["fault"] = str(error)
            rows.append(row)
    return rows


# --- What is told -----------------------------------------------------------------------------------------


def table(rows: list[Row]) -> str:
    """Rows in Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_shown(row.get(name, "")) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def machine(device: torch.device) -> dict[str, Any]:
    """The GPU and what drives it."""
    about: dict[str, Any] = {"device": str(device), "cuda": torch.version.cuda, "hip": torch.version.hip}
    if device.type == "cuda":
        properties = torch.get_device_module(device).get_device_properties(device)
        about |= {"gpu": properties.name, "GB": properties.total_memory / 1e9}
        about |= {
            "capability": f"{properties.major}.{properties.minor}",
            "sms": properties.multi_processor_count,
        }
        about["cudnn"] = torch.backends.cudnn.version()
        try:
            import pynvml

            pynvml.nvmlInit()
            about["driver"] = pynvml.nvmlSystemGetDriverVersion()
        except Exception as error:  # AMD, or a container without the driver's tools
            about["driver"] = in_short(error)
    return {**describe(), **about}


def aims(found: dict[str, list[Row]]) -> Iterator[str]:
    """What is aimed at, and what is reached."""
    if minutes := [row["paper's run, min"] for row in found["training"] if row.get("ms")]:
        yield f"the paper's run, the fastest way: {min(minutes):.1f} minutes (aimed at: {WANTED_MINUTES:g})"
    if shares := [row["matrix rate %"] for row in found["faces"] if row.get("ms")]:
        yield f"faces, the fastest way: {max(shares):.0f} % of the matrix rate (aimed at: 50)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="auto", help="as the parameter of a run")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of each row")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--width", type=float, default=1.0, help="of the networks of faces")
    parser.add_argument("--rows", type=int, default=56_068, help="images of each modality of digits")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out compiled rows")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="file to send back")
    arguments = parser.parse_args()
    try:
        device = pick_device(arguments.device)
    except MmjsdError as error:
        sys.exit(str(error))
    if device.type == "cpu" and arguments.device != "cpu":
        sys.exit(
            "device: there is no GPU here that works; `--device cpu --steps 3` tries the script without one"
        )
    about = machine(device)
    print(table([{"machine": name, "": value} for name, value in about.items()]), flush=True)
    found: dict[str, list[Row]] = {}
    for name, measure in {
        "agreement": agreement,
        "training": training_rates,
        "faces": face_rates,
        "loop": whole_loop,
    }.items():
        found[name] = measure(device, arguments)
        print(f"\n{table(found[name])}\n", flush=True)
        # after each part: what comes may fail
        content = {"machine": about, "options": {**vars(arguments), "json": None}, **found}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    for line in aims(found):
        print(line)
    print(f"{arguments.json}: please send this file back")


if __name__ == "__main__":
    main()
