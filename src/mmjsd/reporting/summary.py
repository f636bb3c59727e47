"""The headline and the training curves of all runs as plain files, which DVC tabulates and plots."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.provenance.files import atomic_write
from mmjsd.reporting.tables import headline_of
from mmjsd.training.history import is_term, read_history

__all__ = ["summarise"]


def summarise(
    rows: Sequence[Mapping[str, Any]], folder: Path, headlines: Sequence[Path], curves: Path
) -> None:
    """Write the headline of each run and seed, and the training curves of all of them.

    Args:
        rows: as of :func:`mmjsd.reporting.tables.compare`, with `folder`, that of the run and seed.
        folder: of the headlines, emptied of those of other runs.
        headlines: of each row, the JSON file of its few most telling metrics.
        curves: the CSV file, a line for each value: `curve` (dataset and term of the loss), `run`, `epoch`,
            `value` (nats per sample).

    Raises:
        MmjsdError: a metrics or history file is missing or damaged.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["curve", "run", "epoch", "value"])
    seeds = len({row["seed"] for row in rows})
    for row, path in zip(rows, headlines, strict=True):
        metrics = read_metrics(Path(row["metrics"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(headline_of(metrics), indent=2, allow_nan=False) + "\n")
        run = row["run"] if seeds == 1 else f"{row['run']} {row['seed']}"
        for epoch in read_history(Path(row["folder"]) / "history.csv"):
            writer.writerows(
                [f"{row['dataset']}: {term}", run, int(epoch["epoch"]), value]
                for term, value in epoch.items()
                if is_term(term) and math.isfinite(value)
            )
    atomic_write(curves, text.getvalue())
    for other in set(folder.rglob("*.json")).difference(headlines):
        other.unlink()
