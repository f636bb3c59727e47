"""The MLflow run that training has begun and `track` completes, as a file in the run's folder notes it."""

import json
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.params import Run
from mmjsd.provenance.files import atomic_write
from mmjsd.provenance.records import fingerprint_of, read_record
from mmjsd.tracking.store import TrackingStore, tracking_store

__all__ = ["NOTE", "begun_run", "note_run", "unfinished_run"]

NOTE = "live.json"
"""There until the run is complete."""


def note_run(folder: Path, store: TrackingStore, run_id: str, fingerprint: str) -> None:
    """Note the run that a training logs to, and the fingerprint of that training.

    Raises:
        OSError: it cannot be written.
    """
    content = {"run_id": run_id, "tracking_uri": store.shown, "fingerprint": fingerprint}
    atomic_write(folder / NOTE, json.dumps(content, indent=2, allow_nan=False) + "\n")


def begun_run(folder: Path, store: TrackingStore) -> tuple[str, str] | None:
    """Give the noted run of this store, its id and fingerprint; None if there is none."""
    note = _read(folder / NOTE)
    if not store.is_named(str(note.get("tracking_uri"))):
        return None
    return str(note.get("run_id")), str(note.get("fingerprint"))


def unfinished_run(folder: Path) -> str | None:
    """Give the id of the run that the finished training of a folder has logged to, and nobody completed."""
    if not (begun := begun_run(folder, tracking_store())):
        return None
    run_id, fingerprint = begun
    try:
        record = read_record(folder / "training.record.json")
        is_of_model = fingerprint_of(record, Run.ADJUSTABLE) == fingerprint
    except MmjsdError:
        return None
    return run_id if is_of_model and _read(folder / "mlflow.json").get("run_id") != run_id else None


def _read(note: Path) -> dict[str, Any]:
    try:
        content = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
