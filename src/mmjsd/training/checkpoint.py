"""The checkpoint of a training: everything it needs to go on as if it had not been interrupted."""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmjsd import distributed
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from mmjsd.models.weights import refuse_unless_finite, unpickled
from mmjsd.provenance.files import atomic_write
from mmjsd.training.history import Row

__all__ = ["SAVE_EVERY", "Checkpoint", "random_state", "restore_random_state"]

#: Seconds after which an epoch that lasts longer is saved as far as it has come.
SAVE_EVERY = 600.0

_REMEDY = "delete it to start over"


class Checkpoint:
    """`checkpoint.pt`, replaced after every epoch, within long ones, and when a signal asks to end.

    Args:
        path: of the file.
        fingerprint: of all that determines the result.
        model, optimiser: what is trained, and by what.
        how: on what it is computed, in which precision, compiled or not.
        asked_to_end: gives the signal that asks the process to end, if there was one.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        how: str,
        asked_to_end: Callable[[], int | None],
    ):
        self.path, self.fingerprint, self.how, self.asked_to_end = path, fingerprint, how, asked_to_end
        self.model, self.optimiser = model, optimiser
        self.saved = time.perf_counter()
        self.agreed = distributed.Agreement()

    def is_due(self) -> bool:
        """Tell whether a process is asked to end, or has saved nothing for long: to all at the same step."""
        is_late = time.perf_counter() - self.saved >= SAVE_EVERY
        return self.agreed(self.asked_to_end() is not None or is_late)

    def save(self, random: dict[str, Any], history: list[Row], epoch: dict[str, Any] | None = None) -> None:
        """Save what the next epoch needs; of several processes the first does.

        Args:
            random: the random state at its start.
            history: the epochs until then.
            epoch: how far it has come, if it has begun.

        Raises:
            Interrupted: saved, and the process is asked to end.
            MmjsdError: weights are not finite; the last checkpoint is kept.
        """
        weights = self.model.state_dict()
        refuse_unless_finite(self.path, weights)
        content = {
            "kind": "checkpoint",
            "fingerprint": self.fingerprint,
            "how": self.how,
            "weights": weights,
            "optimiser": self.optimiser.state_dict(),
            "random": random,
            "history": history,
            "epoch": epoch,
        }
        if distributed.rank() == 0:
            buffer = io.BytesIO()  # torch.save puts the name of the file it writes to into the file
            torch.save(content, buffer)
            atomic_write(self.path, buffer.getvalue())
        self.saved = time.perf_counter()
        (number,) = distributed.highest(self.asked_to_end() or 0)
        if number:
            raise Interrupted(number, f"{self.path}: saved; the same command goes on from there")

    def resume(self, device: torch.device, *, replace: bool) -> tuple[list[Row], dict[str, Any] | None]:
        """Bring model, optimiser and random state to where the checkpoint was saved, if there is one.

        Args:
            device: of the model.
            replace: discard a checkpoint of other parameters, data or code instead of refusing it.

        Returns:
            The history until then, and how far the epoch after it has come if it has begun.

        Raises:
            MmjsdError: damaged, or of other parameters, data or code.
        """
        content = distributed.from_first(lambda: self._read(replace))
        if content is None:
            return [], None
        try:
            self.model.load_state_dict(content["weights"])
            self.optimiser.load_state_dict(content["optimiser"])
            restore_random_state(content["random"], device)
            until_here, history, epoch = content["how"], list(content["history"]), content["epoch"]
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
            raise MmjsdError(f"{self.path}: damaged; {_REMEDY}") from None
        if until_here != self.how:
            print(
                f"{self.path}: computed {until_here} until here, and {self.how} from here on: the numbers "
                "are not exactly those of training without interruption",
                file=sys.stderr,
                flush=True,
            )
        return history, epoch

    def _read(self, replace: bool) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        content = unpickled(self.path, _REMEDY)
        if not isinstance(content, dict) or content.get("kind") != "checkpoint":
            raise MmjsdError(f"{self.path}: not a checkpoint; {_REMEDY}")
        weights = content.get("weights")
        if not isinstance(weights, dict) or not all(isinstance(w, torch.Tensor) for w in weights.values()):
            raise MmjsdError(f"{self.path}: has no weights; {_REMEDY}")
        refuse_unless_finite(self.path, weights, _REMEDY)
        if content.get("fingerprint") == self.fingerprint:
            return content
        if replace:
            self.path.unlink()
            return None
        raise MmjsdError(
            f"{self.path}: belongs to other parameters, data or code; restore them, or start over with "
            "--replace"
        )


def random_state(device: torch.device) -> dict[str, Any]:
    """States of all generators that training on a device draws from: its own, and that of the CPU."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the states of `random_state`, that of the device if it was on such a device."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
