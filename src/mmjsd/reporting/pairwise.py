"""Two runs against each other: by how much each metric differs, and what of it the data settle."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError, did_you_mean
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import headline, is_better_the_less, presentations, with_summaries
from mmjsd.provenance.records import read_record
from mmjsd.reporting.verdicts import LEVEL, difference, digits_of, holm, over_seeds, written

__all__ = ["describe_differences"]

#: Parameters of an evaluation that change the last bits of its numbers at most.
_ASIDE = ("threads", "device")


def describe_differences(runs: Mapping[str, Sequence[Path]], keys: Sequence[str] = ()) -> str:
    """Put the differences of two runs into a table, one metric a line.

    Args:
        runs: name -> the folders of its seeds, each with metrics.json and evaluation.record.json.
        keys: of the metrics; none: all of the headline.

    Raises:
        MmjsdError: a file is missing or damaged, runs are not evaluated alike, or one lacks a metric.
    """
    folders = [folder for of_run in runs.values() for folder in of_run]
    _refuse_unless_alike([folder / "evaluation.record.json" for folder in folders])
    metrics = {folder: with_summaries(read_metrics(folder / "metrics.json")) for folder in folders}
    keys = _common(metrics, keys)
    titles = {key: title for title, key in headline().items()}
    first, second = runs
    measured = {
        key: [over_seeds([metrics[folder] for folder in of_run], key) for of_run in runs.values()]
        for key in keys
    }
    differences = {key: difference(*pair) for key, pair in measured.items()}
    chances = holm([found.p for found in differences.values()])
    rows = [["metric", first, second, "difference", f"{LEVEL:.0%} interval", "by", "p", "better"]]
    for (key, found), chance in zip(differences.items(), chances, strict=True):
        digits = digits_of(measured[key])
        row = [titles.get(key, key), *written(measured[key]), f"{found.value:+.{digits}f}"]
        if math.isnan(chance):
            rows.append([*row, "unknown", "nothing", "", "not settled"])
            continue
        better = first if (found.value > 0) != is_better_the_less(key, metrics[folders[0]]) else second
        interval = " to ".join(f"{end:+.{digits}f}" for end in found.interval)
        by = "test samples" if math.isinf(found.freedom) else "seeds"
        rows.append([*row, interval, by, f"{chance:.2g}", better if chance < 1 - LEVEL else "not settled"])
    lines = [*_aligned(rows), ""]
    if (number := sum(map(math.isfinite, chances))) > 1:
        lines += [f"p: adjusted for {number} metrics (Holm); intervals: of each metric alone."]
    if min(map(len, runs.values())) == 1:
        lines += ["One seed does not show how training varies."]
    return "\n".join(lines).rstrip()


def _refuse_unless_alike(records: Sequence[Path]) -> None:
    """Raise MmjsdError where evaluations differ in parameters, data or judges."""
    contents = {path: read_record(path) for path in records}
    first, *others = contents
    for other in others:
        here, there = contents[first], contents[other]
        options = here["params"].keys() | there["params"].keys()
        inputs = here["inputs"].keys() & there["inputs"].keys()  # the store and the judges
        differing = {
            key for key in options - {*_ASIDE} if here["params"].get(key) != there["params"].get(key)
        }
        differing |= {key for key in inputs if here["inputs"][key] != there["inputs"][key]}
        if differing:
            raise MmjsdError(
                f"{other}: was not evaluated as {first} was (other {', '.join(sorted(differing))}); evaluate "
                "both again with `mmjsd evaluate`"
            )


def _common(metrics: Mapping[Path, Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The keys of metrics that all have."""
    starts = tuple(f"{metric.name}/" for metric in presentations())  # of what is better or worse
    known = dict.fromkeys(key for found in metrics.values() for key in found if key.startswith(starts))
    for key in keys:
        if key not in known:
            raise MmjsdError(f"{key}: no such metric of these runs; {did_you_mean(key, known)}")
    common = list(dict.fromkeys(keys)) or [key for key in headline().values() if key in known]
    for folder, found in metrics.items():
        if lacking := [key for key in common if key not in found]:
            raise MmjsdError(
                f"{folder / 'metrics.json'}: has no {lacking[0]}, which others have; evaluate it again, or "
                "name the metrics to compare with --metric"
            )
    return common


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
