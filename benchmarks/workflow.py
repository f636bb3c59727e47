"""What the workflow adds to its jobs.

First, with 10 to 1,000 runs, of which nothing is made yet and of which everything is: reading the parameters,
making file times agree with the records, and `snakemake -n` as a whole. What is made has contents of no
meaning, but real records. Then jobs that do little, one after the other: how long Snakemake takes between
them. With `--finished FOLDER` also the share of wall time x cores in which the jobs of a finished run
computed, by its `logs/benchmarks`.
"""

import contextlib
import csv
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Row, parsed, parser, process, report, run

from mmjsd import params, pipeline
from mmjsd.errors import MmjsdError
from mmjsd.provenance.reconcile import reconcile
from mmjsd.provenance.records import Product, making

REPOSITORY = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores"]


def write_params(datasets: int, runs: int) -> None:
    """Write a parameter file into the working directory: small data, so many runs on them."""
    options = {"standin_train": 20, "standin_test": 20, "pairs_per_sample": 1}
    names = [f"digits{number}" for number in range(datasets)]
    chosen: dict[str, Any] = {
        "datasets": {name: {"kind": "mnist_svhn_text", "options": options} for name in names},
        "training": {"epochs": 1, "batch_size": 10},
        "evaluation": {"quality_samples": 20},
        "runs": {f"run{n}": {"dataset": names[n % datasets], "objective": "mmjsd"} for n in range(runs)},
    }
    Path("params.yaml").write_text(json.dumps(chosen))


def steps_of_file() -> list[Product]:
    """Read the parameters as the Snakefile does."""
    return [step.product for step in pipeline.steps(params.load("params.yaml"))]


def make_all(products: list[Product]) -> None:
    """Make every product: small files of no meaning, with its real record."""
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("create table runs (run_uuid text, lifecycle_stage text)")
        for product in products:
            with making(product):
                for path in product.outputs:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    logged = {
                        "run_id": product.name,
                        "tracking_uri": f"sqlite:///{Path('mlflow.db').resolve()}",
                    }
                    path.write_text(json.dumps(logged) if path.name == "mlflow.json" else f"{path}\n")
                database.execute("insert into runs values (?, 'active')", [product.name])
                database.commit()
                product.benchmark.touch()


def of_runs(count: int) -> list[Row]:
    """Measure the workflow of so many runs, before and after everything is made."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_params(1, count)
        for state in ("nothing", "everything"):
            started = time.perf_counter()
            products = steps_of_file()
            read = time.perf_counter()
            stale = reconcile(products, time.time_ns(), lambda _: None)
            reconciled = time.perf_counter()
            dry = process([*SNAKEMAKE, "1", "-n", "--quiet", "all"])
            if len(stale) != (0 if state == "everything" else len(products)):
                raise MmjsdError(
                    f"{count} runs, {state} made: {len(stale)} of {len(products)} steps are stale"
                )
            rows.append(
                {
                    "runs": count,
                    "made": state,
                    "jobs": len(products),
                    "reading s": read - started,
                    "reconciling s": reconciled - read,
                    "snakemake -n s": dry.seconds,
                    "its processor s": dry.processor_seconds,
                    "its MB": dry.megabytes,
                }
            )
            if state == "nothing":
                make_all(products)
    return rows


def timeline(folder: Path) -> list[dict[str, float]]:
    """Read when the jobs of a run began and ended, and their processor time: seconds, by their benchmarks."""
    jobs = []
    for path in sorted((folder / "logs" / "benchmarks").rglob("*.tsv")):
        with path.open() as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        ended, lasted = path.stat().st_mtime, float(row["s"])
        used = 0.0 if row["cpu_time"] in ("NA", "") else float(row["cpu_time"])
        jobs.append({"began": ended - lasted, "ended": ended, "seconds": lasted, "processor": used})
    if not jobs:
        raise MmjsdError(f"{folder}: has no logs/benchmarks/**/*.tsv; name the folder of a finished run")
    return jobs


def between_jobs(count: int) -> Row:
    """Run so many short jobs one after the other."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_params(count, count)
        whole = process([*SNAKEMAKE, "1", "--quiet", "all", "--", "datasets"])
        jobs = timeline(Path())
    wall = max(job["ended"] for job in jobs) - min(job["began"] for job in jobs)
    busy = sum(job["seconds"] for job in jobs)
    return {
        "jobs": len(jobs),
        "a job, s": busy / len(jobs),
        "between two jobs, s": (wall - busy) / max(len(jobs) - 1, 1),
        "before and after all, s": whole.seconds - wall,
    }


def share(folder: Path, cores: int) -> Row:
    """Sum up a finished run, whose jobs have one thread each.

    Snakemake samples processor time every 30 s once a job lasts longer than 15 s: what it took after the last
    sample is missing.
    """
    jobs = timeline(folder)
    wall = max(job["ended"] for job in jobs) - min(job["began"] for job in jobs)
    return {
        "jobs": len(jobs),
        "wall s": wall,
        "share in jobs": sum(job["seconds"] for job in jobs) / (wall * cores),
        "share computing, at least": sum(job["processor"] for job in jobs) / (wall * cores),
    }


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--runs", type=int, nargs="+", default=[10, 200, 1000])
    options.add_argument("--jobs", type=int, default=8, help="one after the other")
    options.add_argument("--finished", type=Path, metavar="FOLDER", help="of a run that was made at once")
    options.add_argument("--cores", type=int, default=os.cpu_count(), help="that it had")
    options = parsed(options, runs=[3], jobs=2)
    finished = options.finished and Path(options.finished)
    options.finished = finished and str(finished)
    tables: dict[str, list[Row]] = {"Runs": [row for count in options.runs for row in of_runs(count)]}
    tables["Between jobs"] = [between_jobs(options.jobs)]
    results = {f"{row['runs']} runs, {row['made']} made, s": row["snakemake -n s"] for row in tables["Runs"]}
    results["between two jobs, s"] = tables["Between jobs"][0]["between two jobs, s"]
    if finished:
        row = share(finished, options.cores)
        tables[f"Finished, {options.cores} cores"] = [row]
        results["share of wall time x cores in jobs"] = row["share in jobs"]
    report(options, tables, results)


if __name__ == "__main__":
    run(main)
