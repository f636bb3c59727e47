"""The spaces in which generated and real images are compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmjsd.data.official.download import explained
from mmjsd.errors import MmjsdError
from mmjsd.models.classifiers import Classifier
from mmjsd.models.weights import unpickled

__all__ = ["Embedding", "classifier_embedding", "inception_embedding"]

#: What torch-fidelity calls its file.
_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"

Embedding = Callable[[str, Tensor], Tensor]
"""Modality and its images (B, C, H, W) in 0..1 -> (B, D)."""


def classifier_embedding(classifiers: Mapping[str, Classifier]) -> Embedding:
    """Penultimate features (B, 128) of the dataset's own classifier of the modality."""
    return lambda name, images: classifiers[name].features(images)


def inception_embedding(weights: str | None, device: torch.device) -> Embedding:
    """Pooled features (B, 2048) of the Inception network of the FID (Heusel et al. 2017), by torch-fidelity.

    Args:
        weights: its file of weights, or `download`: torch-fidelity fetches it and keeps it.
        device: to compute on.

    Raises:
        MmjsdError: no such file, or the weights of another network.
    """
    if not weights:
        raise MmjsdError(
            "evaluation.inception_weights: the embedding inception needs a file of weights, or `download`"
        )
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = None
    if weights != "download":
        _refuse_unless_weights(Path(weights))  # before the library unpickles it without such care
        path = weights
    try:
        network: Any = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=path)
    except MemoryError:
        raise
    except Exception as error:
        if path is None:
            raise _not_downloaded(error) from None
        if isinstance(error, (RuntimeError, KeyError, TypeError, AttributeError)):
            raise MmjsdError(
                f"{weights}: weights of another network than torch-fidelity's Inception; give its file"
            ) from None
        raise
    network.to(device)

    def embed(_: str, images: Tensor) -> Tensor:
        pixels = (images.clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1)
        # at 299x299 pixels inside the network, a few at a time are enough to fill any device
        return torch.cat([network(part)[0] for part in pixels.split(64)])

    return embed


def _not_downloaded(error: Exception) -> MmjsdError:
    kept = Path(torch.hub.get_dir(), "checkpoints", _WEIGHTS)
    if kept.is_file():
        return MmjsdError(
            f"{kept}: damaged, or weights of another network; delete it, to have it fetched again"
        )
    cause, remedy = explained(error)
    return MmjsdError(
        f"evaluation.inception_weights: cannot be downloaded: {cause}; {remedy}, or get "
        f"torch-fidelity's file {_WEIGHTS} and give its path"
    )


def _refuse_unless_weights(path: Path) -> None:
    remedy = "evaluation.inception_weights must be torch-fidelity's file of weights"
    if not isinstance(unpickled(path, remedy), dict):
        raise MmjsdError(f"{path}: damaged, or not a file of weights; {remedy}")
