"""Train, evaluate and compare multimodal VAEs reproducibly."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from mmjsd.models.vae import MultimodalVAE

__all__ = ["__version__", "load", "results", "workflow"]

__version__ = "0.2.0"


def load(folder: str | Path, device: str = "cpu") -> "MultimodalVAE":
    """Load the trained model of results/<dataset>/<run>/seed-<n>, in eval mode, on a device such as `auto`.

    Raises:
        mmjsd.errors.MmjsdError: no model there or a damaged one, or no such device.
    """
    from mmjsd.training.model_file import load_model  # torch takes seconds to import

    return load_model(folder, device)[0]


def results(folder: str | Path = "results") -> "pd.DataFrame":
    """Read the metrics of all evaluated runs: a row a run and seed, a column a metric, NaN for none.

    The first columns are `dataset`, `run`, `seed` and `objective`. Runs without a metrics.json are left out.

    Raises:
        mmjsd.errors.MmjsdError: no such folder, or a damaged metrics.json.
    """
    from mmjsd.evaluation.metrics_file import read_all

    return read_all(Path(folder))


def workflow() -> Path:
    """Locate the workflow, for the Snakefile of a project: `include: mmjsd.workflow()`."""
    from mmjsd.project import FILES

    return FILES / "Snakefile"
