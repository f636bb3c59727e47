"""The file of a trained model, `model.safetensors`, and the model made from parameters."""

from pathlib import Path
from typing import Any

import torch

from mmjsd import registry
from mmjsd.devices import image_layout, pick_device
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.models import weights
from mmjsd.models.vae import MultimodalVAE, Scale
from mmjsd.objectives import Objective
from mmjsd.params import Run, make_run

__all__ = ["NAME", "build", "load_model", "save_model"]

NAME = "model.safetensors"

#: What a model's file says beside its weights: key -> type.
_SAID = {"run": dict, "name": str, "seed": int, "data_sha256": str, "modalities": list, "classes": list}


def build(modalities: list[Modality], run: Run) -> Objective:
    """Build a model with fresh weights and its objective, as the run's parameters say."""
    model = MultimodalVAE(
        modalities,
        shared_latent=run.shared_latent,
        private_latent=run.private_latent,
        network_width=run.network_width,
        likelihoods=run.likelihoods,
        likelihood_scale=run.likelihood_scale,
    )
    return registry.resolve("objectives", run.objective)(model, **run.objective_options)


def save_model(folder: Path, model: MultimodalVAE, **about: Any) -> None:
    """Write a model into the folder of its run.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        model: trained.
        about: `run`, its resolved parameters, `name`, `seed`, `data_sha256` of its store, `classes`.

    Raises:
        MmjsdError: weights that are not finite.
    """
    said = {"kind": "model", **about, "modalities": [list(m) for m in model.modalities.values()]}
    if model.scales:
        said["scales"] = {
            name: [columns, mean.tolist(), deviation.tolist()]
            for name, (columns, mean, deviation) in model.scales.items()
        }
    weights.write(folder / NAME, model.state_dict(), said)


def load_model(folder: Path | str, device: str = "cpu") -> tuple[MultimodalVAE, dict[str, Any]]:
    """Load the trained model of a run's folder, in eval mode, and what its file says of it.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        device: as the `device` parameter names it.

    Raises:
        MmjsdError: no model there or a damaged one, or no such device.
    """
    path = Path(folder) / NAME
    found, about = weights.read(path, "model", "train the run (again) with `mmjsd train`")
    try:
        for key, kind in _SAID.items():
            if not isinstance(about[key], kind):
                raise TypeError(key)
        modalities = [
            Modality(name, kind, tuple(shape), size) for name, kind, shape, size in about["modalities"]
        ]
        model = build(modalities, make_run(**about["run"])).model
        model.load_state_dict(found)
        model.scales = {
            name: Scale(columns, torch.tensor(mean), torch.tensor(deviation))
            for name, (columns, mean, deviation) in about.get("scales", {}).items()
        }
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, MmjsdError):
        raise MmjsdError(f"{path}: written by another version; train the run again") from None
    place = pick_device(device)
    return model.to(place).to(memory_format=image_layout(place)).eval(), about
