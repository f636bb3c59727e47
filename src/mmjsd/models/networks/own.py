"""Networks of the user's own, from a file that the parameters of a run name.

The file has two functions, of the shape of a row of the store and a width relative to the usual one:

    encoder(shape, width) -> nn.Module           # inputs (B, ...) -> features (B, F), F as it likes
    decoder(shape, latent, width) -> nn.Module   # (B, latent) -> parameters of the likelihood (B, ...)

They are tried on two inputs before training, so that a wrong shape is told at once.
"""

import hashlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmjsd.errors import MmjsdError, in_short
from mmjsd.modalities import Modality, kind_of

__all__ = ["OwnNetworks"]

_SIGNATURES = {"encoder": "encoder(shape, width)", "decoder": "decoder(shape, latent, width)"}


class OwnNetworks:
    """The networks of a file for one modality.

    Args:
        path: of the file, which is run.
        modality: that its networks are for.

    Raises:
        MmjsdError: it cannot be read or imported, or lacks a function.
    """

    sha256: str
    """Of its content."""

    def __init__(self, path: Path, modality: Modality):
        self.path, self.modality = path, modality
        self.where = f"{path}: networks of {modality.name}:"
        try:
            source = path.read_bytes()
        except OSError as error:
            raise MmjsdError(f"{self.where} cannot be read ({error.strerror}); put the file there") from None
        self.sha256 = hashlib.sha256(source).hexdigest()
        self.module = ModuleType(f"mmjsd_networks_{self.sha256}")
        sys.modules[self.module.__name__] = self.module  # where pickle and dataclasses look for it
        try:
            exec(compile(source, path, "exec"), self.module.__dict__)
        except Exception as error:
            raise MmjsdError(f"{self.where} cannot be imported: {self._told(error)}; correct it") from None
        for name, signature in _SIGNATURES.items():
            if not callable(getattr(self.module, name, None)):
                raise MmjsdError(f"{self.where} has no function {signature}; write one")

    def encoder(self, shape: tuple[int, ...], width: float) -> tuple[nn.Module, int]:
        """Build the encoder body; its number of features is that which it gives.

        Raises:
            MmjsdError: it cannot be built, or gives something else than features (B, F).
        """
        rows = torch.from_numpy(np.zeros((2, *shape), kind_of(self.modality).DTYPE))
        body, features = self._tried("encoder", (shape, width), kind_of(self.modality).as_input(rows))
        if features.dim() != 2 or len(features) != 2:
            self._refuse("encoder", rows, features, "(2, number of features)")
        return body, features.shape[1]

    def decoder(self, shape: tuple[int, ...], latent: int, width: float) -> nn.Module:
        """Build the decoder.

        Raises:
            MmjsdError: it cannot be built, or gives another shape than the default decoder of the kind.
        """
        latents = torch.zeros(2, latent)
        usual = kind_of(self.modality).decoder(shape, latent, 0.01).eval()
        with torch.no_grad():
            expected = usual(latents).shape
        decoder, output = self._tried("decoder", (shape, latent, width), latents)
        if output.shape != expected:
            self._refuse("decoder", latents, output, str(tuple(expected)))
        return decoder

    def _tried(self, name: str, arguments: tuple[Any, ...], x: Tensor) -> tuple[nn.Module, Tensor]:
        """Build a network, and what it gives of x; its state, but for lazy parameters, stays."""
        call = f"{name}{arguments}"
        try:
            network = getattr(self.module, name)(*arguments)
        except Exception as error:
            raise MmjsdError(f"{self.where} {call} fails: {self._told(error)}; correct it") from None
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise MmjsdError(f"{self.where} {call} gives a {kind}, not a torch.nn.Module; return that")
        try:
            with torch.no_grad():
                output = network.eval()(x)
        except Exception as error:
            raise MmjsdError(
                f"{self.where} what {call} gives fails on inputs {tuple(x.shape)}: {self._told(error)}; "
                "correct it"
            ) from None
        if not isinstance(output, Tensor):
            self._refuse(name, x, output, "a tensor")
        return network.train(), output

    def _refuse(self, name: str, x: Tensor, output: Any, expected: str) -> None:
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise MmjsdError(f"{self.where} {name} gives {got} of inputs {tuple(x.shape)}; must be {expected}")

    def _told(self, error: Exception) -> str:
        """What went wrong, and in which line of the file."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(self.path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        told = error.msg if isinstance(error, SyntaxError) else in_short(error)
        return f"{type(error).__name__}: {told}{f' (line {line})' if line else ''}"
