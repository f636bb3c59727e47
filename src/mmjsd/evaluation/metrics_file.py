"""The metrics file of an evaluated run, read back."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import read_json

__all__ = ["Metrics", "read_all", "read_metrics"]

if TYPE_CHECKING:
    import pandas as pd

_REMEDY = "make it again with `mmjsd evaluate`"


Metrics = dict[str, Any]
"""Key -> number, or text for some `meta/` keys."""


def read_metrics(path: Path) -> Metrics:
    """Read the metrics of a run that are defined on its data: those that are not finite are left out.

    Raises:
        MmjsdError: no such file, a damaged one, or a value of the wrong type.
    """
    metrics: Metrics = read_json(path, "evaluate")
    for key, value in metrics.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number and not (isinstance(value, str) and key.startswith("meta/")):
            raise MmjsdError(f"{path}: {key} is not a number; {_REMEDY}")
    for key in [key for key, value in metrics.items() if isinstance(value, float) and not isfinite(value)]:
        del metrics[key]
    return metrics


def read_all(folder: Path) -> "pd.DataFrame":
    """Read the metrics of every run and seed in a folder of results, as :func:`mmjsd.results` gives them.

    Raises:
        MmjsdError: no such folder, or a damaged file.
    """
    import pandas as pd  # slow to import

    if not folder.is_dir():
        raise MmjsdError(f"{folder}: no such folder; name that of the results")
    rows = []
    for path in folder.glob("*/*/seed-*/metrics.json"):
        dataset, run, seed, _ = path.relative_to(folder).parts
        number = seed.removeprefix("seed-")
        if number.isdecimal() and not dataset.startswith(".") and not run.startswith("."):
            metrics = read_metrics(path)
            about = {"dataset": dataset, "run": run, "seed": int(number)}
            rows.append({**about, "objective": metrics.get("meta/objective"), **metrics})
    rows.sort(key=lambda row: (row["dataset"], row["run"], row["seed"]))
    return pd.DataFrame(rows, columns=None if rows else ["dataset", "run", "seed", "objective"])
