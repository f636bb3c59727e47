"""Posteriors of a whole split, for every subset of modalities, and what is generated from them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mmjsd.data.batches import ResidentSplit
from mmjsd.distributions import Gaussian
from mmjsd.models.vae import MultimodalVAE

__all__ = ["CHUNK", "UnimodalPosteriors", "conditional_samples", "pieces", "random_samples"]

CHUNK = 2048
"""Samples whose latents are drawn at a time."""

PIECE = 256
"""Samples that networks take at a time on a CPU: what they compute of more does not stay in its caches."""


def pieces(samples: Tensor) -> tuple[Tensor, ...]:
    """Split samples (B, ...) into as many as networks take at a time on their device."""
    return samples.split(PIECE if samples.device.type == "cpu" else CHUNK)


class UnimodalPosteriors:
    """q(c|x_j) and q(s_j|x_j) of the samples of a split, each distinct row encoded once however often paired.

    Args:
        model: in eval mode.
        split: on the model's device.
    """

    @torch.no_grad()
    def __init__(self, model: MultimodalVAE, split: ResidentSplit):
        self.model, self.split = model, split
        self.pairs = split.pairs
        self.shared: dict[str, Gaussian] = {}
        self.private: dict[str, Gaussian] = {}
        columns = []
        for name, column in zip(split.rows, self.pairs.T, strict=True):
            used, position = torch.unique(column.clamp(min=0), return_inverse=True)
            columns.append(torch.where(column < 0, -1, position))
            parts = [model.encode({name: split.inputs(name, rows)}) for rows in pieces(used)]
            self.shared[name] = _joined([part.shared.at(0) for part in parts])
            self.private[name] = _joined([part.private[name] for part in parts])
        self.columns = dict(zip(self.shared, columns, strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def labels(self) -> Tensor:
        """The labels of the samples, (N,) classes or (N, A) attributes; only of data that have any."""
        assert self.split.labels is not None
        return self.split.labels

    def complete(self, subset: tuple[str, ...]) -> Tensor:
        """Indices of the samples of which every modality of the subset is there: (B,)."""
        return torch.stack([self.columns[name] >= 0 for name in subset]).all(0).nonzero()[:, 0]

    def experts(self, subset: tuple[str, ...], samples: Tensor) -> Gaussian:
        """q(c|x_j) of these samples and each modality of the subset: (B,) -> (A, B, D)."""
        return Gaussian.stack([self.shared[name].at(self.columns[name][samples]) for name in subset])

    def posterior(self, subset: tuple[str, ...], samples: Tensor) -> Gaussian:
        """q(c|x_A) of these samples, of a mixture one component each: (B,) -> (B, D)."""
        return self.model.posterior(self.experts(subset, samples), subset).select()

    def private_of(self, name: str, samples: Tensor) -> Gaussian:
        """q(s_j|x_j) of these samples: (B,) -> (B, private latent)."""
        return self.private[name].at(self.columns[name][samples])

    def inputs(self, name: str, samples: Tensor) -> Tensor:
        """The modality of these samples as the networks take it: (B,) -> (B, ...)."""
        column = list(self.columns).index(name)
        return self.split.inputs(name, self.pairs[samples, column])


@torch.no_grad()
def conditional_samples(
    posteriors: UnimodalPosteriors,
    subset: tuple[str, ...],
    samples: Tensor,
    targets: tuple[str, ...] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """One sample of every target modality given the subset, for each of these samples, in pieces.

    The shared latent is sampled from the posterior given the subset, private latents from N(0, I).

    Yields:
        modality -> generated (B, ...).
    """
    for chunk in samples.split(CHUNK):
        c = posteriors.posterior(subset, chunk).rsample()
        yield from _generated(posteriors.model, c, targets)


@torch.no_grad()
def random_samples(
    model: MultimodalVAE,
    count: int,
    targets: tuple[str, ...] | None = None,
    sampler: Callable[[int], Tensor] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Generate `count` samples of every target modality, in pieces: modality -> generated (B, ...).

    Their shared latents are from the sampler, or from the prior without one.
    """

    def of_prior(number: int) -> Tensor:
        return Gaussian.standard(number, model.shared_latent, device=model.device).rsample()

    for chunk in torch.arange(count).split(CHUNK):
        yield from _generated(model, (sampler or of_prior)(len(chunk)), targets)


def _generated(
    model: MultimodalVAE, shared: Tensor, targets: tuple[str, ...] | None
) -> Iterator[dict[str, Tensor]]:
    """What the model generates from c (B, D), in pieces."""
    private = model.draw_private(len(shared), targets)
    for piece in pieces(torch.arange(len(shared), device=shared.device)):
        yield {name: model.decode_mean(name, s[piece], shared[piece]) for name, s in private.items()}


def _joined(parts: list[Gaussian]) -> Gaussian:
    return Gaussian(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
