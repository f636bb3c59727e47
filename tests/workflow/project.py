"""A tiny parameter file, and the real Snakemake run on it."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]

PARAMS = {
    "seeds": [1],
    "datasets": {
        "tiny": {
            "kind": "mnist_svhn_text",
            "options": {"standin_train": 200, "standin_test": 50, "pairs_per_sample": 1},
        }
    },
    "training": {"epochs": 1, "batch_size": 32, "threads": 1},
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


@dataclass
class Outcome:
    code: int
    output: str

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

    def call(self, *command: str, **environment: str) -> Outcome:
        """A command run in the folder, with more variables in its environment."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout)

    def write(self, params: dict, name: str = "params.yaml") -> None:
        (self.folder / name).write_text(yaml.safe_dump(params, sort_keys=False))

    def snakemake(self, *arguments: str) -> Outcome:
        command = [sys.executable, "-m", "snakemake", "--cores", "2"]
        command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder)]
        return self.call(*command, *arguments)

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of all products."""
        files = [path for top in ("data", "results") for path in (self.folder / top).rglob("*")]
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in files
            if path.is_file()
        }
