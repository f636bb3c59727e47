"""A small dataset in memory, and the parameters of runs on it."""

import numpy as np

from mmjsd import params
from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.data.text import word_table
from mmjsd.modalities.text import ALPHABET

__all__ = ["make_run", "make_split", "make_store"]


def make_split(rng: np.random.Generator, rows: int, missing: float = 0.0) -> Split:
    """Rows whose brightness tells the class, paired by class; a share of the pairs with gaps."""
    labels = np.arange(rows) % 10
    pairs = []
    words, word_labels = word_table()
    shade = (labels * 25)[:, None, None, None]
    tables = {
        "mnist": Table("image", (rng.integers(0, 20, (rows, 1, 28, 28)) + shade).astype(np.uint8), labels),
        "svhn": Table("image", (rng.integers(0, 20, (rows, 3, 32, 32)) + shade).astype(np.uint8), labels),
        "text": Table("text", words, word_labels, ALPHABET),
    }
    for row, label in enumerate(labels):
        word = rng.choice(np.flatnonzero(word_labels == label))
        pairs.append((row, rng.choice(np.flatnonzero(labels == label)), word))
    pairs = np.array(pairs, np.int32)
    hidden = rng.random(pairs.shape) < missing
    hidden[np.arange(rows), rng.integers(0, 3, rows)] = False  # never all of them
    pairs[hidden] = -1
    return Split(tables, pairs, labels)


def make_store(path, missing: float = 0.0) -> Store:
    rng = np.random.default_rng(0)
    write_store(
        path,
        kind="mnist_svhn_text",
        modalities=["mnist", "svhn", "text"],
        classes=[str(digit) for digit in range(10)],
        seed=0,
        params={"source": "standin"},
        sources={},
        splits={"train": make_split(rng, 120, missing), "test": make_split(rng, 60, missing)},
    )
    return read_store(path)


def make_run(**options) -> params.Run:
    defaults = {
        "dataset": "tiny",
        "objective": "mmjsd",
        "epochs": 3,
        "batch_size": 32,
        "threads": 1,
        "device": "cpu",
    }
    return params.make_run(**(defaults | options))
