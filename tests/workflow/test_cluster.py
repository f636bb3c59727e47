"""What jobs on a cluster ask for and say, without a cluster; tests/cluster has a real one."""

import copy
import json
import os
import re
import sys
from pathlib import Path
from time import time_ns

import pytest
import yaml
from snakemake.cli import get_argument_parser

from mmjsd import pipeline
from mmjsd.provenance.locks import HOST
from support.project import REPOSITORY, SMALLEST, Project

PROFILES = sorted((REPOSITORY / "profiles").glob("*/config.yaml"))
each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.parent.name)

#: What the jobs of a dry run ask for at their first and second attempt, if they are submitted to a cluster.
RESOURCES = """
import json, sys
from pathlib import Path
from time import time_ns
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

names = ("mem_mb", "runtime", "gpu")
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    resources = ResourceSettings(cores=1, nodes=10)
    workflow = api.workflow(resource_settings=resources, snakefile=Path(sys.argv[1]))
    workflow.dag().execute_workflow(executor="dryrun")
    asked = {}
    for job in workflow._workflow.dag.jobs:
        asked[job.rule.name] = []
        for job.attempt in (1, 2):
            job.reset_params_and_resources()
            asked[job.rule.name].append({name: job.resources.get(name) for name in names})
    print(json.dumps(asked))
"""


def with_examples(profile: Path) -> dict:
    """A profile whose options in comments are no comments."""
    return yaml.safe_load(
        re.sub(r"^( *)# (?=[a-z][\w-]*: [\[{\w])", r"\1", profile.read_text(), flags=re.MULTILINE)
    )


@each_profile
def test_profiles_name_options_and_rules_that_there_are(profile: Path) -> None:
    text, options = profile.read_text(), with_examples(profile)
    assert yaml.safe_load(text).keys() <= options.keys()
    executor = options.get("executor", "local")
    known = {
        option.removeprefix("--")
        for action in get_argument_parser()._actions
        for option in action.option_strings
    }
    assert {name for name in options if not name.startswith(f"{executor}-")} <= known
    rules = {step.command.split()[-1] for step in pipeline.STEPS}
    assert (options.get("set-resources") or {}).keys() <= rules
    groups = dict(entry.split("=") for entry in options.get("groups", []))
    components = dict(entry.split("=") for entry in options.get("group-components", []))
    assert groups.keys() <= rules
    assert set(groups.values()) == components.keys()
    assert executor == "local" or (groups and options["set-resources"] and options["default-resources"])


def test_jobs_ask_for_what_their_step_needs_and_for_more_when_that_was_too_little(tmp_path: Path) -> None:
    project = Project(tmp_path)
    edited = copy.deepcopy(SMALLEST)
    edited["runs"]["js"] |= {"device": "cuda", "processes": 2}
    project.write(edited)
    outcome = project.call(sys.executable, "-c", RESOURCES, str(REPOSITORY / "Snakefile"))
    assert outcome.code == 0, outcome.output
    asked = json.loads(outcome.output.splitlines()[-1])
    steps = {step.command.split()[-1]: step for step in pipeline.STEPS}
    assert asked.keys() - {"all"} == steps.keys()
    for name, step in steps.items():
        first, second = asked[name]
        processes, gpu = (2, 2) if name == "train" else (1, 0)
        memory = step.memory * processes
        assert first == {"mem_mb": memory, "runtime": step.runtime, "gpu": gpu}
        assert second == {"mem_mb": 2 * memory, "runtime": 2 * step.runtime, "gpu": gpu}


def test_a_node_that_lacks_the_data_says_which_it_is(tmp_path: Path) -> None:
    """As the process says it that Snakemake starts on a node."""
    project = Project(tmp_path)
    edited = copy.deepcopy(SMALLEST)
    edited["datasets"]["tiny"] = {"kind": "mnist_svhn_text", "source": "/nowhere/official"}
    project.write(edited)
    here = project.snakemake("--dry-run")
    there = project.snakemake("--mode", "remote", "--nolock", "--", "data/tiny.record.json")
    assert here.code == there.code == 1
    (line,) = [line for line in here.output.splitlines() if "/nowhere/official" in line]
    assert f"{HOST}: {line}" in there.output.splitlines()
    assert "Traceback" not in there.output


def test_clocks_of_nodes_may_differ(project: Project) -> None:
    for number, product in enumerate(project.products):
        for path in (*product.outputs, product.record, product.benchmark):
            file = project.folder / path
            moment = file.stat().st_mtime + (3600, -3600, 0)[number % 3]
            os.utime(file, (moment, moment))
    assert "Nothing to be done" in project.snakemake().output
    assert max(time for _, time in project.contents().values()) <= time_ns()
    (project.folder / "results/comparison.record.json").unlink()
    outcome = project.snakemake()
    assert outcome.code == 0, outcome.output
    assert "comparing the runs" in outcome.jobs
    assert not any(job.startswith(("building", "training", "evaluating")) for job in outcome.jobs)
    assert "Nothing to be done" in project.snakemake().output
