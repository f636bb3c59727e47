"""Posteriors of a whole split, for every subset of modalities."""

import torch
from torch import Tensor

from mmjsd.data.batches import ResidentSplit, as_input
from mmjsd.distributions import Gaussian
from mmjsd.models.vae import MultimodalVAE

__all__ = ["UnimodalPosteriors"]


class UnimodalPosteriors:
    """q(c|x_j) of the samples of a split, each distinct row encoded once however often it is paired.

    Args:
        model: in eval mode.
        split: on the model's device.
        samples: indices of the samples wanted (all when None); from here on they are counted from 0.
        chunk: rows encoded at a time.
    """

    @torch.no_grad()
    def __init__(
        self, model: MultimodalVAE, split: ResidentSplit, samples: Tensor | None = None, chunk: int = 2048
    ):
        self.model = model
        pairs = split.pairs if samples is None else split.pairs[samples]
        self.labels = split.labels if samples is None else split.labels[samples]
        self.rows: dict[str, Gaussian] = {}
        columns = []
        for name, column in zip(split.rows, pairs.T, strict=True):
            used, position = torch.unique(column.clamp(min=0), return_inverse=True)
            columns.append(torch.where(column < 0, -1, position))
            parts = [
                model.encode({name: as_input(split.rows[name][rows])}).shared.at(0)
                for rows in used.split(chunk)
            ]
            self.rows[name] = Gaussian(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        self.columns = dict(zip(self.rows, columns, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def complete(self, subset: tuple[str, ...]) -> Tensor:
        """Indices of the samples of which every modality of the subset is there: (B,)."""
        return torch.stack([self.columns[name] >= 0 for name in subset]).all(0).nonzero()[:, 0]

    def posterior(self, subset: tuple[str, ...], samples: Tensor) -> Gaussian:
        """q(c|x_A) of these samples: (B,) -> (B, D)."""
        experts = [self.rows[name].at(self.columns[name][samples]) for name in subset]
        return self.model.posterior(Gaussian.stack(experts), subset)
