"""Posteriors of a whole split, for every subset of modalities."""

import torch
from torch import Tensor

from mmjsd.data.batches import ResidentSplit, as_input
from mmjsd.distributions import Gaussian
from mmjsd.models.vae import MultimodalVAE

__all__ = ["UnimodalPosteriors"]


class UnimodalPosteriors:
    """q(c|x_j) of every distinct row of a split, each encoded once however often it is paired."""

    @torch.no_grad()
    def __init__(self, model: MultimodalVAE, split: ResidentSplit, chunk: int = 2048):
        self.model, self.split = model, split
        self.rows: dict[str, Gaussian] = {}
        for name, rows in split.rows.items():
            parts = [model.encode({name: as_input(part)}).shared.at(0) for part in rows.split(chunk)]
            self.rows[name] = Gaussian(
                torch.cat([p.mean for p in parts]), torch.cat([p.log_variance for p in parts])
            )

    def __len__(self) -> int:
        return len(self.split)

    def complete(self, subset: tuple[str, ...], samples: Tensor) -> Tensor:
        """Of the samples, those of which every modality of the subset is there."""
        return samples[(self._rows_of(subset, samples) >= 0).all(0)]

    def posterior(self, subset: tuple[str, ...], samples: Tensor) -> Gaussian:
        """q(c|x_A) of these samples: (B,) -> (B, D)."""
        rows = self._rows_of(subset, samples)
        experts = [self.rows[name].at(row) for name, row in zip(subset, rows, strict=True)]
        return self.model.posterior(Gaussian.stack(experts), subset)

    def labels(self, samples: Tensor) -> Tensor:
        return self.split.labels[samples]

    def _rows_of(self, subset: tuple[str, ...], samples: Tensor) -> Tensor:
        columns = [list(self.rows).index(name) for name in subset]
        return self.split.pairs[samples][:, columns].T
