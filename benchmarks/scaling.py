"""How time and memory grow with the number of modalities, and with the number of pairs.

First the step of the project's own loop (`mmjsd.training.loop`) with 1 to 20 modalities of images of
3 x 28 x 28 in turns, and the line that fits it best; modalities share their random rows. Then stores in the
shapes of MNIST-SVHN-Text with more and more pairs of the same rows: their size, what they take in memory, and
how long an epoch takes to start (its order, and the first batch).
"""

import gc
import multiprocessing
import tempfile
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from loops import random_pairs, random_split, training, unending, write
from measuring import Row, in_turns, parsed, parser, report, run, seconds

from mmjsd import registry
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Table, read_store
from mmjsd.params import make_run


def images(count: int, rows: int) -> Split:
    """Make a split of so many modalities."""
    table = Table("image", np.random.default_rng(0).integers(0, 256, (rows, 3, 28, 28), np.uint8))
    tables = {f"m{number}": table for number in range(count)}
    return Split(tables, random_pairs(tables, rows))


def in_modalities(objective: str, options: Namespace) -> dict[int, float]:
    """Measure the step with each number of modalities: seconds."""
    chosen = make_run(objective, **unending(options, "cpu"), compile="off")
    steps = {str(count): training(chosen, images(count, options.rows)) for count in options.modalities}
    times = in_turns(steps, turns=options.turns, repeat=options.repeat)
    for loop in steps.values():
        loop.close()
    # of each turn only the proportions count
    turns = [sum(taken) for taken in zip(*times.values(), strict=True)]
    shares = {name: [a / b for a, b in zip(taken, turns, strict=True)] for name, taken in times.items()}
    return {int(name): median(share) * median(turns) for name, share in shares.items()}


def line(times: dict[int, float]) -> tuple[float, float]:
    """Fit slope and offset, by relative residuals."""
    taken = np.array(list(times.values()))
    slope, offset = np.polyfit(np.array(list(times)), taken, 1, w=1 / taken)
    return slope, offset


def with_pairs(path: Path, options: Namespace) -> Row:
    """Measure a store; in a process of its own, whose memory is new."""
    torch.set_num_threads(options.threads)
    before = psutil.Process().memory_info().rss
    opening = seconds(lambda: read_store(path))
    data = ResidentSplit(read_store(path).splits["train"], torch.device("cpu"))
    gc.collect()  # the file is mapped no more
    memory = psutil.Process().memory_info().rss - before
    starts = [seconds(lambda: data.batch(data.shuffled(options.batch_size)[0])) for _ in range(options.turns)]
    return {
        "pairs": len(data),
        "store MB": path.stat().st_size / 1e6,
        "memory MB": memory / 1e6,
        "opening ms": 1000 * opening,
        "epoch start ms": 1000 * median(starts),
    }


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--turns", type=int, default=15)
    options.add_argument("--repeat", type=int, default=2, help="timed steps of a turn")
    options.add_argument("--modalities", type=int, nargs="+", default=[1, 2, 3, 5, 8, 12, 16, 20])
    options.add_argument("--rows", type=int, default=10_000, help="images of a modality")
    options.add_argument("--pairs", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6, 2 * 10**6])
    small = {"turns": 1, "repeat": 1, "modalities": [1, 2, 4], "rows": 1000, "pairs": [100, 1000]}
    options = parsed(options, **small, batch_size=16)
    torch.set_num_threads(options.threads)
    tables: dict[str, list[Row]] = {}
    results = {}
    for objective in registry.entries("objectives"):
        times = in_modalities(objective, options)
        slope, offset = line(times)
        tables[f"{objective}: {1000 * slope:.2f} ms M + {1000 * offset:.2f} ms"] = [
            {
                "modalities": count,
                "ms/step": 1000 * taken,
                "ms a modality": 1000 * taken / count,
                "residual %": 100 * (taken / (slope * count + offset) - 1),
            }
            for count, taken in times.items()
        ]
        results[f"{objective}, ms a modality more"] = 1000 * slope
        results[f"{objective}, largest residual %"] = max(
            abs(100 * (taken / (slope * count + offset) - 1)) for count, taken in times.items()
        )
    whole = random_split(options.rows, max(options.pairs))
    alone = {"max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("spawn")}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, **alone) as processes:
        tables["Pairs"] = []
        for count in options.pairs:
            path = Path(folder) / f"{count}.h5"
            write(path, Split(whole.modalities, whole.pairs[:count]))
            tables["Pairs"].append(processes.submit(with_pairs, path, options).result())
    first, last = tables["Pairs"][0], tables["Pairs"][-1]
    for name, unit in {"store MB": "bytes", "memory MB": "bytes", "epoch start ms": "ns"}.items():
        more = 1e6 * (last[name] - first[name]) / (last["pairs"] - first["pairs"])
        results[f"{name.rpartition(' ')[0]}, {unit} a pair more"] = more
    report(options, tables, results)


if __name__ == "__main__":
    run(main)
