"""A package of one's own, installed and run: with an objective, a dynamic prior, a metric and a dataset."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from support.project import PARAMS, Project

OBJECTIVES = '''
"""A rival objective and a dynamic prior."""

from typing import Any

from torch import Tensor

from mmjsd.data.batches import Batch
from mmjsd.distributions import Gaussian, kl_divergence, product_of_experts, with_prior
from mmjsd.means import product_with_prior
from mmjsd.models.vae import MultimodalVAE
from mmjsd.objectives import Loss, Objective
from mmjsd.params.types import Weight


class JointOnly(Objective):
    """MVAE without the ELBOs of single modalities.

    Args:
        sharpness: Factor of the shared divergence.
    """

    def __init__(self, model: MultimodalVAE, *, sharpness: Weight = 1.0, **shared: Any):
        super().__init__(model, **shared)
        self.sharpness = sharpness
        model.mean = product_with_prior

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.model.encode(batch.values)
        joint = product_of_experts(with_prior(posteriors.shared))
        return self.total(batch, warmup, posteriors, joint.rsample(), self.sharpness * kl_divergence(joint))


def averaged(experts: Gaussian, weights: Tensor) -> Gaussian:
    """Average the means and the log-variances."""
    shares = weights.reshape(len(weights), -1, 1)
    return Gaussian((shares * experts.mean).sum(0), (shares * experts.log_variance).sum(0))
'''

METRIC = '''
"""Loudness: how large latents are."""

import os

from mmjsd.params.types import Count

TITLE = "Loudness"
READING = "Mean norm of the shared latent given A."
HEADLINE = {"loudness of all": "loudness/all"}
SUMMARIES = {"loudness/all": "loudness/given/*"}
LESS_IS_BETTER = ("loudness/",)
FILES = ("memory.txt",)


def compute(judged, *, loudness_samples: Count = 7) -> dict[str, float]:
    """Measure it.

    Args:
        loudness_samples: How many test samples, at most.
    """
    (judged.folder / "memory.txt").write_text(os.environ["GLIBC_TUNABLES"])
    loudness = {}
    for subset in judged.subsets:
        samples = judged.test.complete(subset)[:loudness_samples]
        mean = judged.test.posterior(subset, samples).mean
        loudness["loudness/given/" + "-".join(subset)] = float(mean.norm(dim=1).mean())
    return loudness
'''

DATASET = '''
"""Digits in two halves, and the ink in each column, without labels."""

from pathlib import Path

import numpy as np

from mmjsd.data.official import mnist
from mmjsd.data.official.finding import find
from mmjsd.data.sources import files_of
from mmjsd.data.store import Split, Table, write_store
from mmjsd.params.sources import effective, origin
from mmjsd.params.types import ImageCount
from mmjsd.provenance.files import sha256_file

MODALITIES = {"upper": "image 1x14x28", "lower": "image 1x14x28", "ink": "vector"}
LABELS = None
SPLITS = ("train", "test")


def find_sources(folder):
    """Find the official files."""
    return find(folder, [names for split in SPLITS for names in mnist.spellings(split)], mnist.SUBFOLDERS)


def build(
    path, *, source, source_folder, seed, standin_train: ImageCount = 10000, standin_test: ImageCount = 2000
):
    """Build the store.

    Args:
        standin_train: Training images of the stand-in.
        standin_test: Test images of the stand-in.
    """

    def standin(folder: Path) -> dict[str, Path]:
        from mmjsd.data.standin.digits import write_mnist

        return write_mnist(folder, train=standin_train, test=standin_test, seed=seed)

    files = files_of(source, source_folder, standin=standin, download=mnist.download_mnist, find=find_sources)
    plain = {name.removesuffix(".gz"): file for name, file in files.items()}
    splits = {}
    for split in SPLITS:
        images, _ = mnist.read_mnist(*(plain[name] for name in mnist.FILES[split]))
        ink = images.mean((1, 2), dtype=np.float32) / 255
        tables = {
            "upper": Table("image", images[:, :, :14]),
            "lower": Table("image", images[:, :, 14:]),
            "ink": Table("vector", ink),
        }
        rows = np.arange(len(images), dtype=np.int32)
        splits[split] = Split(tables, np.stack([rows] * 3, axis=1))
    options = {"standin_train": standin_train, "standin_test": standin_test}
    write_store(
        path,
        kind="halves",
        modalities=list(MODALITIES),
        classes=[],
        seed=seed,
        params={"source": origin(source), **effective(source, options)},
        sources={name: sha256_file(file) for name, file in files.items()},
        splits=splits,
    )
'''

ENTRY_POINTS = """
[mmjsd.objectives]
joint_only = loud.objectives:JointOnly

[mmjsd.means]
averaged = loud.objectives:averaged

[mmjsd.metrics]
loudness = loud.metric:compute

[mmjsd.datasets]
halves = loud.halves
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of the package, in one that has what an installer leaves there."""
    site = tmp_path / "site"
    (folder := site / "loud").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A package of one\'s own."""\n')
    (folder / "objectives.py").write_text(OBJECTIVES)
    (folder / "metric.py").write_text(METRIC)
    (folder / "halves.py").write_text(DATASET)
    (about := site / "loud-1.0.dist-info").mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def test_a_package_of_ones_own_goes_through_the_workflow(tmp_path: Path, package: Path) -> None:
    params = deepcopy(PARAMS)
    params["datasets"] = {
        "halves": {"kind": "halves", "options": {"standin_train": 200, "standin_test": 50}},
    }
    params["runs"] = {
        "joint": {"dataset": "halves", "objective": "joint_only", "sharpness": 2.0},
        "averaged": {"dataset": "halves", "objective": "mmjsd", "dynamic_prior": "averaged"},
    }
    params["evaluation"]["loudness_samples"] = 9
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    project.write(params)
    project.environment["PYTHONPATH"] = str(package.parent)

    # as containers have it: steps keep what they compiled, but not beside the modules
    record = "results/halves/joint/seed-1/training.record.json"
    outcome = project.snakemake(record, PYTHONDONTWRITEBYTECODE="1")
    assert outcome.code == 0, outcome.output
    compiled = {
        path.name.split(".")[0] for path in (project.folder / ".snakemake/mmjsd/bytecode").rglob("*.pyc")
    }
    assert {"objectives", "loop", "serialization"} <= compiled
    assert not list(package.rglob("*.pyc"))

    outcome = project.snakemake()
    assert outcome.code == 0, outcome.output
    folder = (project.folder / record).parent
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert metrics["loudness/given/upper-lower-ink"] > 0
    # without labels there are no judges, and all that needs none
    rooms = {key.partition("/")[0] for key in metrics}
    assert rooms == {"loudness", "likelihood", "likelihood_error", "prediction", "train", "meta"}
    assert not (project.folder / "results/halves/classifiers").exists()
    # the workflow has the C library keep memory, if it is not told otherwise
    kept = project.environment.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:")
    assert (folder / "memory.txt").read_text().startswith(kept)
    page = (project.folder / "results/comparison.md").read_text()
    assert "### Loudness\n\nMean norm of the shared latent given A." in page
    assert "loudness of all" in page
    assert "loudness" in (project.folder / "results/report.html").read_text()
    recorded = json.loads((folder / "training.record.json").read_bytes())
    assert recorded["params"]["sharpness"] == 2.0
    assert "loud.objectives:JointOnly" in recorded["code"]

    # its code is part of what made the results: so much and no more is made again
    (package / "objectives.py").write_text(OBJECTIVES.replace("self.sharpness * kl", "kl"))
    again = project.snakemake("--dry-run")
    assert "training joint, seed 1" in again.jobs
    assert not {job for job in again.jobs if "averaged" in job and "training" in job}
    (package / "objectives.py").write_text(f"# a comment\n{OBJECTIVES}")
    assert project.snakemake("--dry-run").jobs == set()

    alone = project.run("evaluate joint --seed 1 --only loudness", GLIBC_TUNABLES="")
    assert alone.code == 0, alone.output
    again = json.loads((folder / "metrics.json").read_bytes())
    changed = {key for key in again if again[key] != metrics[key]}
    assert {key.rpartition("/")[0] for key in changed} <= {"meta/evaluation_seconds"}


def test_without_the_package_its_names_are_refused_in_a_line(tmp_path: Path) -> None:
    params = deepcopy(PARAMS)
    params["runs"] = {"joint": {"dataset": "tiny", "objective": "joint_only"}}
    project = Project(tmp_path)
    project.write(params)
    outcome = project.run("params check")
    assert outcome.code == 1
    (line,) = outcome.output.splitlines()
    assert line.startswith("params.yaml: runs.joint.objective: ")
    assert "must be 'mmjsd', 'mvae', " in line
    assert "joint_only" in line
