"""The report: one HTML file with all tables and figures in it, to read and to pass on."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from mmjsd.evaluation.metrics_file import Metrics, read_metrics
from mmjsd.evaluation.presentation import headline, is_better_the_less, presentations, with_summaries
from mmjsd.flat import flat
from mmjsd.provenance.environment import describe
from mmjsd.provenance.files import atomic_write
from mmjsd.provenance.records import read_record
from mmjsd.reporting.explorer import explore, library
from mmjsd.reporting.pictures import embedded, linked
from mmjsd.reporting.tables import read_published, sections
from mmjsd.reporting.verdicts import bars_of

__all__ = ["write_report"]

#: Runs and seeds of a dataset whose figures are in the page: of more, browsers take long to open it. Those of
#: the others are links.
EMBEDDED = 40

#: Runs of a dataset that are unfolded at first.
_UNFOLDED = 6

#: How the numbers are defined, in the repository; a project made by the installed package has no such file.
_DEFINITIONS = Path("docs/numbers.md")

_Facts = list[tuple[str, Any]]


def write_report(
    rows: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    published: Path,
    template: Path,
    out: Path,
) -> None:
    """Write the report of all runs.

    Args:
        rows: as of :func:`mmjsd.reporting.tables.compare`, with `folder`, that of the run and seed, where the
            record of its evaluation is.
        datasets: key -> its parameters, and `figures`, the folder of the figures that compare its runs.
        runs: key -> its parameters.
        evaluation: the parameters of the evaluation.
        published: values from papers.
        template: of the page, for Jinja.
        out: the HTML file.

    Raises:
        MmjsdError: a file is missing or damaged.
    """
    metrics = [read_metrics(Path(row["metrics"])) for row in rows]
    shown = []
    for number, section in enumerate(sections(rows, metrics, read_published(published))):
        key, about = section.dataset, datasets[section.dataset]
        of_dataset = [pair for pair in zip(rows, metrics, strict=True) if pair[0]["dataset"] == key]
        measured: dict[str, list[Metrics]] = {}
        for row, values in of_dataset:
            measured.setdefault(row["run"], []).append(values)
        anchors = {row["run"]: _anchor(row) for row, _ in reversed(of_dataset)}  # of the first seeds
        inside = _best([values for _, values in of_dataset])[:EMBEDDED]
        facts = [_facts(row, runs[row["run"]], evaluation, values) for row, values in of_dataset]
        common = [fact for fact in facts[0] if all(fact in others for others in facts)]
        if len(facts) == 1:
            common = []
        shown.append(
            {
                "name": key,
                "section": section,
                "standin": about["source"] == "standin",
                "missing": _missing(of_dataset),
                "anchors": anchors,
                "explorer": explore(measured, anchors, f"chart-{number}-"),
                "bars": bars_of(max(map(len, measured.values()))),
                "figures": embedded(Path(about["figures"])),
                "facts": [
                    *flat({k: v for k, v in about.items() if k != "figures"}),
                    ("sha256 of the store", of_dataset[0][1].get("meta/data_sha256", "not known")),
                ],
                "common": common,
                "runs": [
                    {
                        "title": _title(row),
                        "anchor": _anchor(row),
                        "about": _about(runs[row["run"]], values),
                        "unfolded": len(of_dataset) <= _UNFOLDED,
                        "inside": place in inside,
                        "figures": embedded(folder) if place in inside else linked(folder, out),
                        "facts": [fact for fact in facts[place] if fact not in common],
                    }
                    for place, (row, values) in enumerate(of_dataset)
                    for folder in [Path(row["folder"]) / "figures"]
                ],
            }
        )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"inline": _inline, "script": _script}
    charts = any(dataset["explorer"] for dataset in shown)
    page = environment.from_string(template.read_text("utf-8")).render(
        datasets=shown,
        version=version("mmjsd"),
        environment=list(describe().items()),
        library=library() if charts else "",
        definitions=_DEFINITIONS.as_posix() if _DEFINITIONS.is_file() else "",
    )
    atomic_write(out, page)


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['run']}, seed {row['seed']}"


def _anchor(row: Mapping[str, Any]) -> str:
    return f"{row['run']}-{row['seed']}"


def _about(run: Mapping[str, Any], metrics: Metrics) -> str:
    """Say what a run is and how long it took, as far as that is known."""
    model = f"{run['objective']}, shared latent {run['shared_latent']}"
    if run["private_latent"]:
        model += f", private latents {run['private_latent']}"
    forms = {
        "meta/train_seconds": " in {:.0f} s",
        "meta/device": " on {}",
        "meta/train_samples_per_second": ", {:.0f} samples/s",
        "meta/evaluation_seconds/total": "; evaluated in {:.0f} s",
    }
    known = "".join(form.format(metrics[key]) for key, form in forms.items() if key in metrics)
    return f"{model}; {run['epochs']} epochs{known}."


def _missing(of_dataset: Iterable[tuple[Mapping[str, Any], Metrics]]) -> list[str]:
    """Say of each run which metrics it lacks that others have, a line each."""
    names = tuple(f"{metric.name}/" for metric in presentations())
    known = {_title(row): with_summaries(values) for row, values in of_dataset}
    keys = dict.fromkeys(key for values in known.values() for key in values if key.startswith(names))
    titles = {key: title for title, key in headline().items()}
    lines = []
    for title, values in known.items():
        lacking = [titles.get(key, key) for key in (*titles, *keys) if key in keys and key not in values]
        if lacking := list(dict.fromkeys(lacking)):
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            lines.append(f"{title} lacks {', '.join(lacking[:3])}{more}, which others have.")
    return lines


def _best(metrics: Sequence[Metrics]) -> list[int]:
    """Rank runs by the first metric of the headline that any has, those last that lack it."""
    summaries = [with_summaries(values) for values in metrics]
    key = next((key for key in headline().values() if any(key in values for values in summaries)), "")
    sign = 1 if is_better_the_less(key) else -1
    worst = sign * math.inf
    return sorted(range(len(metrics)), key=lambda place: sign * summaries[place].get(key, worst))


def _facts(
    row: Mapping[str, Any], run: Mapping[str, Any], evaluation: Mapping[str, Any], metrics: Metrics
) -> _Facts:
    record = read_record(Path(row["folder"]) / "evaluation.record.json")
    hashes = {**record["inputs"], **record["outputs"]}
    return [
        *flat(run),
        *flat(evaluation, "evaluation."),
        *((_fact(k), v) for k, v in metrics.items() if k.startswith("meta/")),
        *record["made"].items(),
        *((f"sha256 of {file}", digest) for file, digest in hashes.items()),
    ]


def _fact(key: str) -> str:
    """Name what a key says of a run; what ends in a slash is no file, nor need it be a folder."""
    source = key.removeprefix("meta/source_sha256/")
    return f"sha256 of all files that the store calls {source}" if source.endswith("/") else key


def _inline(text: str) -> Markup:
    """**bold** and `code` of a cell or sentence as HTML."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", marked))


def _script(value: Any) -> Markup:
    """Write a value as JSON that can stand in a script."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
