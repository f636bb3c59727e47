"""How far the same run drifts apart elsewhere: `python benchmarks/determinism.py`.

Trains one run again, with other numbers of threads and on a GPU where there is one, in float32 and with
autocast, and evaluates the same weights again and with other numbers of threads. Prints the difference from
the first run of each precision: relative of the loss after some steps, absolute of the metrics that most
look at, and the largest relative one of any metric where the weights are the same.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from mmjsd.training.history import read_history

BATCH = 256
EVALUATION = {
    **{"threads": 1, "random_samples": 1000, "quality_samples": 500},
    **{"likelihood_pairs": 50, "importance_samples": 10},
}
METRICS = ("coherence/conditional/mean", "representation/accuracy/mean")


def parameters(steps: int) -> dict[str, Any]:
    """The runs differ in where they are trained; one step an epoch, so that the history tells each loss."""
    places: dict[str, dict[str, Any]] = {"one": {}, "one-again": {}}
    places |= {
        f"{count}-threads": {"threads": count} for count in (2, 4, 8) if count <= (os.cpu_count() or 1)
    }
    if torch.accelerator.is_available():
        gpu = {"device": torch.accelerator.current_accelerator().type}
        places |= {"gpu": gpu, "gpu-again": gpu}
    return {
        "seeds": [1],
        "datasets": {
            "digits": {
                "kind": "mnist_svhn_text",
                "options": {"standin_train": BATCH, "standin_test": 500, "pairs_per_sample": 1},
            }
        },
        "training": {"batch_size": BATCH, "epochs": steps, "threads": 1, "device": "cpu", "compile": "off"},
        "evaluation": EVALUATION,
        "runs": {
            f"{precision}-{place}": {
                "dataset": "digits",
                "objective": "mmjsd",
                "precision": precision,
                **options,
            }
            for precision in ("float32", "bfloat16")
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


def shown(difference: float) -> str:
    return f"{difference:.1e}" if difference else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    chosen = parameters(arguments.steps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "first"
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(chosen))
        mmjsd(folder, "data", "build", "digits")
        for modality in ("mnist", "svhn", "text"):
            mmjsd(folder, "classify", "digits", modality)
        steps = [step for step in (1, 10, 100, 300, 1000) if step <= arguments.steps]
        titles = ["run", *(f"loss at step {step}" for step in steps), *METRICS]
        print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
        for run, options in chosen["runs"].items():
            mmjsd(folder, "train", run)
            mmjsd(folder, "evaluate", run)
            first = f"{options['precision']}-one"
            losses, ours = (
                [row["loss"] for row in read_history(folder / f"results/digits/{r}/seed-1/history.csv")]
                for r in (first, run)
            )
            apart = [abs(ours[step - 1] / losses[step - 1] - 1) for step in steps]
            before, after = metrics(folder, first), metrics(folder, run)
            apart += [abs(after[key] - before[key]) for key in METRICS]
            print(f"| {run} | {' | '.join(map(shown, apart))} |", flush=True)
        before = metrics(folder, "float32-one")
        for threads in (1, 2):
            other = Path(shutil.copytree(folder, Path(name) / f"evaluated-{threads}"))
            (other / "params.yaml").write_text(
                yaml.safe_dump(chosen | {"evaluation": EVALUATION | {"threads": threads}})
            )
            mmjsd(other, "evaluate", "float32-one")
            after = metrics(other, "float32-one")
            largest = max(abs(after[key] - value) / max(1.0, abs(value)) for key, value in before.items())
            print(f"the same weights evaluated with {threads} threads: {shown(largest)}", flush=True)


if __name__ == "__main__":
    main()
