"""The comparison of all runs: one file for programs, one for people."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmjsd.errors import MmjsdError
from mmjsd.records import atomic_write

__all__ = ["compare"]

#: Parts of a metrics file that say how it came about, or don't compare across objectives.
_NOT_COMPARED = ("meta/", "train/", "classifier/")

_SOURCES = {
    "standin": "**generated stand-in data**. No number here is a result on the real data.",
    "download": "the official files.",
}
_READING = """\
Accuracies and coherences are shares between 0 and 1, more is better; `coherence/conditional/A/j` is how often
modality j, generated from the modalities A, shows the class that A has, as the classifier of j sees it.
A coherence means little where that classifier is weak, and random coherence also counts samples that are no
class at all as long as the classifiers agree."""

_Metrics = dict[str, Any]


def compare(rows: Sequence[Mapping[str, Any]], published: Path, table: Path, page: Path) -> None:
    """Write ``table`` (CSV, one row a run and seed) and ``page`` (Markdown, the runs side by side).

    Args:
        rows: each with `dataset`, its `kind` and `source`, `run`, `seed`, `objective`, `subspaces` and the
            path of its `metrics`.
        published: a list of values from papers: `dataset` (kind), `objective`, `subspaces`, `metric`,
            `value`, `std` where given, and `source`, the place it was read in. There need be no such file.

    Raises:
        MmjsdError: one of these files is damaged.
    """
    metrics = [_read_metrics(Path(row["metrics"])) for row in rows]
    literature = _read_published(published)
    atomic_write(table, _table(rows, metrics, literature))
    atomic_write(page, _page(rows, metrics, literature))


def _read_metrics(path: Path) -> _Metrics:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise MmjsdError(f"{path}: damaged; evaluate the run again with `mmjsd evaluate`")
    return content


_KEYS = {"dataset", "objective", "subspaces", "metric", "value", "source"}


def _read_published(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MmjsdError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(entries, list):
        raise MmjsdError(f"{path}: must be a list of values")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not _KEYS <= entry.keys() <= _KEYS | {"std"}:
            raise MmjsdError(
                f"{path}: entry {number} needs the keys {', '.join(sorted(_KEYS))}; std if known"
            )
    return entries


def _is_of(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return (entry["dataset"], entry["objective"], entry["subspaces"]) == (
        row["kind"],
        row["objective"],
        row["subspaces"],
    )


# --- CSV --------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Mapping], metrics: Sequence[_Metrics], literature: list[dict]) -> str:
    lines = []
    for row, measured in zip(rows, metrics, strict=True):
        about = {key: row[key] for key in ("dataset", "run", "seed", "objective")}
        known = {f"published/{e['metric']}": e["value"] for e in literature if _is_of(e, row)}
        lines.append(about | {"data_source": row["source"]} | measured | known)
    columns = list(dict.fromkeys(key for line in lines for key in line))
    columns.sort(key=lambda key: key.startswith("published/"))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


# --- Markdown ---------------------------------------------------------------------------------------------


def _page(rows: Sequence[Mapping], metrics: Sequence[_Metrics], literature: list[dict]) -> str:
    parts = ["# Comparison"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        first = of_dataset[0]
        seeds = len({row["seed"] for row in of_dataset})
        measured: dict[str, list[_Metrics]] = {}
        for row, found in zip(rows, metrics, strict=True):
            if row["dataset"] == dataset:
                measured.setdefault(row["run"], []).append(found)
        source = _SOURCES.get(first["source"], f"the files in `{first['source']}`.")
        parts += [
            f"## {dataset} ({first['kind']})",
            f"Data: {source}"
            + (f" Values are mean ± standard deviation over {seeds} seeds." if seeds > 1 else ""),
            _headline(measured),
            "### All metrics",
            _READING,
            _all_metrics(of_dataset, measured, literature),
            "### Classifiers",
            "Accuracy of the judges on the test split: " + _classifiers(measured) + ".",
        ]
    return "\n\n".join(parts) + "\n"


def _headline(measured: Mapping[str, list[_Metrics]]) -> str:
    columns = {
        "conditional coherence, mean": "coherence/conditional/mean",
        "random coherence": "coherence/random",
        "representation accuracy, mean": "representation/accuracy/mean",
    }
    cells = [_best(_values(measured, key)) for key in columns.values()]
    seconds = _values(measured, "meta/train_seconds").values()
    times = [_duration(statistics.mean(values)) if values else "" for values in seconds]
    lines = [[run, *(column[index] for column in cells), times[index]] for index, run in enumerate(measured)]
    return _markdown(["run", *columns, "training time"], lines)


def _all_metrics(
    rows: Sequence[Mapping], measured: Mapping[str, list[_Metrics]], literature: list[dict]
) -> str:
    keys = dict.fromkeys(
        key
        for found in measured.values()
        for metrics in found
        for key in metrics
        if not key.startswith(_NOT_COMPARED)
    )
    known = [entry for entry in literature if any(_is_of(entry, row) for row in rows)]
    sources = list(dict.fromkeys(entry["source"] for entry in known))

    def papers(key: str) -> str:
        cells = []
        for entry in known:
            if entry["metric"] == key:
                subspaces = " with subspaces" if entry["subspaces"] else ""
                deviation = f" ± {entry['std']}" if "std" in entry else ""
                place = sources.index(entry["source"]) + 1
                cells.append(f"{entry['objective']}{subspaces} {entry['value']}{deviation} [{place}]")
        return "; ".join(cells)

    lines = [[f"`{key}`", *_best(_values(measured, key)), papers(key)] for key in keys]
    table = _markdown(["metric", *measured, "published"], lines)
    if not known:
        return table + "\n\nNo published value was seen in a citable place, so none is quoted."
    notes = [f"[{number}] {source}" for number, source in enumerate(sources, 1)]
    if any(row["source"] == "standin" for row in rows):
        notes.insert(0, "Published values are of the real data: they don't compare with those of a stand-in.")
    return "\n\n".join([table, *notes])


def _classifiers(measured: Mapping[str, list[_Metrics]]) -> str:
    prefix = "classifier/accuracy/"
    metrics = next(iter(measured.values()))[0]  # all runs of a dataset have the same judges
    found = [f"{key.removeprefix(prefix)} {metrics[key]:.3f}" for key in metrics if key.startswith(prefix)]
    return ", ".join(found)


def _values(measured: Mapping[str, list[_Metrics]], key: str) -> dict[str, list[float]]:
    """Of each run, the finite values of a metric over its seeds."""
    return {
        run: [m[key] for m in found if isinstance(m.get(key), (int, float)) and math.isfinite(m[key])]
        for run, found in measured.items()
    }


def _best(values: Mapping[str, list[float]]) -> list[str]:
    """Mean and standard deviation of each run, the highest mean in bold, ties included."""
    means = [f"{statistics.mean(found):.3f}" if found else "" for found in values.values()]
    cells = [
        f"{mean} ± {statistics.stdev(found):.3f}" if len(found) > 1 else mean
        for mean, found in zip(means, values.values(), strict=True)
    ]
    best = max((mean for mean in means if mean), key=float, default=None)
    return [f"**{cell}**" if mean == best else cell for mean, cell in zip(means, cells, strict=True)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] + ["---:"] * (len(header) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
