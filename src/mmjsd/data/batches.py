"""Batches as tensors already on the device: no Python per sample.

A split that fits into the memory of the device lies there as a whole; of one that does not, blocks of
shuffled samples are brought there while the ones before are computed on. What a batch is made of, its part,
is a list of tensors, of the same shapes each time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.data.store import Split
from mmjsd.devices import pins_memory
from mmjsd.modalities import kind_of

__all__ = ["Batch", "ResidentSplit", "StreamedSplit", "fits"]

BLOCK = 64
"""Batches brought to the device at a time."""

SPARED = 48
"""Missing images of a batch that repay it to compute the others alone: `benchmarks/missing.py`."""


class Batch(NamedTuple):
    """Samples of all modalities, in the order of the store."""

    values: dict[str, Tensor]
    """Inputs: images float (B, C, H, W) in 0..1, texts int64 token ids (B, L), vectors float (B, D), ..."""
    present: Tensor | None
    """bool (M, B): which modality of which sample is there. None: all of them."""

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def is_present(self) -> Tensor:
        """Tell which modality of which sample is there, (M, B), even where all are."""
        if self.present is not None:
            return self.present
        device = next(iter(self.values.values())).device
        return torch.ones(len(self.values), len(self), dtype=torch.bool, device=device)

    def computed(self, name: str) -> Tensor | None:
        """Give the samples of which a modality is computed: those that have it, int64 (P,). None: all.

        All where that is as fast: of vectors and texts, of few that are missing, and on a GPU, which would
        have to be waited for. Captured and compiled code has the same shapes each time.
        """
        x = self.values[name]
        if self.present is None or x.dim() < 4 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        rows = self.present[list(self.values).index(name)].nonzero()[:, 0]
        return rows if 0 < len(rows) <= len(x) - SPARED else None

    def only_present(self, values: Tensor, name: str) -> Tensor:
        """Set the values (B,) to 0 where the modality is missing."""
        if self.present is None:
            return values
        return torch.where(self.present[list(self.values).index(name)], values, 0.0)


class ResidentSplit:
    """One split of a store in the memory of the device, as it is stored (uint8, distinct rows, pairs).

    Gathering and scaling happen on the device, a batch at a time.
    """

    PLACE = "data in memory"

    def __init__(self, split: Split, device: torch.device):
        def resident(array) -> Tensor:
            return torch.tensor(array, device=device)  # the store maps its file: copy

        self.rows = {name: resident(table.data) for name, table in split.modalities.items()}
        self.kinds = {name: kind_of(table.kind) for name, table in split.modalities.items()}
        self.pairs = resident(split.pairs)
        self.labels = None if split.labels is None else resident(split.labels)
        self.device = device
        self.complete = bool((self.pairs >= 0).all())
        self.filled = self.pairs if self.complete else resident(_filled(split.pairs))

    def __len__(self) -> int:
        """Number of samples (pairs)."""
        return len(self.pairs)

    def batch(self, samples: Tensor) -> Batch:
        """Gather the batch of a part, its indices: int64 (B,) on the device."""
        rows = self.filled[samples].T
        values = {name: self.inputs(name, row) for name, row in zip(self.rows, rows, strict=True)}
        return Batch(values, None if self.complete else self.pairs[samples].T >= 0)

    def inputs(self, name: str, rows: Tensor) -> Tensor:
        """The rows of a modality with these indices (B,), as networks take them: (B, ...)."""
        return self.kinds[name].as_input(self.rows[name][rows])

    def shuffled(self, batch_size: int) -> Tensor:
        """Sample indices of one epoch, (steps, batch_size): a random order, its incomplete tail left out.

        Every epoch leaves out others, so all are used alike; a split smaller than a batch is one batch.
        """
        return _shuffled(len(self), batch_size).to(self.device)

    def parts(self, order: Tensor) -> Iterator[list[Tensor]]:
        """Yield what the batches of these samples, (steps, batch_size), are made of: their indices."""
        return ([samples] for samples in order.to(self.device))


class StreamedSplit:
    """One split of a store that stays in its file.

    The order of the samples is that of a resident split. A thread reads the rows of a block of batches, where
    that helps into pinned memory, from where they go to the device while the block before is computed on.
    """

    PLACE = "data read from their file, which is larger than the memory they may take"

    def __init__(self, split: Split, device: torch.device):
        self.tables = {name: table.data for name, table in split.modalities.items()}
        self.kinds = {name: kind_of(table.kind) for name, table in split.modalities.items()}
        self.pairs = np.array(split.pairs)  # the store maps its file: copy
        self.device = device
        self.complete = bool((self.pairs >= 0).all())
        self.filled = self.pairs if self.complete else _filled(self.pairs)

    def __len__(self) -> int:
        """Number of samples (pairs)."""
        return len(self.pairs)

    def shuffled(self, batch_size: int) -> Tensor:
        """As that of a resident split."""
        return _shuffled(len(self), batch_size)

    def parts(self, order: Tensor) -> Iterator[list[Tensor]]:
        """Yield what the batches of these samples are made of: rows of each modality, and which are there."""
        blocks = order.split(BLOCK)
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, blocks[0])
            for number, block in enumerate(blocks):
                read = coming.result()
                if number + 1 < len(blocks):
                    coming = reader.submit(self._read, blocks[number + 1])
                rows, places, present = (
                    [each.to(self.device, non_blocking=pins_memory(self.device)) for each in tensors]
                    for tensors in read
                )
                for start in range(0, block.numel(), block.shape[1]):
                    part = slice(start, start + block.shape[1])
                    gathered = [row[place[part]] for row, place in zip(rows, places, strict=True)]
                    yield [*gathered, *(each[part] for each in present)]

    def batch(self, *part: Tensor) -> Batch:
        """Scale the rows of a part to a batch."""
        rows = dict(zip(self.kinds, part, strict=False))  # and, last, which of them are there
        values = {name: self.kinds[name].as_input(row) for name, row in rows.items()}
        return Batch(values, None if self.complete else part[-1].T)

    def _read(self, block: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Read the distinct rows of the samples of a block, where among them each sample's is, and which of
        them are there where some are missing; all into pinned memory where that helps.

        By numpy alone: for a second thread torch makes a second set of threads, and once there are more of
        them than cores, those of training go to sleep at each of their meetings: 0.75 times the rate.
        """
        samples = block.numpy().ravel()
        rows, places = [], []
        for data, column in zip(self.tables.values(), self.filled[samples].T, strict=True):
            # in the order of the file: each page of it is read once
            wanted, place = np.unique(column, return_inverse=True)
            rows.append(self._pinned(data[wanted]))
            places.append(self._pinned(place))
        return rows, places, [] if self.complete else [self._pinned(self.pairs[samples] >= 0)]

    def _pinned(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if pins_memory(self.device) else tensor


def fits(split: Split, budget: int) -> bool:
    """Whether all rows of a split together are no more than so many bytes."""
    return sum(table.data.nbytes for table in split.modalities.values()) <= budget


def _filled(pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give what is missing the rows of other samples: those that normalise batches shall see what there is.

    Networks compute them, for a batch has the same shapes each time, and nothing comes of it.
    """
    filled = np.array(pairs)
    for column in filled.T:
        (there,), (gaps,) = np.nonzero(column >= 0), np.nonzero(column < 0)
        # of a modality that no sample has, the first
        column[gaps] = np.resize(column[there], len(gaps)) if len(there) else 0
    return filled


def _shuffled(count: int, batch_size: int) -> Tensor:
    # drawn on the CPU: a run must not depend on where the data lie, which depends on the memory that is free
    size = min(batch_size, count)
    return torch.randperm(count)[: count // size * size].reshape(-1, size)
