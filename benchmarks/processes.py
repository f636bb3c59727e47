"""Two processes of one thread, which share each batch, against one process of two threads.

Trainings by `mmjsd train` in turns, of a stand-in of MNIST-SVHN-Text. Results: the ratio of the rates that
their histories tell, the first epoch left out, and how far the losses of the epochs differ.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from measuring import parsed, parser, process, ratio, report, run

from mmjsd import registry
from mmjsd.training.history import read_history

WAYS = {"one": {"processes": 1, "threads": 2}, "two": {"processes": 2, "threads": 1}}


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=256)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--samples", type=int, default=10_000, help="images of a modality, at most")
    options.add_argument("--objective", choices=registry.entries("objectives"), default="mmjsd")
    options.add_argument("--precision", choices=("auto", "float32"), default="float32")
    options = parsed(options, batch_size=32, epochs=2, turns=1, samples=200)
    source = {"standin_train": options.samples, "standin_test": 50, "pairs_per_sample": 1}
    shared = {"device": "cpu", "compile": "off", "dataset": "digits", "objective": options.objective}
    shared |= {key: getattr(options, key) for key in ("batch_size", "epochs", "precision")}
    params = {
        "datasets": {"digits": {"kind": "mnist_svhn_text", "options": source}},
        "runs": {name: shared | way for name, way in WAYS.items()},
    }
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "params.yaml").write_text(json.dumps(params))
        mmjsd = [sys.executable, "-P", "-m", "mmjsd"]
        process([*mmjsd, "data", "build", "digits"], cwd=folder, env=os.environ)
        for turn in range(options.turns):
            for name in sorted(WAYS, reverse=turn % 2 == 1):
                process([*mmjsd, "train", name, "--force"], cwd=folder, env=os.environ)
                first, *rows = read_history(Path(folder) / f"results/digits/{name}/seed-1/history.csv")
                rates[name].append(median(row["samples_per_second"] for row in rows))
                losses[name] = [row["loss"] for row in (first, *rows)]
    rows = [{"how": name, **way, "samples/s": median(rates[name])} for name, way in WAYS.items()]
    pairs = zip(losses["one"], losses["two"], strict=True)
    epochs = [
        {"epoch": number, "one": one, "two": two, "difference": abs(two / one - 1)}
        for number, (one, two) in enumerate(pairs, 1)
    ]
    title = f"{options.objective}, batch {options.batch_size}, {options.precision}"
    results = {"samples/s, two / one": ratio(rates["two"], rates["one"])}
    results |= {"largest relative difference of a loss": max(row["difference"] for row in epochs)}
    report(options, {title: rows, "mean loss of an epoch": epochs}, results)


if __name__ == "__main__":
    run(main)
