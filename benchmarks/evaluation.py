"""What evaluating and drawing a run takes, by metric and by figure.

A run of a parameter file is trained for one epoch and judged by classifiers of one epoch: how long its
evaluation takes does not depend on how good it is. Seconds are medians of the turns; the start of the process
is not among them (`startup.py`).
"""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from measuring import Row, parsed, parser, report, run

from mmjsd import cli, params
from mmjsd.errors import MmjsdError
from mmjsd.pipeline.step import entry
from mmjsd.reporting.catalogue import Entry

REPOSITORY = Path(__file__).parents[1]
SMALL = {
    "digits": {
        "kind": "mnist_svhn_text",
        "options": {"standin_train": 20, "standin_test": 20, "pairs_per_sample": 1},
    },
    "evaluation": {
        **{"train_samples": 10, "random_samples": 10, "test_samples": 20, "quality_samples": 20},
        **{"likelihood_pairs": 2, "importance_samples": 1, "threads": 1},
    },
}


def prepared(options: Any) -> dict[str, Any]:
    """Give the parameters of the run alone."""
    whole = params.read_yaml(options.params)
    chosen = entry(whole["runs"], options.run, "run")
    datasets = SMALL if options.quick else whole["datasets"]
    evaluation = SMALL["evaluation"] if options.quick else whole.get("evaluation", {})
    return {
        "datasets": {chosen["dataset"]: datasets[chosen["dataset"]]},
        "training": {**whole.get("training", {}), "tracking": "after"},
        "evaluation": {**evaluation, "classifier_epochs": 1, "device": "cpu"},
        "runs": {options.run: {**chosen, "epochs": 1, "device": "cpu"}},
    }


def command(*words: str) -> float:
    """Run a command of `mmjsd` in this process; tell the seconds."""
    started, told = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = cli.main(words)
    if code:
        raise MmjsdError(f"{' '.join(words)}: {told.getvalue()[-500:]}")
    return time.perf_counter() - started


@contextlib.contextmanager
def each_figure() -> Iterator[dict[str, float]]:
    """Time what draws each figure while this lasts: name -> seconds."""
    taken: dict[str, float] = {}
    load = Entry.load

    def timed(figure: Entry) -> Any:
        make = load(figure)

        def draw(*given: Any) -> Any:
            started = time.perf_counter()
            drawn = make(*given)
            taken[figure.name] = time.perf_counter() - started
            return drawn

        return draw

    with patch.object(Entry, "load", timed):
        yield taken


def rows(turns: list[dict[str, float]], whole: list[float], rest: str) -> list[Row]:
    """Make a table of parts, with what is left of the whole, and the whole."""
    parts = {name: [turn[name] for turn in turns] for name in turns[0]}
    parts[rest] = [all_ - sum(turn.values()) for all_, turn in zip(whole, turns, strict=True)]
    parts["all of it"] = whole
    return [
        {
            "what": name,
            "seconds": median(taken),
            "share": median(part / all_ for part, all_ in zip(taken, whole, strict=True)),
        }
        for name, taken in parts.items()
    ]


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--params", default=str(REPOSITORY / "params.yaml"), metavar="FILE")
    options.add_argument("--run", default="digits-mmjsd", help="of the parameter file")
    options.add_argument("--turns", type=int, default=3)
    options = parsed(options, turns=1)
    chosen = prepared(options)
    (dataset,) = chosen["datasets"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("params.yaml").write_text(json.dumps(chosen))
        command("data", "build", dataset)
        for modality in params.load("params.yaml").datasets[dataset].modalities:
            command("classify", dataset, modality)
        command("train", options.run)
        evaluating, metrics, drawing, figures = [], [], [], []
        start = "meta/evaluation_seconds/"
        for _ in range(options.turns + 1):
            evaluating.append(command("evaluate", options.run, "--force"))
            (file,) = Path("results").glob("*/*/seed-*/metrics.json")
            known = json.loads(file.read_text())
            timers = {key.removeprefix(start): value for key, value in known.items() if key.startswith(start)}
            metrics.append({name: value for name, value in timers.items() if name != "total"})
            with each_figure() as taken:
                drawing.append(command("figures", options.run, "--force"))
            figures.append(taken)
    # the first ones import
    tables = {
        f"Evaluation of {options.run}": rows(metrics[1:], evaluating[1:], "outside of the timers"),
        f"Figures of {options.run}": rows(figures[1:], drawing[1:], "loading, encoding, writing files"),
    }
    results = {
        "evaluation, seconds": median(evaluating[1:]),
        "evaluation, share outside of the timers": tables[f"Evaluation of {options.run}"][-2]["share"],
        "figures, seconds": median(drawing[1:]),
    }
    report(options, tables, results)


if __name__ == "__main__":
    run(main)
