"""What MLflow's pages say of runs, sweeps and experiments, and where they show runs side by side.

A description that people have changed stays theirs.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.presentation import headline
from mmjsd.params.sources import described, origin
from mmjsd.provenance.environment import numbers_page
from mmjsd.provenance.files import read_json
from mmjsd.tracking.store import TrackingStore

__all__ = [
    "NOTE",
    "addresses",
    "note_of_experiment",
    "note_of_run",
    "note_of_sweep",
    "set_note",
    "view",
]

NOTE = "mlflow.note.content"
"""The tag that is shown as description, in Markdown."""

_PLACE = Path("results/mlflow.json")
"""Says where the runs of all datasets are, once they are published."""

#: What was written of us last.
_OURS = "pipeline.note"

#: The view of an experiment that has the headline metrics as columns, by its key in an address.
_VIEW = "headline"


def note_of_run(
    run: Mapping[str, Any], dataset: Mapping[str, Any], name: str, made: Mapping[str, str]
) -> str:
    """Describe a run by its parameters, those of its dataset of that name, and where it was logged."""
    data = _data(name, dataset["kind"], dataset["source"])
    return f"Objective {run['objective']}, seed {run['seed']}, on {data}.{_commit(made)}{_numbers()}"


def note_of_sweep(keys: list[str], runs: int, about: Mapping[str, Any], made: Mapping[str, str]) -> str:
    """Describe a sweep over parameters by its number of runs; the rest as `note_of_experiment` has it."""
    data, seeds = _data(about["name"], about["kind"], about["source"]), _times(about["seeds"], "seed")
    text = (
        f"Sweep over {', '.join(keys)} on {data}: {_times(runs, 'run')} of {seeds} each, nested in this one."
    )
    return f"{text}{_commit(made)}{_numbers()}"


def note_of_experiment(about: Mapping[str, Any], made: Mapping[str, str], experiment_id: str) -> str:
    """Describe an experiment, with links to its runs side by side.

    Args:
        about: its `name`, the `kind` and `source` of its dataset, the `objectives` of its runs and the number
            of `seeds` of each.
        made: the environment, as records have it.
        experiment_id: in MLflow.
    """
    objectives = Counter(about["objectives"])
    runs = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in objectives.items())
    data, seeds = _data(about["name"], about["kind"], about["source"]), _times(about["seeds"], "seed")
    text = f"{_times(objectives.total(), 'run')} of {seeds} each on {data}: {runs}.{_commit(made)}"
    table, charts = _pages("", experiment_id)
    return f"{text} [Headline metrics]({table}), [charts]({charts}).{_numbers()}"


def view() -> tuple[str, str]:
    """Give the tag of an experiment that makes the view of the headline, and its content."""
    columns = ["params.`objective`", "params.`seed`", *(f"metrics.`{key}`" for key in headline().values())]
    state = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
    }
    return f"mlflow.sharedViewState.{_VIEW}", json.dumps(state, allow_nan=False)


def set_note(note: str, tags: Mapping[str, str], set_tag: Callable[[str, str], Any]) -> None:
    """Set a description, unless people have changed the one that is there."""
    if tags.get(NOTE) == tags.get(_OURS) != note:
        set_tag(NOTE, note)
        set_tag(_OURS, note)


def addresses(store: TrackingStore, port: int = 5000) -> Iterator[str]:
    """Give a line for each dataset: where its runs are side by side, as a table and as charts.

    Nothing of a store that the results were not published to.
    """
    try:
        place = read_json(_PLACE, "publish")
    except MmjsdError:
        return
    if not store.is_named(str(place.get("tracking_uri"))):
        return
    base = re.sub("//[^/]*@", "//", store.uri).rstrip("/") if store.is_server else f"http://127.0.0.1:{port}"
    for name, experiment_id in place.get("experiments", {}).items():
        table, charts = _pages(f"{base}/", experiment_id)
        yield f"{name}: headline metrics {table} charts {charts}"


def _pages(base: str, experiment_id: str) -> tuple[str, str]:
    table = f"{base}#/experiments/{experiment_id}/runs?viewStateShareKey={_VIEW}"
    return table, f"{table}&compareRunsMode=CHART"


def _data(name: str, kind: str, source: str) -> str:
    caveat = ", on which no number is a result on the real ones" if origin(source) == "standin" else ""
    return f"`{name}` ({kind}: {described(source)}{caveat})"


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _commit(made: Mapping[str, str]) -> str:
    if not (commit := made.get("git.commit")):
        return ""
    changed = " with uncommitted changes" if made.get("git.dirty") == "true" else ""
    return f" Commit {commit[:12]}{changed}."


def _numbers() -> str:
    return f" How the numbers are defined: {numbers_page()}."
