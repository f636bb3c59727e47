"""kill -9 at any moment, then the same command again: the very results of an undisturbed run.

A few steps are killed in the normal test run; `pytest -n 0 tests/reliability --kills 40` kills forty, those
that take long or need more data too, and whole runs of snakemake.
"""

import copy
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock, Timeout

from mmjsd.provenance.records import Product
from support.disturbed import UNFINISHED, assert_as_before, leftovers, logged, numbers
from support.project import PARAMS, Outcome, Project, finished, read_until
from support.repository import Repository

#: Those at the front are killed first.
STEPS = [
    "train js --seed 1",
    "data build tiny",
    "evaluate js --seed 1",
    "track js --seed 1",
    "classify tiny text",
    "train often --seed 1",
    "data build faces",
    "figures js --seed 1",
    "compare",
    "summarise",
    "classify tiny mnist",
    "report",
    "train moe --seed 1",
    "curves tiny",
    "publish",
    "classify tiny svhn",
]
#: A run that writes a checkpoint after every step, and faces, which the tiny parameters lack.
MORE = {
    "runs": {"often": {"dataset": "tiny", "objective": "mvae", "batch_size": 200, "epochs": 40}},
    "datasets": {
        "faces": {
            "kind": "celeba",
            "options": {"standin_train": 300, "standin_val": 10, "standin_test": 30},
        }
    },
}
LONG = {"long": {"dataset": "tiny", "objective": "mmjsd", "epochs": 10000}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(metafunc.config.getoption("kills")))


@pytest.fixture(scope="session")
def whole(made: tuple[Project, Outcome], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project, to which more steps are added as they are needed."""
    folder = Path(shutil.copytree(made[0].folder, tmp_path_factory.mktemp("whole") / "project"))
    return Project(folder)


def undisturbed(project: Project, step: str) -> tuple[Product, float]:
    """The product of a step, which is made where it is missing, and the seconds that takes."""
    parameters = copy.deepcopy(PARAMS)
    if step in ("train often --seed 1", "data build faces"):
        parameters["runs"] |= MORE["runs"]
        parameters["datasets"] |= MORE["datasets"]
        parameters["runs"]["face"] = {"dataset": "faces", "objective": "mmjsd"}
    project.write(parameters)
    product = project.product(step)
    benchmark = project.folder / product.benchmark
    if not benchmark.exists():
        started = time.perf_counter()
        assert project.run(step).code == 0
        benchmark.write_text(f"s\n{time.perf_counter() - started}\n")
    seconds = float(benchmark.read_text().splitlines()[1].split("\t")[0])
    return product, max(seconds, 3.0)  # a process takes that long to start, which some benchmarks leave out


def test_killed_step(kill: int, whole: Project, tmp_path: Path, kills: list[str]) -> None:
    step = STEPS[kill % len(STEPS)]
    product, seconds = undisturbed(whole, step)
    before, runs = numbers(whole.folder), logged(whole.folder)
    project = Project(Path(shutil.copytree(whole.folder, tmp_path / "copy")))
    project.remove(product)

    process = project.start(step)
    moment = random.Random(kill).uniform(0, seconds)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    killed = finished(process)
    left = numbers(project.folder)
    assert left == {name: before[name] for name in left}  # whole, or not there
    unfinished = leftovers(project.folder)

    again = project.run(step)
    assert again.code == 0, again.output
    assert numbers(project.folder) == before
    assert logged(project.folder) == runs
    assert leftovers(project.folder) == []
    assert product.name not in project.stale()
    when = "at work" if killed.code == -signal.SIGKILL else "just done"
    kept = ", ".join(path.name for path in unfinished) or "nothing"
    kills.append(f"{step:21} {moment:5.1f} of {seconds:5.1f} s, {when}, left {kept}: same results")


def test_killed_snakemake(project: Project) -> None:
    """Its group is killed, then it alone: the next one takes over, or waits for the job that lives on."""
    before = numbers(project.folder)
    product = project.product("train js --seed 1")
    project.remove(product)

    process = project.start_snakemake(str(product.record))
    read_until(process, "training js")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((project.folder / ".snakemake/locks").iterdir())

    process = project.start_snakemake(str(product.record))
    job = at_work(process, project.folder / product.benchmark.with_suffix(".lock"))
    job.suspend()
    process.kill()
    process.wait()
    again = project.start_snakemake(str(product.record))
    read_until(again, f"{product.record}: another process is making it")
    job.resume()
    ended = finished(again)
    assert ended.code == 0, ended.output
    assert f"{product.record}: made meanwhile" in ended.output
    assert numbers(project.folder) == before
    assert leftovers(project.folder) == []


def at_work(process: subprocess.Popen[str], lock: Path) -> psutil.Process:
    """The step that snakemake runs, once it has its turn."""
    for _ in range(600):
        time.sleep(0.05)
        try:
            with FileLock(lock, timeout=0):
                continue
        except Timeout:
            children = psutil.Process(process.pid).children(recursive=True)
            return next(child for child in children if "python" in child.name() or "mmjsd" in child.name())
    raise AssertionError("no step has begun")


@pytest.mark.parametrize("command", ["snakemake --cores 2", "dvc repro"])
def test_killed_runs_of_everything(
    command: str, tmp_path: Path, made: tuple[Project, Outcome], kills: list[str], pytestconfig: pytest.Config
) -> None:
    """From nothing to the end, killed again and again."""
    rounds = pytestconfig.getoption("kills") // 8
    if rounds < 1:
        pytest.skip("only with more --kills")
    (tmp_path / "repository").mkdir()
    project, chosen = Repository(tmp_path / "repository"), random.Random(command)
    project.write(PARAMS)
    project.begin()
    for _ in range(rounds):
        process = project.start_command(*command.split())
        moment = chosen.uniform(3, 40)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        killed = finished(process)
        done = len(list(project.folder.rglob("*record.json")))
        when = "at work" if killed.code == -signal.SIGKILL else "just done"
        kills.append(f"{command:21} {moment:5.1f} s, {when}, {done} products made: gone on from there")
    again = project.call(*command.split())
    assert again.code == 0, again.output
    assert_as_before(project.folder, numbers(made[0].folder), logged(made[0].folder))
    assert project.stale() == {}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_saves_first(project: Project, number: int, code: int) -> None:
    edited = copy.deepcopy(PARAMS)
    edited["runs"] |= LONG
    project.write(edited)
    checkpoint = Path("results/tiny/long/seed-1") / UNFINISHED
    process = project.start("train long")
    read_until(process, "epoch 2/")
    process.send_signal(number)
    ended = finished(process)
    assert ended.code == code
    assert ended.output.splitlines()[-1] == f"{checkpoint}: saved; the same command goes on from there"
    (project.folder / checkpoint).unlink()

    # to the whole group as from a terminal, and to snakemake alone as from a process manager
    process = project.start_snakemake("results/tiny/long/seed-1/training.record.json")
    read_until(process, "epoch 2/")
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    ended = finished(process)
    assert ended.code == 1
    assert f"{checkpoint}: saved" in ended.output
    assert f"{checkpoint}: saved" in (project.folder / "logs/tiny/long/seed-1/train.log").read_text()
    assert (project.folder / checkpoint).exists()
