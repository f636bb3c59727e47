"""Trained models that `huggingface_hub` saves, loads and pushes."""

import json
from pathlib import Path
from typing import Any, Self

from mmjsd.errors import MmjsdError
from mmjsd.models.vae import MultimodalVAE
from mmjsd.provenance.files import sha256_file
from mmjsd.sharing.card import card, describe_model
from mmjsd.sharing.folders import require
from mmjsd.training.model_file import NAME, load_model, save_model

require("huggingface", "huggingface_hub")

from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download  # noqa: E402

__all__ = ["SharedVAE"]


class SharedVAE(MultimodalVAE, ModelHubMixin):
    """A trained model with `save_pretrained`, `from_pretrained` and `push_to_hub`.

    Its folder has `model.safetensors`, that of the run byte by byte, `config.json`, which describes it, and
    the model card. `from_pretrained` takes a folder or a name on the Hub, and the `device` of
    :func:`mmjsd.load`.
    """

    @classmethod
    def of_run(cls, folder: Path | str, device: str = "cpu") -> Self:
        """Load the trained model of results/<dataset>/<run>/seed-<n>.

        Raises:
            MmjsdError: no model there or a damaged one, networks of its own, or no such device.
        """
        model, about = load_model(folder, device)
        for name, file in about["run"]["networks"].items():
            raise MmjsdError(
                f"{folder}: has networks of {name} from {file}, code that a shared model does not carry; "
                "export it with --format onnx"
            )
        return cls._as_shared(model, describe_model(Path(folder), about))

    @classmethod
    def _as_shared(cls, model: MultimodalVAE, config: dict[str, Any]) -> Self:
        """The same model, which is built where training builds it, as one of this class."""
        shared = cls.__new__(cls)
        shared.__dict__.update(model.__dict__)
        shared._hub_mixin_config = config
        return shared

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict[str, Any] | None = None, device: str = "cpu", **download: Any
    ) -> Self:
        if config is None:
            raise MmjsdError(f"{model_id}: has no config.json; name a folder of `mmjsd export`")
        is_here = Path(model_id).is_dir()
        path = Path(model_id) / NAME if is_here else Path(hf_hub_download(model_id, NAME, **download))
        model, about = load_model(path.parent, device)
        if (config.get("model"), config.get("sha256")) != (about, sha256_file(path)):
            raise MmjsdError(f"{model_id}: config.json is of another model than {NAME}; export both again")
        return cls._as_shared(model, config)

    def _save_pretrained(self, save_directory: Path) -> None:
        config: Any = self._hub_mixin_config
        save_model(save_directory, self, **config["model"])
        digest = sha256_file(save_directory / NAME)
        if digest != config["sha256"]:  # trained on since it was judged
            self._hub_mixin_config = config = {**config, "sha256": digest, "metrics": {}, "made": {}}
        # in its order, which the bytes of the weights' file depend on
        (save_directory / "config.json").write_text(json.dumps(config, indent=2, allow_nan=False))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Write the model card from what is known of the model."""
        config: Any = self._hub_mixin_config
        return ModelCard(card(config, "huggingface"))
