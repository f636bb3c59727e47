"""A step with modalities missing, computing only what is there against computing all.

By the project's own loop, not compiled, random data in the shapes of MNIST-SVHN-Text and of vectors of mfeat,
by the share that is missing and the size of a batch. `images` computes the images that are there alone, as
`mmjsd.data.batches` does if enough are missing; `everything` does so for texts and vectors as well.
"""

from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from loops import random_split, training, unending
from measuring import Row, in_turns, parsed, parser, ratio, report, run
from torch import Tensor

from mmjsd.data.batches import Batch
from mmjsd.data.store import Split, Table
from mmjsd.params import make_run

SIZES = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}


def vectors(rows: int) -> Split:
    """Make random vectors in the shapes of mfeat."""
    rng = np.random.default_rng(0)
    tables = {name: Table("vector", rng.standard_normal((rows, d), np.float32)) for name, d in SIZES.items()}
    return Split(tables, np.repeat(np.arange(rows, dtype=np.int32)[:, None], len(SIZES), 1))


def nothing(batch: Batch, name: str) -> None:
    """Spare nothing."""


def images(batch: Batch, name: str) -> Tensor | None:
    """Spare the images that are missing."""
    return everything(batch, name) if batch.values[name].dim() == 4 else None


def everything(batch: Batch, name: str) -> Tensor | None:
    """Spare all that is missing."""
    rows = batch.is_present()[list(batch.values).index(name)].nonzero()[:, 0]
    return rows if len(rows) else None


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256])
    options.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.5, 0.8])
    options.add_argument("--objective", default="mmjsd")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--turns", type=int, default=9)
    options.add_argument("--repeat", type=int, default=5, help="timed steps of a turn")
    options = parsed(options, batch_sizes=[64], shares=[0.8], turns=1, repeat=1)
    torch.set_num_threads(options.threads)
    chosen = Batch.computed
    rows: list[Row] = []
    for data, split in (("digits", random_split(5000, 20_000)), ("vectors", vectors(5000))):
        for size in options.batch_sizes:
            options.batch_size = size
            for share in options.shares:
                made = make_run(options.objective, **unending(options, "cpu"), missing=share, compile="off")
                step = training(made, split)

                def by(computed: Callable[[Batch, str], Tensor | None], step=step) -> Callable[[], None]:
                    def call() -> None:
                        Batch.computed = computed  # type: ignore[method-assign]
                        step()

                    return call

                ways = {"all": nothing, "images": images, "everything": everything, "chosen": chosen}
                times = in_turns(
                    {name: by(way) for name, way in ways.items()}, turns=options.turns, repeat=options.repeat
                )
                step.close()
                row: Row = {"data": data, "batch": options.batch_size, "missing": share}
                row["ms, all"] = 1000 * median(times["all"])
                row |= {name: ratio(times["all"], times[name]) for name in ways if name != "all"}
                rows.append(row)
    Batch.computed = chosen  # type: ignore[method-assign]
    results = {
        f"{row['data']}, batch {row['batch']}, {row['missing']:.0%} missing, times as fast": row["chosen"]
        for row in rows
    }
    report(options, {f"Times as fast as computing all: {options.objective}": rows}, results)


if __name__ == "__main__":
    run(main)
