"""Encoders and decoders as ONNX, compared with what they are of."""

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmjsd.errors import MmjsdError, in_short
from mmjsd.modalities import kind_of
from mmjsd.models.vae import MultimodalVAE
from mmjsd.sharing.card import card, describe_model
from mmjsd.sharing.folders import require
from mmjsd.training.model_file import load_model

__all__ = ["write_onnx"]

#: Samples of the comparison; networks are traced with another number.
_COMPARED = 5


class _Encoder(nn.Module):
    """Inputs (B, ...), vectors with logarithms -> means and log-variances, (B, D) each."""

    def __init__(self, model: MultimodalVAE, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        shared, private = self.model.encode(self.model.standardised({self.name: x}))
        own = private[self.name] if self.model.private_latent else ()
        return (shared.mean[0], shared.log_variance[0], *own)


class _Decoder(nn.Module):
    """Latents (B, D) each -> the mean of a sample (B, ...), vectors with logarithms."""

    def __init__(self, model: MultimodalVAE, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, shared: Tensor, private: Tensor | None = None) -> Tensor:
        none = shared.new_zeros(len(shared), 0)
        mean = self.model.decode_mean(self.name, none if private is None else private, shared)
        return self.model.in_units({self.name: mean})[self.name]


def write_onnx(run: Path, folder: Path) -> None:
    """Write the encoder and decoder of each modality of a run as ONNX, with a model card and config.json.

    Args:
        run: results/<dataset>/<run>/seed-<n>.
        folder: to write into.

    Raises:
        MmjsdError: no model there, or a network that ONNX cannot hold or that computes something else there.
    """
    require("onnx", "onnx", "onnxruntime", "onnxscript")
    model, about = load_model(run)
    symbols = {name: kind_of(m).ALPHABET for name, m in model.modalities.items() if kind_of(m).ALPHABET}
    config = describe_model(run, about) | {"alphabets": symbols}
    means = ["shared_mean", "shared_log_variance"]
    latents = {"shared": model.shared_latent}
    if model.private_latent:
        means += ["private_mean", "private_log_variance"]
        latents |= {"private": model.private_latent}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        shared = model.draw_shared(n=_COMPARED, generator=generator)
        samples = model.in_units(model.generate_from(shared, generator=generator))
    for name, x in samples.items():
        if kind_of(model.modalities[name]).ALPHABET:
            x = x.argmax(-1)  # the most likely characters, of their probabilities
        inputs = {key: torch.randn(_COMPARED, size, generator=generator) for key, size in latents.items()}
        _write(_Encoder(model, name), {"x": x}, means, folder / f"{name}-encoder.onnx")
        _write(_Decoder(model, name), inputs, ["x"], folder / f"{name}-decoder.onnx")
    (folder / "config.json").write_text(json.dumps(config, indent=2, allow_nan=False))
    (folder / "README.md").write_text(card(config, "onnx"), encoding="utf-8")


def _write(network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
    from onnxruntime import InferenceSession

    network.eval()
    try:
        with _quiet():
            torch.onnx.export(
                network,
                tuple(x[:2].contiguous() for x in inputs.values()),
                path,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=tuple({0: "batch"} for _ in inputs),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # of the exporter, or of a network of the user's own in its hands
        raise MmjsdError(f"{path.stem}: cannot be written as ONNX ({in_short(error)})") from None
    with torch.no_grad():
        expected = network(*inputs.values())
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    computed = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    for ours, theirs in zip(expected if isinstance(expected, tuple) else (expected,), computed, strict=True):
        if not np.allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-4):
            most = float(np.abs(ours.numpy() - theirs).max())
            raise MmjsdError(
                f"{path.stem}: computes something else as ONNX, by up to {most:.2g}; what it computes must "
                "depend on its input and its weights alone"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter prints of its progress."""
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield
