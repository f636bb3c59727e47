"""How far the same run drifts apart elsewhere.

Trains one run again, with other numbers of threads and on a GPU where there is one, in float32 and with
autocast, and evaluates the same weights again and with other numbers of threads. Tells the difference from
the first run of each precision: relative of the loss after some steps, absolute of the metrics that most
look at, and the largest relative one of any metric where the weights are the same.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from measuring import Row, parsed, parser, report, run

from mmjsd.training.history import read_history

BATCH = 256
EVALUATION = {
    **{"threads": 1, "random_samples": 1000, "quality_samples": 500},
    **{"likelihood_pairs": 50, "importance_samples": 10},
}
SMALL = {"classifier_epochs": 1, "train_samples": 10, "random_samples": 10, "quality_samples": 20}
ALIKE = {"device": "cpu", "compile": "off", "tracking": "after"}
METRICS = ("coherence/conditional/mean", "representation/accuracy/mean")


def parameters(steps: int, *, quick: bool = False) -> dict[str, Any]:
    """The runs differ in where they are trained; one step an epoch, so that the history tells each loss."""
    places: dict[str, dict[str, Any]] = {"one": {}, "one-again": {}}
    if not quick:
        counts = [count for count in (2, 4, 8) if count <= (os.cpu_count() or 1)]
        places |= {f"{count}-threads": {"threads": count} for count in counts}
    if torch.accelerator.is_available():
        gpu = {"device": torch.accelerator.current_accelerator().type}
        places |= {"gpu": gpu, "gpu-again": gpu}
    sizes = {"standin_train": 20 if quick else BATCH, "standin_test": 20 if quick else 500}
    return {
        "seeds": [1],
        "datasets": {"digits": {"kind": "mnist_svhn_text", "options": {**sizes, "pairs_per_sample": 1}}},
        "training": {"batch_size": BATCH, "epochs": steps, "threads": 1, **ALIKE},
        "evaluation": EVALUATION | (SMALL if quick else {}),
        "runs": {
            f"{precision}-{place}": {
                "dataset": "digits",
                "objective": "mmjsd",
                "precision": precision,
                **options,
            }
            for precision in (("float32",) if quick else ("float32", "bfloat16"))
            for place, options in places.items()
        },
    }


def mmjsd(folder: Path, *command: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "mmjsd", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )


def metrics(folder: Path, run: str) -> dict[str, float]:
    values = json.loads((folder / f"results/digits/{run}/seed-1/metrics.json").read_text())
    return {key: value for key, value in values.items() if not key.startswith("meta/")}


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--steps", type=int, default=300)
    options = parsed(options, steps=2)
    chosen = parameters(options.steps, quick=options.quick)
    steps = [step for step in (1, 10, 100, 300, 1000) if step <= options.steps]
    rows: list[Row] = []
    again: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "first"
        folder.mkdir()
        (folder / "params.yaml").write_text(json.dumps(chosen))
        mmjsd(folder, "data", "build", "digits")
        for modality in ("mnist", "svhn", "text"):
            mmjsd(folder, "classify", "digits", modality)
        for run_name, given in chosen["runs"].items():
            mmjsd(folder, "train", run_name)
            mmjsd(folder, "evaluate", run_name)
            first = f"{given['precision']}-one"
            losses, ours = (
                [row["loss"] for row in read_history(folder / f"results/digits/{r}/seed-1/history.csv")]
                for r in (first, run_name)
            )
            before, after = metrics(folder, first), metrics(folder, run_name)
            apart = {f"loss at step {step}": abs(ours[step - 1] / losses[step - 1] - 1) for step in steps}
            apart |= {key: abs(after[key] - before[key]) for key in METRICS}
            rows.append({"run": run_name, **apart})
        before = metrics(folder, "float32-one")
        for threads in (1,) if options.quick else (1, 2):
            other = Path(shutil.copytree(folder, Path(name) / f"evaluated-{threads}"))
            evaluation = chosen["evaluation"] | {"threads": threads}
            (other / "params.yaml").write_text(json.dumps(chosen | {"evaluation": evaluation}))
            mmjsd(other, "evaluate", "float32-one")
            after = metrics(other, "float32-one")
            largest = max(abs(after[key] - value) / max(1.0, abs(value)) for key, value in before.items())
            again.append({"threads": threads, "largest difference of a metric": largest})
    results = {f"{row['run']}, loss at step {steps[-1]}": row[f"loss at step {steps[-1]}"] for row in rows}
    tables = {"Trained again: relative differences of losses, absolute ones of metrics": rows}
    report(options, tables | {"The same weights evaluated": again}, results)


if __name__ == "__main__":
    run(main)
