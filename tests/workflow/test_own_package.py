"""An objective, a dynamic prior and a metric of a package of one's own, installed and run through the workflow."""

import json
import shutil
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

from mmjsd.params.types import Count

TITLE = "Loudness"
READING = "Mean norm of the shared latent given A."
HEADLINE = {"loudness of all": "loudness/mnist-svhn-text"}
LESS_IS_BETTER = ("loudness/",)


def compute(judged, *, loudness_samples: Count = 7) -> dict[str, float]:
    """Measure it.

    Args:
        loudness_samples: How many test samples, at most.
    """
    loudness = {}
    for subset in judged.subsets:
        samples = judged.test.complete(subset)[:loudness_samples]
        mean = judged.test.posterior(subset, samples).mean
        loudness["loudness/" + "-".join(subset)] = float(mean.norm(dim=1).mean())
    return loudness
'''

ENTRY_POINTS = """
[mmjsd.objectives]
joint_only = loud.objectives:JointOnly

[mmjsd.means]
averaged = loud.objectives:averaged

[mmjsd.metrics]
loudness = loud.metric:compute
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of the package, in one that has what an installer leaves there."""
    site = tmp_path / "site"
    (folder := site / "loud").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A package of one\'s own."""\n')
    (folder / "objectives.py").write_text(OBJECTIVES)
    (folder / "metric.py").write_text(METRIC)
    (about := site / "loud-1.0.dist-info").mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def test_a_package_of_ones_own_goes_through_the_workflow(tmp_path: Path, package: Path) -> None:
    params = deepcopy(PARAMS)
    params["runs"] = {
        "joint": {"dataset": "tiny", "objective": "joint_only", "sharpness": 2.0},
        "averaged": {"dataset": "tiny", "objective": "mmjsd", "dynamic_prior": "averaged"},
    }
    params["evaluation"]["loudness_samples"] = 9
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    project.write(params)
    project.environment["PYTHONPATH"] = str(package.parent)

    outcome = project.snakemake()
    assert outcome.code == 0, outcome.output
    runs = project.folder / "results/tiny"
    loudness = {
        run: json.loads((runs / run / "seed-1/metrics.json").read_bytes())["loudness/mnist-svhn-text"]
        for run in params["runs"]
    }
    assert min(loudness.values()) > 0
    page = (project.folder / "results/comparison.md").read_text()
    assert "### Loudness\n\nMean norm of the shared latent given A." in page
    assert "loudness of all" in page and "loudness" in (project.folder / "results/report.html").read_text()
    recorded = json.loads((runs / "joint/seed-1/training.record.json").read_bytes())
    assert recorded["params"]["sharpness"] == 2.0
    assert "loud.objectives:JointOnly" in recorded["code"]

    # its code is part of what made the results: so much and no more is made again
    shutil.copy(package / "objectives.py", tmp_path / "before.py")
    (package / "objectives.py").write_text(OBJECTIVES.replace("self.sharpness * kl", "kl"))
    again = project.snakemake("--dry-run")
    assert "training joint, seed 1" in again.jobs
    assert not {job for job in again.jobs if "averaged" in job and "training" in job}
    (package / "objectives.py").write_text(f"# a comment\n{OBJECTIVES}")
    assert project.snakemake("--dry-run").jobs == set()

    alone = project.run("evaluate joint --seed 1 --only loudness")
    assert alone.code == 0, alone.output
    assert project.snakemake("--dry-run").jobs == set()


def test_without_the_package_its_names_are_refused_in_a_line(tmp_path: Path) -> None:
    params = deepcopy(PARAMS)
    params["runs"] = {"joint": {"dataset": "tiny", "objective": "joint_only"}}
    project = Project(tmp_path)
    project.write(params)
    outcome = project.run("params check")
    assert outcome.code == 1
    (line,) = outcome.output.splitlines()
    assert line.startswith("params.yaml: runs.joint.objective: ")
    assert "'mmjsd', 'mvae' or 'mmvae'" in line and "joint_only" in line
