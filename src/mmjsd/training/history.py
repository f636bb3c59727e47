"""The history of a training: one row an epoch, `history.csv`."""

import csv
import io
from pathlib import Path

from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import atomic_write

__all__ = ["Row", "is_term", "read_history", "write_history"]

Row = dict[str, float]
"""`epoch`, `loss`, each term of the loss, `samples_per_second` and `seconds`."""


def is_term(column: str) -> bool:
    """Tell whether a column is the loss or one of its terms."""
    return column == "loss" or "/" in column


def write_history(path: Path, rows: list[Row]) -> None:
    """Write the rows.

    Raises:
        OSError: they cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """Read the rows of a history.csv.

    Raises:
        MmjsdError: missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if {"loss", "seconds", "samples_per_second"} <= rows[0].keys() and [
            row["epoch"] for row in rows
        ] == list(range(1, len(rows) + 1)):
            return rows
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; train the run with `mmjsd train`") from None
    except (ValueError, TypeError, LookupError, csv.Error):
        pass
    raise MmjsdError(f"{path}: damaged; train the run again with `mmjsd train`")
