"""Train, evaluate and compare multimodal VAEs reproducibly."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmjsd.models.vae import MultimodalVAE

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(folder: str | Path, device: str = "cpu") -> "MultimodalVAE":
    """The trained model of results/<dataset>/<run>/seed-<n>, in eval mode, on a device such as `auto`.

    Raises:
        mmjsd.errors.MmjsdError: no model there or a damaged one, or no such device.
    """
    from mmjsd.training.model_file import load_model  # torch takes seconds to import

    return load_model(folder, device)[0]
