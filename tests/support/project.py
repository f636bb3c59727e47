"""A tiny parameter file, and the real Snakemake run on it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from mmjsd import params, pipeline
from mmjsd.provenance.records import Product, staleness
from support.hostile import NOT_FOR_SNAKEMAKE, SWITCH, hostile

REPOSITORY = Path(__file__).parents[2]

PARAMS = {
    "seeds": [1],
    "datasets": {
        "tiny": {
            "kind": "mnist_svhn_text",
            "options": {"standin_train": 200, "standin_test": 50, "pairs_per_sample": 1},
        }
    },
    "training": {"epochs": 1, "batch_size": 32, "threads": 1, "tracking": "after"},
    "evaluation": {
        "random_samples": 64,
        "classifier_epochs": 1,
        "train_samples": 50,
        "quality_samples": 50,
        "likelihood_pairs": 10,
        "importance_samples": 2,
        "threads": 1,
    },
    "runs": {
        "js": {"dataset": "tiny", "objective": "mmjsd"},
        "moe": {"dataset": "tiny", "objective": "mmvae"},
    },
}

#: The least that can be trained and judged.
SMALLEST: dict[str, Any] = {
    "datasets": {
        "tiny": {
            "kind": "mnist_svhn_text",
            "options": {"standin_train": 20, "standin_test": 20, "pairs_per_sample": 1},
        }
    },
    "training": {"epochs": 1, "batch_size": 10, "threads": 1, "device": "cpu", "tracking": "after"},
    "evaluation": {
        "train_samples": 10,
        "random_samples": 10,
        "classifier_epochs": 1,
        "quality_samples": 20,
        "likelihood_pairs": 2,
        "importance_samples": 1,
        "threads": 1,
    },
    "runs": {"js": {"dataset": "tiny", "objective": "mmjsd"}},
}


def finished(process: subprocess.Popen[str]) -> "Outcome":
    try:
        output, _ = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Outcome(process.returncode, output)


def listening(process: subprocess.Popen[str]) -> set[str]:
    """The addresses at which a process and its children listen."""
    try:
        parent = psutil.Process(process.pid)
        tree = [parent, *parent.children(recursive=True)]
        found = [connection for each in tree for connection in each.net_connections("inet")]
    except psutil.Error:  # one has ended meanwhile
        return set()
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def finished_and_watched(process: subprocess.Popen[str]) -> "Outcome":
    """Until it has finished, with the addresses at which it listened meanwhile."""
    addresses: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(finished, process)
        while not ended.done():
            addresses |= listening(process)
            time.sleep(0.2)
    return replace(ended.result(), listened=sorted(addresses))


def wait_for(path: Path) -> None:
    """Until another process has made a file."""
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


def read_until(process: subprocess.Popen[str], pattern: str) -> None:
    """Until a line of the output of a process matches."""
    assert process.stdout
    read = []
    for line in process.stdout:
        read.append(line)
        if re.search(pattern, line):
            return
    raise AssertionError("".join(read))


@dataclass
class Outcome:
    code: int
    output: str
    listened: list[str] | None = None
    """Addresses at which it did, if that was watched."""

    @property
    def jobs(self) -> set[str]:
        """Messages of the jobs, but that of the final rule."""
        found = set(re.findall(r"^Job \d+: (.*)$", self.output, re.MULTILINE))
        return {message for message in found if not message.startswith("everything is made")}


class Project:
    """A folder with a parameter file, and snakemake to be run in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        # compiled once, the many processes of a workflow start in half the time
        self.environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        if SWITCH in self.environment:
            self.environment = hostile(self.environment)
            for name in NOT_FOR_SNAKEMAKE:
                del self.environment[name]

    def call(self, *command: str, **environment: str) -> Outcome:
        """A command run in the folder, with more variables in its environment."""
        return finished(self.start_command(*command, **environment))

    def write(self, params: dict, name: str = "params.yaml") -> None:
        (self.folder / name).write_text(yaml.safe_dump(params, sort_keys=False))

    def start_snakemake(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "snakemake", "--cores", "2"]
        command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder)]
        return self.start_command(*command, *arguments, **environment)

    def snakemake(self, *arguments: str, **environment: str) -> Outcome:
        return finished(self.start_snakemake(*arguments, **environment))

    def start(self, step: str, **environment: str) -> subprocess.Popen[str]:
        """A step alone, with the threads that snakemake gives it."""
        command = (sys.executable, "-m", "mmjsd", *step.split())
        return self.start_command(*command, OMP_NUM_THREADS="1", **environment)

    def run(self, step: str, **environment: str) -> Outcome:
        return finished(self.start(step, **environment))

    def start_command(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """In a process group of its own, so that all of it can be sent a signal."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # a shell that starts the tests in the background has Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def products(self) -> list[Product]:
        """All of them, as seen from the folder."""
        with contextlib.chdir(self.folder):
            return [step.product for step in pipeline.steps(params.load("params.yaml"))]

    def product(self, step: str) -> Product:
        return next(product for product in self.products if product.name == step)

    def remove(self, product: Product) -> None:
        """Its files, and what says that they are there."""
        for path in (product.record, *product.outputs):
            (self.folder / path).unlink()

    def stale(self) -> dict[str, str]:
        """Why which products have to be made."""
        with contextlib.chdir(self.folder):
            return {product.name: reason for product in self.products if (reason := staleness(product))}

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of all products."""
        files = [path for top in ("data", "results") for path in (self.folder / top).rglob("*")]
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in files
            if path.is_file()
        }
