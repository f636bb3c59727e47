"""What is accumulated in an epoch: its mean terms, and whether everything was finite."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmjsd import distributed
from mmjsd.errors import MmjsdError
from mmjsd.models.weights import not_finite
from mmjsd.training.history import Row
from mmjsd.training.step import Outcome

__all__ = ["Epoch"]


class Epoch:
    """Losses and terms of the steps of an epoch; nothing is read from the device before it ends.

    Args:
        steps: of the epoch.
        device: to accumulate on.
        share: what this process has of each batch.
        saved: how far it had come when it was saved.
    """

    def __init__(
        self,
        steps: int,
        device: torch.device,
        share: distributed.Share,
        saved: dict[str, Any] | None = None,
    ):
        self.steps, self.share = steps, share
        self.losses = torch.zeros(steps, device=device)
        self.terms: list[str] = []
        self.sums = torch.zeros(0, device=device)
        self.done, self.started = 0, time.perf_counter()
        if saved:
            self.losses, self.sums = saved["losses"].to(device), saved["sums"].to(device)
            self.terms, self.done = saved["terms"], saved["steps"]
            self.started -= saved["seconds"]
        self.first = self.summed = self.done
        self.values: Tensor | None = None

    def add(self, outcome: Outcome) -> None:
        """Add a step, whose values may be overwritten by the next."""
        self.terms, values = outcome
        if self.values is None:  # how many there are, the first step tells
            self.values = values.new_empty(self.steps - self.first, len(values))
            self.sums = self.sums if len(self.sums) else values.new_zeros(len(self.terms))
        self.values[self.done - self.first] = values
        self.losses[self.done] = values[0]
        self.done += 1

    def _sum_up(self) -> None:
        """Add the steps since the last time, of which no process knows the others' shares."""
        assert self.values is not None
        steps = slice(self.summed - self.first, self.done - self.first)
        told = self.values[steps, : 1 + len(self.terms)]
        told.copy_(distributed.averaged(told, self.share))
        self.losses[self.summed : self.done] = told[:, 0]
        for row in told[:, 1:]:
            self.sums += row
        self.summed = self.done

    @property
    def seconds(self) -> float:
        """How long it has lasted, interruptions left out."""
        return time.perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        """Tell how far it has come, to go on from."""
        self._sum_up()
        return {
            **{"losses": self.losses, "terms": self.terms, "sums": self.sums},
            **{"steps": self.done, "seconds": self.seconds},
        }

    def row(self, epoch: int, batch_size: int) -> Row:
        """Sum it up as a row of the history; the number of the epoch counts from 0."""
        self._sum_up()
        seconds = self.seconds
        return (
            {"epoch": epoch + 1, "loss": self.losses.mean().item()}
            | dict(zip(self.terms, (self.sums / self.steps).tolist(), strict=True))
            | {"samples_per_second": self.steps * batch_size / seconds, "seconds": seconds}
        )

    def refuse_unless_finite(self, model: nn.Module, where: str, checkpoint: Path) -> None:
        """Raise what was not finite first, and in which step.

        Args:
            model: as it is after the steps so far.
            where: the run and epoch, for people.
            checkpoint: that of before, if there is one.

        Raises:
            MmjsdError: a loss, term, gradient or weight was not.
        """
        self._sum_up()
        assert self.values is not None
        fault, terms = None, self.terms
        checked = torch.isfinite(self.values[: self.done - self.first])
        if len(bad := (~checked.all(1)).nonzero()):
            step = int(bad[0])
            loss, *others = checked[step].tolist()
            fault = f"step {self.first + step + 1}: "
            wrong = [term for term, is_finite in zip(terms, others, strict=False) if not is_finite]
            if wrong or not loss:
                fault += f"loss is not finite ({', '.join(wrong) or 'the sum of its terms'})"
            else:
                parameters = [name for name, _ in model.named_parameters()]
                wrong = [p for p, ok in zip(parameters, others[len(terms) :], strict=True) if not ok]
                fault += f"gradient is not finite ({_few(wrong)})"
        elif wrong := not_finite(model.state_dict()):
            fault = f"step {self.done}: weights are not finite ({_few(wrong)})"
        if fault:
            kept = f"; the last good checkpoint is kept in {checkpoint}" if checkpoint.exists() else ""
            raise MmjsdError(f"{where}, {fault}; lower its learning_rate or set gradient_clipping{kept}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
