"""The comparison of all runs: one file for programs, one for people."""

import csv
import io
import itertools
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.keys import ATTRIBUTES, CHANCE, CLASSES, MISSING, SAMPLES
from mmjsd.evaluation.metrics_file import Metrics, read_metrics
from mmjsd.evaluation.presentation import headline, is_better_the_less, presentations, with_summaries
from mmjsd.params.reading import read_yaml
from mmjsd.params.sources import described, origin
from mmjsd.provenance.files import atomic_write
from mmjsd.reporting.verdicts import best, meaning_of_bold, over_seeds, written

__all__ = [
    "Section",
    "Table",
    "about_data",
    "compare",
    "duration",
    "headline_of",
    "judges_of",
    "markdown",
    "read_published",
    "sections",
]


class Table(NamedTuple):
    """Rows of cells; a cell in ** is the best of its kind or cannot be told from it, one in ` is a key."""

    header: list[str]
    rows: list[list[str]]


class Section(NamedTuple):
    """The comparison of all runs of one dataset."""

    dataset: str
    kind: str
    source: str
    """What the data are, as a sentence."""
    bold: str
    """What bold cells mean, likewise."""
    headline: Table
    groups: list[tuple[str, str, Table]]
    """Title, how to read it, all metrics of it."""
    notes: list[str]
    """On the published values."""
    classifiers: str
    """How good the judges are, or that there are none, as a sentence."""


def compare(rows: Sequence[Mapping[str, Any]], published: Path, table: Path, page: Path) -> None:
    """Write ``table`` (CSV, one row a run and seed) and ``page`` (Markdown, the runs side by side).

    Args:
        rows: each with `dataset`, its `kind` and `source`, `run`, `seed`, `objective`, `subspaces`, the path
            of its `metrics` and, where there are sweeps, the `sweep` that the run is of, or nothing.
        published: a list of values from papers: `dataset` (kind), `objective`, `subspaces`, `metric`,
            `value`, `std` where given, and `source`, the place it was read in. There need be no such file.

    Raises:
        MmjsdError: one of these files is damaged.
    """
    metrics = [read_metrics(Path(row["metrics"])) for row in rows]
    literature = read_published(published)
    atomic_write(table, _csv(rows, metrics, literature))
    atomic_write(page, _markdown(sections(rows, metrics, literature)))


#: Of a published value: key -> types.
_KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "objective", "metric", "source"), (str,)),
    "subspaces": (bool,),
    "value": (int, float),
    "std": (int, float),
}


def read_published(path: Path) -> list[dict[str, Any]]:
    """The values from papers; none where there is no such file.

    Raises:
        MmjsdError: it is damaged.
    """
    if not path.exists() and not path.is_symlink():
        return []
    entries = read_yaml(path) or []
    if not isinstance(entries, list):
        raise MmjsdError(f"{path}: must be a list of values")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not _KEYS.keys() - {"std"} <= entry.keys() <= _KEYS.keys():
            raise MmjsdError(f"{path}: entry {number} needs the keys {', '.join(_KEYS)}, the last if known")
        for key, value in entry.items():
            if not isinstance(value, _KEYS[key]) or (key != "subspaces" and isinstance(value, bool)):
                expected = _KEYS[key][-1].__name__
                raise MmjsdError(
                    f"{path}: {key} of entry {number} is {value!r}, not a {expected}; correct it"
                )
    return entries


def _is_of(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return (entry["dataset"], entry["objective"], entry["subspaces"]) == (
        row["kind"],
        row["objective"],
        row["subspaces"],
    )


# --- CSV --------------------------------------------------------------------------------------------------


def _csv(rows: Sequence[Mapping], metrics: Sequence[Metrics], literature: list[dict]) -> str:
    lines = []
    for row, measured in zip(rows, metrics, strict=True):
        about = {key: row[key] for key in ("dataset", "run", "seed", "objective", "sweep") if key in row}
        known = {f"published/{e['metric']}": e["value"] for e in literature if _is_of(e, row)}
        lines.append(about | {"data_source": row["source"]} | measured | known)
    columns = list(dict.fromkeys(key for line in lines for key in line))
    columns.sort(key=lambda key: key.startswith("published/"))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


# --- Tables -----------------------------------------------------------------------------------------------


def sections(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[Metrics], literature: list[dict[str, Any]]
) -> list[Section]:
    """The comparison by dataset, of rows as of `compare`, their metrics and the published values."""
    found = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        first = of_dataset[0]
        seeds = len({row["seed"] for row in of_dataset})
        measured: dict[str, list[Metrics]] = {}
        for row, values in zip(rows, metrics, strict=True):
            if row["dataset"] == dataset:
                measured.setdefault(row["run"], []).append(values)
        # of runs that were evaluated by another version, some may know less than others
        source = about_data(first["source"], ChainMap(*itertools.chain(*measured.values())))
        if seeds > 1:
            source += f" Values are mean ± standard deviation over {seeds} seeds."
        known = [entry for entry in literature if any(_is_of(entry, row) for row in of_dataset)]
        found.append(
            Section(
                dataset=dataset,
                kind=first["kind"],
                source=source,
                bold=meaning_of_bold(seeds),
                headline=_headline(measured, {row["run"]: row.get("sweep", "") for row in of_dataset}),
                groups=list(_groups(measured, known)),
                notes=_notes(known, standin=first["source"] == "standin"),
                classifiers=_classifiers(measured),
            )
        )
    return found


def _headline(measured: Mapping[str, list[Metrics]], sweeps: Mapping[str, str]) -> Table:
    summaries = {run: [with_summaries(metrics) for metrics in found] for run, found in measured.items()}
    columns = {}
    for title, key in headline().items():
        if any(cells := _compared(summaries, key)):
            columns[title] = cells
    seconds = [over_seeds(found, "meta/train_seconds") for found in measured.values()]
    times = [duration(run.mean) if run.values else "" for run in seconds]
    shown = ["sweep"] if any(sweeps.values()) else []
    rows = [
        [run, *(sweeps[run] for _ in shown), *(cells[index] for cells in columns.values()), times[index]]
        for index, run in enumerate(measured)
    ]
    return Table(["run", *shown, *columns, "training time"], rows)


def headline_of(metrics: Metrics) -> dict[str, float]:
    """Pick the few most telling metrics of a run, as far as it has them."""
    found = with_summaries(metrics)
    return {key: found[key] for key in (*headline().values(), "meta/train_seconds") if key in found}


def _groups(measured: Mapping[str, list[Metrics]], known: list[dict]) -> Iterator[tuple[str, str, Table]]:
    everything = [metrics for found in measured.values() for metrics in found]
    keys = dict.fromkeys(key for metrics in everything for key in metrics)
    embedding = next((m["meta/embedding"] for m in everything if "meta/embedding" in m), "")
    judges = judges_of(everything[0])
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

    for metric in presentations():
        own = [key for key in keys if key.startswith(f"{metric.name}/")]
        if own:
            header = ["metric", *measured]
            rows = [[f"`{key}`", *_compared(measured, key)] for key in own]
            if any(published := [papers(key) for key in own]):
                header += ["published"]
                rows = [[*row, cell] for row, cell in zip(rows, published, strict=True)]
            reading = metric.reading.replace("{embedding}", embedding).replace("{judges}", judges)
            yield metric.title, reading, Table(header, rows)


def _notes(known: list[dict], standin: bool) -> list[str]:
    sources = dict.fromkeys(entry["source"] for entry in known)
    notes = [f"[{number}] {source}" for number, source in enumerate(sources, 1)]
    if known and standin:
        notes.insert(0, "Published values are of the real data: they don't compare with those of a stand-in.")
    return notes


def _classifiers(measured: Mapping[str, list[Metrics]]) -> str:
    judges = judges_of(next(iter(measured.values()))[0])  # all runs of a dataset have the same
    if not judges:
        return (
            "The data have no labels: representation, coherence and all that classifiers judge are left out."
        )
    return f"{judges[:1].upper()}{judges[1:]}."


def judges_of(metrics: Metrics) -> str:
    """Say how good the classifiers are on real data, and so what coherence at most is to be expected."""
    scores: dict[str, list[str]] = {}
    for key, value in metrics.items():
        if key.startswith("classifier/"):
            measure, _, modality = key.removeprefix("classifier/").partition("/")
            scores.setdefault(measure.replace("_", " "), []).append(f"{modality} {value:.3f}")
    return "; ".join(
        f"{measure} of the judges on the test split: {', '.join(values)}"
        for measure, values in scores.items()
    )


def about_data(source: str, metrics: Mapping[str, Any]) -> str:
    """Say what data are, in sentences: their source and, as metrics tell them, samples, split and chance."""
    told = [f"{described(source)}."]
    if origin(source) == "standin":
        told = [f"**{described(source)}**. No number here is a result on the real data."]
    elif origin(source) == "folder":
        told = [f"{described(source)}, from the folder `{source}`."]
    if samples := _samples(metrics):
        told.append(f"Samples: {samples}.")
    told.append(f"Runs are judged on the split `{metrics.get('meta/split', 'test')}`.")
    if CHANCE in metrics:
        attributes = any(key.startswith(ATTRIBUTES) for key in metrics)
        what = "the mean share of samples that have one of {} attributes" if attributes else "{} classes"
        told.append(f"Chance: {metrics[CHANCE]:.3f} ({what.format(metrics[CLASSES])}).")
    return " ".join(told)


def _samples(metrics: Mapping[str, Any]) -> str:
    """The number of samples of each split, and which share of them lacks a modality."""
    sizes = {key.removeprefix(SAMPLES): metrics[key] for key in metrics if key.startswith(SAMPLES)}
    told = []
    for split, size in sizes.items():
        start = f"{MISSING}{split}/"
        shares = {key.removeprefix(start): metrics[key] for key in metrics if key.startswith(start)}
        lacking = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items() if share)
        told.append(f"{split} {size:,}{f' (missing: {lacking})' if lacking else ''}")
    return ", ".join(told)


def _compared(measured: Mapping[str, list[Metrics]], key: str) -> list[str]:
    """Mean and standard deviation of each run, in bold the best and what cannot be told from it."""
    runs = [over_seeds(found, key) for found in measured.values()]
    kinds = next(iter(measured.values()))[0]  # of the modalities, which all runs of a dataset have
    cells, bold = written(runs), best(runs, less=is_better_the_less(key, kinds))
    return [f"**{cell}**" if among else cell for cell, among in zip(cells, bold, strict=True)]


def duration(seconds: float) -> str:
    """Write a time in the unit that fits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


# --- Markdown ---------------------------------------------------------------------------------------------


def _markdown(found: Sequence[Section]) -> str:
    parts = ["# Comparison"]
    for section in found:
        parts += [
            f"## {section.dataset} ({section.kind})",
            f"Data: {section.source}",
            markdown(section.headline),
            section.bold,
            section.classifiers,
        ]
        for title, reading, table in section.groups:
            parts += [f"### {title}", reading, markdown(table)]
        parts.append("\n\n".join(section.notes))
    return "\n\n".join(parts) + "\n"


def markdown(table: Table) -> str:
    """Write a table as Markdown has it, numbers to the right."""
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
