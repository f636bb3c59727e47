"""Files of weights: written whole or not at all, finite, and read without executing code from them."""

import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmjsd.errors import MmjsdError
from mmjsd.records import atomic_write

__all__ = ["not_finite", "random_state", "read", "restore_random_state", "unpickled", "write"]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values. Equal content gives equal bytes, whatever the file is called.

    Raises:
        MmjsdError: content["weights"] has values that are not finite; nothing is written.
    """
    if wrong := not_finite(content["weights"]):
        raise MmjsdError(f"{path}: not written, for its weights are not finite ({', '.join(wrong)})")
    buffer = io.BytesIO()  # torch.save puts the name of the file it writes to into the file
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def read(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Content of a file that `write` wrote with content["kind"] == kind, on the CPU.

    Raises:
        MmjsdError: missing, cut short, not such a file, of another kind, or with weights that are not
            finite; the line ends with `remedy`.
    """
    content = unpickled(path, remedy)
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise MmjsdError(f"{path}: not a {kind}; {remedy}")
    weights = content.get("weights")
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise MmjsdError(f"{path}: has no weights; {remedy}")
    if wrong := not_finite(weights):
        raise MmjsdError(f"{path}: its weights are not finite ({', '.join(wrong[:3])}); {remedy}")
    return content


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that have values that are not finite."""
    return [name for name, value in weights.items() if not torch.isfinite(value).all()]


def unpickled(path: Path, remedy: str) -> Any:
    """Content of any file of tensors and plain values, on the CPU, read without executing code from it.

    Raises:
        MmjsdError: missing, damaged or not such a file; the line ends with `remedy`.
    """
    try:
        if zipfile.is_zipfile(path):  # older files of weights are none
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():  # torch does not look at the check sums
                    raise zipfile.BadZipFile
        with warnings.catch_warnings(action="ignore"):  # of files that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; {remedy}") from None
    except PermissionError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except MemoryError:
        raise
    except Exception:  # whatever unpickling something else comes upon
        raise MmjsdError(f"{path}: damaged, or not a file of weights; {remedy}") from None


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
