"""A sweep on a real SLURM, with what happens to jobs there, against the same on this machine alone."""

import copy
import re
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.disturbed import UNFINISHED, leftovers, logged, numbers
from support.mlflow_server import server
from support.project import PARAMS, REPOSITORY, Project, finished
from support.slurm import Slurm, missing, slurm, wait_until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(not find_spec("snakemake_executor_plugin_slurm"), reason="needs `--extra slurm`"),
]

RUNS = ("grid-objective=mmjsd", "grid-objective=mvae")
#: There is no accounting database, and nobody else to wait for.
OPTIONS = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3")


def sweep(epochs: int) -> dict:
    edited = copy.deepcopy(PARAMS)
    edited["training"]["epochs"] = epochs
    edited["sweeps"] = {"grid": {"dataset": "tiny", "vary": {"objective": ["mmjsd", "mvae"]}}}
    del edited["runs"]
    return edited


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def start(project: Project, cluster: Slurm, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    profile = ("--profile", str(REPOSITORY / "profiles/slurm"), *OPTIONS)
    process = project.start_snakemake(*profile, *arguments, **cluster.environment, **environment)
    STARTED.append(process)
    return process


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """None that a test started lives on, should it fail."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def folder_of(project: Project, run: str) -> Path:
    return project.folder / f"results/tiny/{run}/seed-1"


def training_log(project: Project, run: str) -> str:
    path = project.folder / f"logs/tiny/{run}/seed-1/train.log"
    return path.read_text() if path.exists() else ""


def epochs_of(log: str) -> list[int]:
    return [int(number) for number in re.findall(r"epoch (\d+)/", log)]


def records() -> list[str]:
    return [f"results/tiny/{run}/seed-1/training.record.json" for run in RUNS]


def job_of(cluster: Slurm, run: str) -> str:
    """The number of the job that trains a run."""
    lines = cluster.call("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
    (job,) = [line.split()[0] for line in lines if f"rule_train_wildcards_tiny_{run}_1" in line]
    return job


def test_a_sweep_whose_jobs_are_cancelled_and_requeued(cluster: Slurm, tmp_path: Path, port: int) -> None:
    local, remote = (Project(tmp_path / name) for name in ("local", "remote"))
    for project in (local, remote):
        project.folder.mkdir()
        project.write(sweep(epochs=150))
    assert (outcome := local.snakemake()).code == 0, outcome.output

    cancelled, requeued = RUNS
    with server(tmp_path / "server", port):
        process = start(remote, cluster, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        # amid their trainings one job is cancelled, and the other one requeued while the node drains
        wait_until(lambda: all(len(epochs_of(training_log(remote, run))) > 3 for run in RUNS), patience=300)
        first, second = (job_of(cluster, run) for run in RUNS)
        cluster.call("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=maintenance")
        cluster.call("scancel", first)
        cluster.call("scontrol", "requeue", second)
        wait_until(lambda: not cluster.jobs("running", "completing"), patience=90)
        assert cluster.node() == "drained"
        assert cluster.jobs()[first] == "CANCELLED"
        assert cluster.jobs()[second] == "PENDING"
        for run in (cancelled, requeued):
            assert (folder_of(remote, run) / UNFINISHED).exists()
            assert "saved; the same command goes on from there" in training_log(remote, run)
        cluster.call("scontrol", "update", f"nodename={cluster.host}", "state=resume")
        outcome = finished(process)
    assert outcome.code == 0, outcome.output
    assert cluster.jobs()[second] == "COMPLETED"  # under the number it had
    for run in (cancelled, requeued):
        epochs = epochs_of(training_log(remote, run))
        assert epochs[0] > 1, "trained from the beginning"
        assert epochs[-1] == 150

    expected, made = numbers(local.folder), numbers(remote.folder)
    assert made.keys() == expected.keys()
    different = {name for name in made if made[name] != expected[name]}
    assert different <= {"results/comparison.md", "results/report.html"}  # they tell the time it took
    assert leftovers(remote.folder) == []
    assert logged(tmp_path / "server") == logged(local.folder)
    assert list((tmp_path / "server/artifacts").rglob("*.png"))
    assert not (remote.folder / "mlflow.db").exists()
    assert finished(start(remote, cluster, "--dry-run", MLFLOW_TRACKING_URI="")).code == 0


def test_several_trainings_share_a_job_and_its_gpu(cluster: Slurm, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(sweep(epochs=1))
    packed = ("--groups", "train=trainings", "--group-components", "trainings=2")
    process = start(project, cluster, *packed, "--set-resources", "train:gres=gpu:1", "--", *records())
    running = ("squeue", "--noheader", "--states=running", "--format=%i %k")
    wait_until(lambda: "trainings" in cluster.call(*running), patience=120)
    job = cluster.call(*running).split()[0]
    asked = cluster.call("scontrol", "show", "job", job)
    outcome = finished(process)
    assert outcome.code == 0, outcome.output
    for words in ("NumCPUs=2", "MinMemoryNode=8000M", "TresPerNode=gres:gpu:1", "TimeLimit=08:00:00"):
        assert words in asked
    assert all((project.folder / record).exists() for record in records())


def test_a_job_that_takes_too_long_goes_on_with_more_time(cluster: Slurm, tmp_path: Path) -> None:
    """Told beforehand: SLURM does that up to a minute earlier than asked, and kills soon after."""
    project = Project(tmp_path)
    project.write(sweep(epochs=150))
    short = ("--set-resources", "train:runtime=attempt", "train:slurm_extra=--signal=TERM@40", "--")
    outcome = finished(start(project, cluster, *short, records()[0]))
    assert outcome.code == 0, outcome.output
    assert "Trying to restart job" in outcome.output
    assert epochs_of(training_log(project, RUNS[0]))[0] > 1


def test_a_submission_that_ends_and_is_repeated(cluster: Slurm, tmp_path: Path) -> None:
    """By Ctrl-C, which cancels its jobs, and then by force, which leaves them to themselves."""
    project, record = Project(tmp_path), records()[0]
    project.write(sweep(epochs=300))

    def until(epoch: int) -> subprocess.Popen[str]:
        process = start(project, cluster, "--", record)
        wait_until(lambda: max([0, *epochs_of(training_log(project, RUNS[0]))]) > epoch, patience=200)
        return process

    process = until(3)
    process.send_signal(signal.SIGINT)
    outcome = finished(process)
    assert outcome.code == 1, outcome.output
    wait_until(lambda: not cluster.jobs("running", "completing"), patience=60)
    assert (folder_of(project, RUNS[0]) / UNFINISHED).exists()
    reached = epochs_of(training_log(project, RUNS[0]))[-1]

    process = until(reached)
    assert epochs_of(training_log(project, RUNS[0]))[0] == reached + 1
    process.kill()
    process.wait()
    (job,) = cluster.jobs("running")
    outcome = finished(start(project, cluster, "--", record))
    assert outcome.code == 0, outcome.output
    assert cluster.jobs()[job] == "COMPLETED"
    assert "made meanwhile by the other process" in training_log(project, RUNS[0])


def test_what_slurm_refuses_is_said(cluster: Slurm, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(sweep(epochs=1))
    outcome = finished(
        start(project, cluster, "--default-resources", "slurm_partition=nowhere", "--", records()[0])
    )
    assert outcome.code == 1
    assert "invalid partition specified: nowhere" in outcome.output
    assert "Traceback" not in outcome.output
