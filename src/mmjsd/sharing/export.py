"""Models written into folders of their own."""

from pathlib import Path
from typing import Literal

from mmjsd.sharing.folders import whole_folder

__all__ = ["export"]


def export(run: Path, out: Path, format: Literal["huggingface", "onnx"]) -> None:
    """Write a trained model into a new folder, with a model card. Nothing is there if that fails.

    Args:
        run: results/<dataset>/<run>/seed-<n>.
        out: an empty folder, or one that is not there yet.
        format: what `huggingface_hub` loads and pushes, or the networks as ONNX.

    Raises:
        MmjsdError: no model there, the folder is taken, a package is not installed, or the model has
            something that the format cannot hold.
    """
    with whole_folder(out) as folder:
        if format == "huggingface":
            from mmjsd.sharing.hub import SharedVAE

            SharedVAE.of_run(run).save_pretrained(folder)
        else:
            from mmjsd.sharing.onnx_networks import write_onnx

            write_onnx(run, folder)
    print(f"{out}: its README.md says what is in it and how to use it")
