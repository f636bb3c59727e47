"""The file of a trained model, `model.safetensors`, and the model made from parameters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from mmjsd import registry
from mmjsd.devices import image_layout, pick_device
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.models import weights
from mmjsd.models.networks.own import OwnNetworks
from mmjsd.models.vae import MultimodalVAE, Scale
from mmjsd.objectives import Objective
from mmjsd.params import Run, make_run
from mmjsd.provenance.files import sha256_file

__all__ = ["NAME", "build", "load_model", "save_model", "vector_scale"]

NAME = "model.safetensors"

#: What a model's file says beside its weights: key -> type.
_SAID = {
    "run": dict,
    "name": str,
    "seed": int,
    "data_sha256": str,
    "modalities": list,
    "classes": list,
    "forms": dict,
}


def build(modalities: list[Modality], run: Run, root: Path = Path()) -> Objective:
    """Build a model with fresh weights and its objective, as the run's parameters say.

    Args:
        modalities: of the store.
        run: its parameters.
        root: that the files of its own networks are relative to.

    Raises:
        MmjsdError: what is wrong with such a file.
    """
    networks = run.networks
    own = {m.name: OwnNetworks(root / networks[m.name], m) for m in modalities if m.name in networks}
    model = MultimodalVAE(
        modalities,
        shared_latent=run.shared_latent,
        private_latent=run.private_latent,
        network_width=run.network_width,
        own_networks=own,
        likelihoods=run.likelihoods,
        likelihood_scale=run.likelihood_scale,
    )
    return registry.resolve("objectives", run.objective)(model, **run.objective_options)


def vector_scale(
    dataset: Mapping[str, Any], name: str, columns: Sequence[str], mean: Any, deviation: Any
) -> Scale:
    """Give the scale of the vectors of a modality.

    Args:
        dataset: the `options` by which it was built.
        name: of the modality.
        columns, mean, deviation: as the store has them.
    """
    options = dataset.get("options", {}).get("modalities", {}).get(name, {})
    return Scale.of(columns, mean, deviation, options.get("log1p", []))


def save_model(folder: Path, model: MultimodalVAE, **about: Any) -> None:
    """Write a model into the folder of its run.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        model: trained.
        about: `run`, its resolved parameters, `name`, `seed`, `data_sha256` of its store, `classes`, and
            the `kind` and `options` of its `dataset`.

    Raises:
        MmjsdError: weights that are not finite.
    """
    said = {"kind": "model", **about, "modalities": [list(m) for m in model.modalities.values()]}
    said["forms"] = model.forms
    if model.own_networks:
        said["networks"] = {name: own.sha256 for name, own in model.own_networks.items()}
    if model.scales:
        said["scales"] = {
            name: [scale.stored, scale.mean.tolist(), scale.deviation.tolist()]
            for name, scale in model.scales.items()
        }
    weights.write(folder / NAME, model.state_dict(), said)


def load_model(folder: Path | str, device: str = "cpu") -> tuple[MultimodalVAE, dict[str, Any]]:
    """Load the trained model of a run's folder, in eval mode, and what its file says of it.

    The files of networks of its own are run: they are where the parameters say, seen from the working
    directory or from that of the results, with the content they had in training.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        device: as the `device` parameter names it.

    Raises:
        MmjsdError: no model there or a damaged one, its networks are not there or changed, or no such device.
    """
    path = Path(folder) / NAME
    if not path.exists() and (near := _models_near(Path(folder))):
        more = f", or one of {len(near) - 5} others" if len(near) > 5 else ""
        raise MmjsdError(f"{path}: no such file; did you mean {' or '.join(near[:5])}{more}?")
    found, about = weights.read(path, "model", "train the run (again) with `mmjsd train`")
    with _of_this_version(path):
        for key, kind in _SAID.items():
            if not isinstance(about[key], kind):
                raise TypeError(key)
        modalities = [
            Modality(name, kind, tuple(shape), size) for name, kind, shape, size in about["modalities"]
        ]
        run = make_run(**about["run"])
        files, digests = [Path(file) for file in run.networks.values()], about.get("networks", {})
    beside = path.absolute().parents[4] if len(path.absolute().parents) > 4 else Path()
    root = Path() if all(file.is_file() for file in files) else beside
    for name, file in run.networks.items():
        if not (root / file).is_file():
            raise MmjsdError(f"{path}: has networks of {name} from {file}, which is gone; put the file back")
        if sha256_file(root / file) != digests.get(name):
            raise MmjsdError(
                f"{path}: has networks of {name} from {file}, which has changed; restore that file, or "
                "train the run again"
            )
    with _of_this_version(path):
        model = build(modalities, run, root).model
        model.load_state_dict(found)
        model.forms = about["forms"]
        model.scales = {
            name: vector_scale(about.get("dataset", {}), name, *said)
            for name, said in about.get("scales", {}).items()
        }
    place = pick_device(device)
    return model.to(place).to(memory_format=image_layout(place)).eval(), about


def _models_near(folder: Path) -> list[str]:
    """Name the folders with a model that may be meant: of seeds below, or of a run of that name."""
    if folder.name == NAME and folder.is_file():
        return [str(folder.parent)]
    below = [place for depth in ("", "*/", "*/*/") for place in folder.glob(f"{depth}seed-*/{NAME}")]
    named = Path("results").glob(f"*/{escape(folder.name)}/seed-*/{NAME}") if folder.name else ()
    return sorted({str(place.parent) for place in (*below, *named)})


@contextmanager
def _of_this_version(path: Path) -> Iterator[None]:
    """Refuse a file of another version, whatever that leads to."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, MmjsdError):
        raise MmjsdError(f"{path}: written by another version; train the run again") from None
