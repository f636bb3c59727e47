"""Batches as tensors already on the device: no Python per sample, no copy from the host per batch."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmjsd.data.store import Split

__all__ = ["Batch", "ResidentSplit"]


class Batch(NamedTuple):
    """Samples of all modalities, in the order of the store."""

    values: dict[str, Tensor]
    """Images float (B, C, H, W) in 0..1; text int64 token ids (B, L); vectors float (B, D)."""
    present: Tensor | None
    """bool (M, B): which modality of which sample is there. None: all of them."""

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


def as_input(rows: Tensor) -> Tensor:
    """Stored rows as a network takes them: uint8 images to 0..1, uint8 token ids to int64."""
    if rows.dtype != torch.uint8:
        return rows
    if rows.dim() == 4:
        return rows.to(torch.float32, memory_format=torch.channels_last).div_(255)
    return rows.to(torch.int64)


class ResidentSplit:
    """One split of a store in the memory of the device, as it is stored (uint8, distinct rows, pairs).

    Shuffling, gathering and scaling happen on the device, a batch at a time.
    """

    def __init__(self, split: Split, device: torch.device):
        def resident(array) -> Tensor:
            return torch.tensor(array, device=device)  # the store maps its file: copy

        self.rows = {name: resident(table.data) for name, table in split.modalities.items()}
        self.pairs = resident(split.pairs)
        self.labels = resident(split.labels)
        self.device = device
        self.complete = bool((self.pairs >= 0).all())

    def __len__(self) -> int:
        """Number of samples (pairs)."""
        return len(self.pairs)

    def batch(self, samples: Tensor) -> Batch:
        """The samples with these indices, int64 (B,) on the device."""
        pairs = self.pairs[samples].T
        present = None if self.complete else pairs >= 0
        values = {
            name: as_input(rows[row.clamp(min=0)])
            for (name, rows), row in zip(self.rows.items(), pairs, strict=True)
        }
        return Batch(values, present)

    def shuffled(self, batch_size: int) -> Tensor:
        """Sample indices of one epoch, (steps, batch_size): a random order, its incomplete tail left out.

        Every epoch leaves out others, so all are used alike; a split smaller than a batch is one batch.
        """
        size = min(batch_size, len(self))
        order = torch.randperm(len(self), device=self.device)
        return order[: len(self) // size * size].reshape(-1, size)
