"""Processes that train one model together: what each has of a batch, and what they tell each other.

What is random is drawn for the whole batch by each of them, and each takes its own rows. So their random
states are alike, a checkpoint of so many is one of any number, and the gradients, summed over the processes,
are those of one process up to rounding. With one process, nothing here does anything.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "Agreement",
    "Share",
    "all_told",
    "averaged",
    "count",
    "drawn",
    "from_first",
    "highest",
    "joined",
    "own",
    "rank",
    "replicated",
    "sharing",
    "synchronise",
    "whole",
]


# --- Who there is -----------------------------------------------------------------------------------------


@contextmanager
def joined() -> Iterator[None]:
    """Talk to the other processes, whose addresses are in the variables of a launcher such as torchrun.

    What is on a GPU they exchange by its own means (NCCL, ...), all else by Gloo.
    """
    dist.init_process_group()
    try:
        with warnings.catch_warnings():
            # of axes of size 1, whose strides mean nothing
            warnings.filterwarnings("ignore", "Grad strides do not match")
            yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0 on."""
    return dist.get_rank() if count() > 1 else 0


def count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


# --- What each has of a batch -----------------------------------------------------------------------------


class Share(NamedTuple):
    """The rows of each batch that a process computes: from `start` up to `stop` of `whole`."""

    start: int
    stop: int
    whole: int

    @classmethod
    def of(cls, size: int, number: int | None = None) -> "Share":
        """The share of a process, this one or that of a number: all have as many rows, or one more."""
        number = rank() if number is None else number
        return cls(number * size // count(), (number + 1) * size // count(), size)

    @property
    def part(self) -> float:
        """How much of the batch it is."""
        return (self.stop - self.start) / self.whole

    def rows(self, order: Tensor) -> Tensor:
        """Its samples of batches (steps, whole)."""
        return order if count() == 1 else order[:, self.start : self.stop]

    def weight(self, loss: Tensor) -> Tensor | None:
        """What the gradient of its loss weighs, so that the mean over the processes is that of the batch."""
        return None if count() == 1 else torch.full_like(loss, self.part * count())


_share: Share | None = None


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Have what is drawn meanwhile for a batch be drawn for the whole of it."""
    global _share
    _share = None if count() == 1 else share
    try:
        yield
    finally:
        _share = None


def whole(rows: int) -> int:
    """Tell how many rows the batch has of which this process has so many."""
    return rows if _share is None else _share.whole


def own(values: Tensor, axis: int = 0) -> Tensor:
    """Take the rows of this process from those of the whole batch."""
    return values if _share is None else values.narrow(axis, _share.start, _share.stop - _share.start)


def drawn(draw: Callable[..., Tensor], shape: Sequence[int], **options: Any) -> Tensor:
    """Draw numbers of a shape (..., B, D), those of this process among those of the whole batch."""
    if _share is None:
        return draw(shape, **options)
    return own(draw((*shape[:-2], whole(shape[-2]), shape[-1]), **options), -2)


# --- What they compute together ---------------------------------------------------------------------------


def replicated(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Average the gradients of an objective, or of what it was compiled to, over the processes."""
    if count() == 1:
        return loss
    with warnings.catch_warnings(action="ignore"):  # newer versions have another name for it
        # the statistics of batches are alike already
        return nn.parallel.DistributedDataParallel(loss, broadcast_buffers=False)


def synchronise(module: nn.Module) -> None:
    """Have the batch normalisations of a module see the whole batch, in place."""
    if count() > 1:
        for part in module.modules():
            if type(part) in (nn.BatchNorm1d, nn.BatchNorm2d):
                part.__class__ = _SharedBatchNorm  # weights, statistics and their names stay


class _SharedBatchNorm(nn.BatchNorm2d):
    """As `torch.nn.SyncBatchNorm`, which works on GPUs alone: (B, C, ...) -> (B, C, ...)."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if _share is None or not self.training:
            return super().forward(x)
        shape = [1, -1, *[1] * (x.dim() - 2)]
        variance, mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
        shares = [Share.of(_share.whole, number).part for number in range(count())]
        parts = torch.tensor(shares, device=x.device)[:, None]
        means, variances = _Gathered.apply(torch.stack([mean, variance])).unbind(1)
        mean = (parts * means).sum(0)
        variance = (parts * (variances + (means - mean) ** 2)).sum(0)
        number = x.numel() // x.shape[1] // len(x) * _share.whole
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)  # type: ignore[union-attr,arg-type]
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return ((x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class _Gathered(torch.autograd.Function):
    """Values (...) of each process: -> (processes, ...)."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        every = values.new_zeros(count(), *values.shape)
        every[rank()] = values
        dist.all_reduce(every)
        return every

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[rank()]


# --- What they tell each other ----------------------------------------------------------------------------


def averaged(values: Tensor, share: Share) -> Tensor:
    """Make means over the whole batch of those over the share of each process."""
    if count() > 1:
        values = values * share.part
        dist.all_reduce(values)
    return values


def highest(*numbers: int) -> Sequence[int]:
    """Give the highest of each number that the processes have."""
    if count() == 1:
        return numbers
    values = torch.tensor(numbers)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return values.tolist()


class Agreement:
    """Whether one of the processes has a wish, told to all at the same step.

    To ask takes a tenth of a millisecond and more: it is done about once a second.
    """

    def __init__(self) -> None:
        self.steps = self.left = 1
        self.asked = time.perf_counter()

    def __call__(self, wish: bool) -> bool:
        """Tell, after each step, whether a process has had a wish, or False until they are asked again."""
        if count() == 1:
            return wish
        self.left -= 1
        if self.left:
            return False
        now = time.perf_counter()
        wished, self.steps = highest(wish, max(1, int(self.steps / (now - self.asked))))
        self.left, self.asked = self.steps, now
        return bool(wished)


def all_told(value: Any) -> list[Any]:
    """Give what every process has, in their order."""
    values = [value] * count()
    if count() > 1:
        dist.all_gather_object(values, value)
    return values


def from_first(call: Callable[[], Any]) -> Any:
    """Call a function in the first process, and give its result in all."""
    if count() == 1:
        return call()
    result = [call() if rank() == 0 else None]
    dist.broadcast_object_list(result)
    return result[0]
