"""A step of training: from what a batch is made of to new weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from mmjsd import distributed
from mmjsd.data.batches import Batch, ResidentSplit, StreamedSplit
from mmjsd.objectives import Loss, Objective
from mmjsd.training.checkpoint import random_state, restore_random_state

__all__ = ["Outcome", "Step"]


class Outcome(NamedTuple):
    """What a step tells, to be read when the epoch ends."""

    terms: list[str]
    """Names of the terms of the loss."""
    values: Tensor
    """(1 + terms + parameters,): the loss and each term, of the share of this process, and the norm of the
    gradient of each parameter."""


class Step:
    """Gather a batch, and have the optimiser follow the gradient of its loss.

    On a GPU nothing of it is waited for, and nothing but its tensors is different from step to step: so it
    can be captured (:mod:`mmjsd.training.capture`).

    Args:
        objective: with the model that is trained.
        optimiser: of that model.
        data: makes the batch of a part.
        computing: context of the forward pass, its precision.
        clipping: largest norm of the gradient of all parameters together; None: any.
        share: what this process has of each batch.
    """

    def __init__(
        self,
        objective: Objective,
        optimiser: torch.optim.Optimizer,
        data: ResidentSplit | StreamedSplit,
        computing: Any,
        clipping: float | None,
        share: distributed.Share,
    ):
        self.objective, self.model, self.optimiser = objective, objective.model, optimiser
        self.loss: Callable[[Batch, Tensor | float], Loss] = objective
        """The objective, or what it was compiled to, and its gradients averaged over the processes."""
        self.data, self.computing, self.clipping, self.share = data, computing, clipping, share

    def __call__(self, warmup: Tensor | float, *part: Tensor) -> Outcome:
        """Make the step of a part; beta is times `warmup`."""
        batch = self.data.batch(*part)
        with self.computing, distributed.sharing(self.share):
            loss = self.loss(batch, warmup)
        self.optimiser.zero_grad(set_to_none=True)
        loss.loss.backward(self.share.weight(loss.loss))
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        if self.clipping is not None:
            total = torch.linalg.vector_norm(torch.stack(norms))
            clip_grads_with_norm_(self.model.parameters(), self.clipping, total)
        self.optimiser.step()
        return Outcome(list(loss.terms), torch.stack([loss.loss.detach(), *loss.terms.values(), *norms]))

    @contextmanager
    def rehearsed(self) -> Iterator[None]:
        """Undo, at the end, all that steps did meanwhile; every tensor stays where it is."""
        before = {id(tensor): tensor.detach().clone() for tensor in self._changing()}
        random = random_state(self.model.device)
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor in self._changing():
                    # what the optimiser keeps of its steps is zero before the first
                    tensor.copy_(before[id(tensor)]) if id(tensor) in before else tensor.zero_()
            self.optimiser.zero_grad(set_to_none=True)
            restore_random_state(random, self.model.device)

    def _changing(self) -> list[Tensor]:
        """Weights, statistics of batches, and what the optimiser keeps."""
        kept = [value for state in self.optimiser.state.values() for value in state.values()]
        return [*self.objective.parameters(), *self.objective.buffers(), *kept]
