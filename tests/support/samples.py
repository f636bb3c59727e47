"""A small dataset in memory, and the parameters of runs on it."""

from pathlib import Path

import numpy as np

from mmjsd import params
from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.data.text import word_table
from mmjsd.modalities.text import ALPHABET

__all__ = ["make_faces", "make_own", "make_run", "make_split", "make_store", "written"]


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


def written(path: Path, kind: str, classes: list[str], splits: dict[str, Split]) -> Store:
    """A store of these splits, as it is read."""
    write_store(
        path,
        kind=kind,
        modalities=list(splits["train"].modalities),
        classes=classes,
        seed=0,
        params={"source": "standin"},
        sources={},
        splits=splits,
    )
    return read_store(path)


def make_store(path: Path, missing: float = 0.0) -> Store:
    rng = np.random.default_rng(0)
    splits = {"train": make_split(rng, 120, missing), "test": make_split(rng, 60, missing)}
    return written(path, "mnist_svhn_text", [str(digit) for digit in range(10)], splits)


def make_faces(path: Path) -> Store:
    """Noise in the shapes of CelebA, with three attributes."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = rng.integers(0, 2, (count, 3)).astype(np.uint8)
        tables = {
            "image": Table("image", rng.integers(0, 256, (count, 3, 64, 64)).astype(np.uint8), labels),
            "text": Table("text", rng.integers(0, 70, (count, 256)).astype(np.uint8), labels, ALPHABET),
        }
        return Split(tables, np.stack([np.arange(count, dtype=np.int32)] * 2, 1), labels)

    return written(path, "celeba", ["Bald", "Smiling", "Young"], {"train": split(8), "test": split(24)})


def make_own(path: Path) -> Store:
    """A vector, an image and a text, of shapes that the paper has not."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % 3
        tables = {
            "numbers": Table("vector", rng.standard_normal((count, 7)).astype(np.float32), labels),
            "picture": Table("image", rng.integers(0, 256, (count, 3, 11, 6)).astype(np.uint8), labels),
            "words": Table("text", rng.integers(0, 70, (count, 13)).astype(np.uint8), labels, ALPHABET),
        }
        return Split(tables, np.stack([np.arange(count, dtype=np.int32)] * 3, 1), labels)

    return written(path, "own", list("abc"), {"train": split(24), "test": split(30)})


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
