"""Real Snakemake: what is made, what is made again after which change, and what a fault leaves behind."""

import copy
import csv
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from mmjsd import pipeline
from support.project import PARAMS, REPOSITORY, Outcome, Project, finished, read_until, wait_for


def of_run(run: str) -> set[str]:
    return {
        f"training {run}, seed 1",
        f"evaluating {run}, seed 1",
        f"drawing {run}, seed 1",
        f"logging {run}, seed 1, to MLflow",
    }


COMPARISON = {
    "comparing the runs",
    "summing up the runs for DVC",
    "drawing the comparison of the runs of tiny",
    "writing the report",
    "logging the comparison and the report to MLflow",
}


def changed(**runs: dict) -> dict:
    """The parameters with runs changed or added."""
    edited = copy.deepcopy(PARAMS)
    for name, entries in runs.items():
        edited["runs"].setdefault(name, {}).update(entries)
    return edited


def test_everything_is_made_once(made: tuple[Project, Outcome]) -> None:
    _, outcome = made
    classifiers = {f"training the {name} classifier of tiny" for name in ("mnist", "svhn", "text")}
    dataset = {"building the store of tiny"}
    assert outcome.jobs == dataset | classifiers | of_run("js") | of_run("moe") | COMPARISON


def test_long_jobs_are_started_first(made: tuple[Project, Outcome]) -> None:
    started = re.findall(r"^Job \d+: (.*)$", made[1].output, re.MULTILINE)
    assert started[0] == "building the store of tiny"
    assert set(started[1:3]) == {"training js, seed 1", "training moe, seed 1"}


def test_every_product_is_fresh(made: tuple[Project, Outcome]) -> None:
    assert made[0].products
    assert made[0].stale() == {}


def test_the_comparison_has_a_row_a_run(made: tuple[Project, Outcome]) -> None:
    results = made[0].folder / "results"
    with (results / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["objective"], row["data_source"]) for row in rows] == [
        ("js", "mmjsd", "standin"),
        ("moe", "mmvae", "standin"),
    ]
    metrics = json.loads((results / "tiny/js/seed-1/metrics.json").read_bytes())
    assert float(rows[0]["coherence/random"]) == metrics["coherence/random"]
    assert "stand-in" in (results / "comparison.md").read_text()


def test_every_step_has_a_log_and_a_benchmark(made: tuple[Project, Outcome]) -> None:
    folder = made[0].folder
    assert made[0].products
    for product in made[0].products:
        log = folder / "logs" / product.benchmark.relative_to("logs/benchmarks").with_suffix(".log")
        assert log.is_file()
        assert (folder / product.benchmark).is_file()
    assert "epoch 1/1" in (folder / "logs/tiny/js/seed-1/train.log").read_text()
    assert "epoch 1/1" in made[1].output  # progress reaches the terminal too


def test_the_report_of_snakemake_has_the_figures(project: Project) -> None:
    outcome = project.snakemake("--report", "report.html")
    assert outcome.code == 0, outcome.output
    page = (project.folder / "report.html").read_text()
    assert "conditional-mnist-svhn" in page
    assert "prd-classifier" in page


def test_nothing_is_made_twice(project: Project) -> None:
    before = project.contents()
    outcome = project.snakemake()
    assert outcome.code == 0
    assert "Nothing to be done" in outcome.output
    assert project.contents() == before


def test_a_new_run_is_made_and_no_other_and_a_removed_one_only_leaves_the_comparison(
    project: Project,
) -> None:
    before = project.contents()
    edited = changed(poe={"dataset": "tiny", "objective": "mvae"})
    del edited["runs"]["moe"]
    project.write(edited)
    outcome = project.snakemake()
    assert outcome.code == 0, outcome.output
    assert outcome.jobs == of_run("poe") | COMPARISON
    after = project.contents()
    untouched = {name for name in before if "tiny/js/seed-1/" in name or "tiny/moe/seed-1/" in name}
    assert untouched
    assert all(after[name] == before[name] for name in untouched)
    table = (project.folder / "results/comparison.csv").read_text()
    assert "poe" in table
    assert "moe" not in table


def test_an_edited_model_is_made_again(project: Project) -> None:
    before = project.contents()
    folder = project.folder / "results/tiny/js/seed-1"
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"edited by hand")
    outcome = project.snakemake("results/tiny/js/seed-1/training.record.json")
    assert outcome.code == 0, outcome.output
    assert outcome.jobs == {"training js, seed 1"}
    assert (
        "training.record.json: to be made again (other outputs: results/tiny/js/seed-1/model.safetensors)"
        in outcome.output
    )
    name = "results/tiny/js/seed-1/model.safetensors"
    assert project.contents()[name][0] == before[name][0]  # the same seed gives the same bytes


def test_file_times_in_disorder_make_nothing(project: Project) -> None:
    (project.folder / "data/tiny.h5").touch()
    (project.folder / "data/tiny.record.json").touch()
    outcome = project.snakemake()
    assert outcome.code == 0
    assert "Nothing to be done" in outcome.output


def test_a_dry_run_touches_nothing_and_says_what_is_stale(project: Project) -> None:
    project.write(changed(moe={"beta": 1.5}))
    before = project.contents()
    outcome = project.snakemake("--dry-run")
    assert outcome.code == 0
    assert (
        "results/tiny/moe/seed-1/training.record.json: to be made again (other params: beta)"
        in outcome.output
    )
    assert outcome.jobs == of_run("moe") | COMPARISON
    assert project.contents() == before


@pytest.mark.parametrize(
    "mode",
    [
        "--executor=dryrun",
        "--list-conda-envs",
        "--cleanup-shadow",
        "--summary",
        "--unlock",
    ],
)
def test_looking_removes_nothing(project: Project, mode: str) -> None:
    project.write(changed(js={"beta": 1.5}, moe={"beta": 1.5}))
    before = project.contents()
    assert project.snakemake(mode).code == 0
    assert project.contents() == before


def test_a_profile_that_looks_removes_nothing(project: Project) -> None:
    (project.folder / "looking").mkdir()
    (project.folder / "looking/config.yaml").write_text("dry-run: true\n")
    project.write(changed(js={"beta": 1.5}))
    before = project.contents()
    assert project.snakemake("--profile", "looking").code == 0
    assert project.contents() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_mistake_that_is_undone_costs_nothing(project: Project, number: int) -> None:
    """Even when training has begun."""
    before = {name: content for name, (content, _) in project.contents().items()}
    project.write(changed(js={"epochs": 10000}))
    process = project.start_snakemake()
    wait_for(project.folder / "results/tiny/js/seed-1/checkpoint.pt")
    os.killpg(process.pid, number)
    told = finished(process).output
    assert "Cannot restore" not in told
    assert "Restored previous" not in told
    project.write(PARAMS)
    assert "Nothing to be done" in project.snakemake().output
    after = {name: content for name, (content, _) in project.contents().items()}
    assert {name for name in after.keys() - before.keys() if not name.endswith("checkpoint.pt")} == set()
    assert {name: after[name] for name in before} == before


SLOW = """
import sys, time
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler
last_of_selection = JobScheduler.update_available_resources

def slow(self, jobs):
    print("selecting", flush=True)
    time.sleep(1.5)
    return last_of_selection(self, jobs)

JobScheduler.update_available_resources = slow
main(sys.argv[1:])
"""


def test_asked_to_end_while_it_selects_jobs(project: Project) -> None:
    """When it holds the lock that its own handler takes; what it then begins is asked to end, too."""
    project.write(changed(js={"epochs": 100_000}))
    arguments = ["--cores", "2", "--snakefile", str(REPOSITORY / "Snakefile"), "--nolock"]
    process = project.start_command(sys.executable, "-c", SLOW, *arguments)
    read_until(process, "selecting")
    process.terminate()
    ended = finished(process)
    assert ended.code == 1
    assert "training js, seed 1" in ended.output
    assert "Will exit after finishing currently running jobs" in ended.output


def test_what_is_forced_is_made_although_it_is_up_to_date(project: Project) -> None:
    record = project.product("train js --seed 1").record
    before = project.contents()
    outcome = project.snakemake("--forcerun", "train", "--", str(record))
    assert outcome.code == 0, outcome.output
    after = project.contents()
    history = "results/tiny/js/seed-1/history.csv"
    assert after[history][0] != before[history][0]  # it tells the time
    assert (
        after["results/tiny/js/seed-1/model.safetensors"][0]
        == before["results/tiny/js/seed-1/model.safetensors"][0]
    )


def test_a_parameter_file_by_another_name(project: Project) -> None:
    project.write(changed(js={"beta": 1.5}), "mine.yaml")
    for arguments in (("--configfile", "mine.yaml"), ("--config", "params=mine.yaml")):
        outcome = project.snakemake("--dry-run", *arguments)
        assert "js/seed-1/training.record.json: to be made again (other params: beta)" in outcome.output


NOT_THERE = "no such parameter file; work in a project (`mmjsd init FOLDER` lays one down)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--config", "epochs=50", "params=mine.yaml"],
            "--config epochs: has no effect; change parameters in their file, or name another one by "
            "--configfile FILE",
        ),
        (["--config", "params=3"], f"3: {NOT_THERE}"),
        (["--config", "params=nowhere.yaml"], f"nowhere.yaml: {NOT_THERE}"),
        (
            ["--configfile", "params.yaml", "mine.yaml"],
            "params.yaml and mine.yaml: name one parameter file, not 2",
        ),
    ],
)
def test_other_settings_are_refused_in_one_line(project: Project, arguments: list[str], told: str) -> None:
    project.write(PARAMS, "mine.yaml")
    before = project.contents()
    outcome = project.snakemake(*arguments)
    assert outcome.code == 1
    assert [line for line in outcome.output.splitlines() if "profile" not in line] == [told]
    assert project.contents() == before


@pytest.mark.parametrize("path", ["tiny/js/seed-7", "other/js/seed-1"])
def test_a_file_that_nothing_asks_for_is_refused(project: Project, path: str) -> None:
    before = project.contents()
    outcome = project.snakemake("--dry-run", f"results/{path}/metrics.json")
    assert outcome.code == 1
    assert "params.yaml asks for no such thing" in outcome.output
    assert "Traceback" not in outcome.output
    assert project.contents() == before


def test_a_file_of_a_run_is_made_by_the_rule_that_makes_all_files_of_the_run(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(changed(private={"dataset": "tiny", "objective": "mmjsd", "private_latent": 2}))
    for run in ("js", "private"):
        drawn = project.snakemake("--dry-run", f"results/tiny/{run}/seed-1/figures/random.png").output
        assert ("figures_1" in drawn) == (run == "private")


def test_faulty_parameters_are_told_in_plain_lines(project: Project) -> None:
    before = project.contents()
    project.write(changed(js={"learnig_rate": 1.0}, moe={"beta": -1}), "faulty.yaml")
    outcome = project.snakemake("--config", "params=faulty.yaml")
    assert outcome.code == 1
    profile, *lines = outcome.output.splitlines()
    assert "profile" in profile
    assert lines == [
        "faulty.yaml: runs.js.learnig_rate: unknown key; did you mean learning_rate?",
        "faulty.yaml: runs.moe.beta: must be >= 0 (got -1)",
    ]
    assert project.contents() == before


def test_a_failing_step_says_why_and_spares_the_others(project: Project) -> None:
    before = project.contents()
    project.write(changed(moe={"learning_rate": 1.0, "epochs": 2}))
    outcome = project.snakemake()
    assert outcome.code == 1
    assert re.search(r"runs\.moe: epoch \d, step \d+: .* not finite", outcome.output)
    assert "Traceback" not in outcome.output
    after = project.contents()
    assert all(after[name] == content for name, content in before.items() if "tiny/js/seed-1/" in name)
    # what was there stays, and is not taken for the new one
    model = "results/tiny/moe/seed-1/model.safetensors"
    assert after[model][0] == before[model][0]
    assert project.stale()["train moe --seed 1"] == "other params: epochs, learning_rate"


def test_lint_asks_for_conda_only(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(PARAMS)
    found = [
        line for line in project.snakemake("--lint").output.splitlines() if line.strip().startswith("* ")
    ]
    rules = project.snakemake("--list-rules").output.split("\n")
    steps = [step.command.split()[-1] for step in pipeline.STEPS]
    assert set(steps) <= set(rules)
    assert found == ["    * Specify a conda environment or container for each rule.:"] * len(steps)
