"""The rate of training on a store that is streamed against the same store resident in memory.

Epochs of the project's own training in turns, one on each; the result is the ratio of the rates that their
histories tell. Random data in the shapes of MNIST-SVHN-Text.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from statistics import median

from loops import random_split, write
from measuring import parsed, parser, ratio, report, run

from mmjsd import registry
from mmjsd.data.batches import BLOCK
from mmjsd.params import make_run
from mmjsd.training.history import read_history
from mmjsd.training.loop import train


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=256)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--objective", choices=registry.entries("objectives"), default="mmjsd")
    options.add_argument("--rows", type=int, default=60_000, help="images of a modality")
    options.add_argument("--blocks", type=int, default=4, help=f"of {BLOCK} batches in an epoch")
    options = parsed(options, batch_size=4, threads=1, turns=1, rows=1000, blocks=1)
    split = random_split(options.rows, options.blocks * BLOCK * options.batch_size)
    shared = {"dataset": "random", "epochs": 1, "batch_size": options.batch_size, "threads": options.threads}
    shared |= {"device": "cpu", "compile": "off"}
    runs = {
        "resident": make_run(options.objective, **shared),
        "streamed": make_run(options.objective, **shared, resident_bytes=0),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder) / "store.h5", split)
        for turn in range(options.turns + 1):
            for name in sorted(runs, reverse=turn % 2 == 1):
                results = Path(folder) / f"{name}-{turn}"
                with contextlib.redirect_stdout(io.StringIO()):
                    train(runs[name], store, results, name=name, seed=1)
                if turn:  # the first reads the file into the memory of the system
                    rates[name].append(read_history(results / "history.csv")[0]["samples_per_second"])
    rows = [{"data": name, "samples/s": median(taken)} for name, taken in rates.items()]
    title = f"{options.objective}, batch {options.batch_size}, {options.threads} threads"
    report(options, {title: rows}, {"streamed / resident": ratio(rates["streamed"], rates["resident"])})


if __name__ == "__main__":
    run(main)
