"""Loops that go on a step at a time, the project's own training among them, and random data for them."""

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from greenlet import GreenletExit, getcurrent, greenlet
from numpy.typing import NDArray

from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.data.text import word_table
from mmjsd.modalities.text import ALPHABET
from mmjsd.params import Run
from mmjsd.training.loop import train

__all__ = ["Steps", "random_pairs", "random_split", "training", "unending", "waiting_for", "write"]


class Steps:
    """A loop, stopped after each of its steps until it is called again.

    Args:
        loop: gets a function to call after each step, and never ends.
    """

    def __init__(self, loop: Callable[[Callable[[], None]], None]):
        self._loop = greenlet(lambda: loop(self._pause))

    def __call__(self) -> None:
        """Go on to the end of the next step."""
        self._loop.switch()
        if self._loop.dead:
            raise RuntimeError("the loop has ended; give it more epochs")

    def close(self) -> None:
        """Leave the loop where it is."""
        self._loop.throw(GreenletExit)

    def _pause(self) -> None:
        getcurrent().parent.switch()


def unending(options: Namespace, device: str) -> dict[str, Any]:
    """Give the parameters that all runs of a benchmark have, with more epochs than will be needed."""
    return {
        "dataset": "random",
        "epochs": 10**6,
        "batch_size": options.batch_size,
        "threads": options.threads,
        "device": device,
    }


def training(run: Run, split: Split) -> Steps:
    """Make a step at a time of the real `mmjsd.training.loop.train`: data path, step, bookkeeping.

    It asks after each step, and after each epoch, whether it shall end, and is stopped there.

    Args:
        run: its parameters, :func:`unending`.
        split: to train on.
    """
    store = Store(Path(os.devnull), "random", tuple(split.modalities), [], 0, {}, {}, {"train": split})

    def loop(pause: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(run, store, Path(folder), name="benchmark", seed=1, asked_to_end=pause)

    return Steps(loop)


def waiting_for(device: torch.device) -> Callable[[], None]:
    """Make a function that waits until a device has done what it was asked."""
    return lambda: None if device.type == "cpu" else torch.accelerator.synchronize(device)


def random_split(rows: int, pairs: int) -> Split:
    """Make random images and real words, paired at random, in the shapes of MNIST-SVHN-Text."""
    rng = np.random.default_rng(0)
    tables = {
        "mnist": Table("image", rng.integers(0, 256, (rows, 1, 28, 28), np.uint8)),
        "svhn": Table("image", rng.integers(0, 256, (rows, 3, 32, 32), np.uint8)),
        "text": Table("text", word_table()[0], alphabet=ALPHABET),
    }
    return Split(tables, random_pairs(tables, pairs))


def random_pairs(tables: dict[str, Table], count: int) -> NDArray[np.int32]:
    """Pair rows of all tables at random: (count, M)."""
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, len(table.data), count, np.int32) for table in tables.values()]
    return np.stack(columns, 1)


def write(path: Path, split: Split) -> Store:
    """Write a store that has this split alone, and open it."""
    about = {"kind": "random", "modalities": list(split.modalities), "classes": []}
    write_store(path, **about, seed=0, params={}, sources={}, splits={"train": split})
    return read_store(path)
