"""What must be equal between a disturbed and an undisturbed pipeline, and what must be gone."""

import csv
import io
import json
import sqlite3
from pathlib import Path

UNFINISHED = "checkpoint.pt"


def numbers(folder: Path) -> dict[str, object]:
    """All products and source files but records, without what tells the time a step took."""
    files = [path for top in ("data", "results") for path in (folder / top).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): _numbers(path) for path in files if _is_result(path)}


def _is_result(path: Path) -> bool:
    is_note = path.name.endswith("record.json") or path.name == "mlflow.json"
    return not (is_note or path.name.startswith(".") or path.name == UNFINISHED)


def _numbers(path: Path) -> object:
    content = path.read_bytes()
    if path.suffix == ".json":
        return [(key, value) for key, value in json.loads(content).items() if not _is_time(key)]
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [[(key, value) for key, value in row.items() if not _is_time(key)] for row in rows]
    return content


def _is_time(key: str) -> bool:
    return "seconds" in key or "per_second" in key


def leftovers(folder: Path) -> list[Path]:
    """Files under temporary names, and unfinished work."""
    hidden = [path for top in ("data", "results") for path in (folder / top).rglob(".*")]
    return hidden + list((folder / "results").rglob(UNFINISHED))


def logged(folder: Path) -> list[tuple[str, str, int, int]]:
    """Name, status, number of metrics and of parameters of each run in MLflow."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        return database.execute(
            "select name, status, (select count(*) from metrics m where m.run_uuid = r.run_uuid),"
            " (select count(*) from params p where p.run_uuid = r.run_uuid)"
            " from runs r where lifecycle_stage = 'active' order by name"
        ).fetchall()


def assert_as_before(folder: Path, before: dict[str, object], runs: list[tuple[str, str, int, int]]) -> None:
    """The folder has these `numbers`, these runs `logged`, and no `leftovers`."""
    after = numbers(folder)
    assert after.keys() == before.keys()
    different = {name for name in after if after[name] != before[name]}
    assert different <= {"results/comparison.md", "results/report.html"}  # they tell the time it took
    assert logged(folder) == runs
    assert leftovers(folder) == []
