"""Files of weights: safetensors with what is to be said of them, whole and finite or refused.

Such files cannot hold code. They have one entry of metadata, `mmjsd`, a JSON object.
"""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import atomic_write

__all__ = ["not_finite", "read", "refuse_unless_finite", "unpickled", "write"]

Weights = Mapping[str, Tensor]


def write(path: Path, weights: Weights, about: Mapping[str, Any]) -> None:
    """Write weights and what is to be said of them. Equal content gives equal bytes.

    Raises:
        MmjsdError: there are weights that are not finite; nothing is written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    refuse_unless_finite(path, weights)
    # one entry: of several, the library writes one first and then another
    noted = json.dumps({**about, "sha256": _digest(weights, about)}, allow_nan=False)
    atomic_write(path, save(weights, {"mmjsd": noted}))


def read(path: Path, kind: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write` wrote with about["kind"] == kind.

    Returns:
        The weights, on the CPU, and what the file says of them.

    Raises:
        MmjsdError: missing, damaged, not such a file, of another kind, or with weights that are not finite;
            the line ends with `remedy`.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("mmjsd", "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        older = path.with_suffix(".pt")
        if older.is_file():
            raise MmjsdError(
                f"{older}: written by version 0.1, which kept weights otherwise; {remedy}"
            ) from None
        raise MmjsdError(f"{path}: no such file; {remedy}") from None
    except PermissionError as error:
        raise MmjsdError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except (SafetensorError, OSError, ValueError, RecursionError):
        raise MmjsdError(f"{path}: damaged, or not a file of weights; {remedy}") from None
    if not isinstance(about, dict) or about.get("kind") != kind:
        raise MmjsdError(f"{path}: not a {kind}; {remedy}")
    if about.pop("sha256", None) != _digest(weights, about):
        raise MmjsdError(f"{path}: damaged, its content is not what was written; {remedy}")
    refuse_unless_finite(path, weights, remedy)
    return weights, about


def not_finite(weights: Weights) -> list[str]:
    """Name the tensors that have values that are not finite."""
    return [name for name, value in weights.items() if not torch.isfinite(value).all()]


def refuse_unless_finite(path: Path, weights: Weights, remedy: str = "") -> None:
    """Refuse weights that are not finite: to be written to the file, or, with a remedy, read from it.

    Raises:
        MmjsdError: some are not; the line ends with the remedy.
    """
    wrong = not_finite(weights)
    if wrong and remedy:
        raise MmjsdError(f"{path}: its weights are not finite ({', '.join(wrong[:3])}); {remedy}")
    if wrong:
        raise MmjsdError(f"{path}: not written, for its weights are not finite ({', '.join(wrong)})")


def unpickled(path: Path, remedy: str) -> Any:
    """Read a torch file of tensors and plain values, on the CPU, without executing code from it.

    Raises:
        MmjsdError: missing, unreadable, damaged or not such a file; the line ends with `remedy`.
    """
    try:
        if zipfile.is_zipfile(path):  # older files of torch are none
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


def _digest(weights: Weights, about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, allow_nan=False).encode())
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
