"""One model trained by two processes, against the same by one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mmjsd import cli
from mmjsd.data.store import read_store
from support.processes import CASES, RESUMED, by_two, gradients_of_faces, in_processes
from support.samples import make_faces, make_run, make_store
from support.training import assert_same_weights, losses, train, weights

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    make_store(folder / "tiny.h5")
    make_store(folder / "gaps.h5", missing=0.4)
    make_faces(folder / "faces.h5")
    return folder


@pytest.fixture(scope="module")
def two(stores, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    in_processes(2, by_two, folder, stores)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_one(two, stores, tmp_path, name):
    store, options = CASES[name]
    train(read_store(stores / f"{store}.h5"), tmp_path, run_options=options)
    for ours, theirs in zip(losses(two / name), losses(tmp_path), strict=True):
        # divergences of experts that are nearly equal are differences of nearly equal numbers
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    start = make_run(**options).learning_rate
    for key, value in weights(tmp_path).items():
        # Adam makes whole steps of gradients that are nothing but rounding
        assert (weights(two / name)[key] - value).abs().mean() < 1e-2 * start, key


def test_statistics_of_batches_are_of_the_whole_batch(two, stores, tmp_path):
    gradients_of_faces(tmp_path, stores)
    one, *both = (
        torch.load(path) for path in (tmp_path / "gradients-0.pt", *sorted(two.glob("gradients-?.pt")))
    )
    length = torch.cat([g.flatten() for g in one]).norm()
    assert len(both) == 2
    for gradients in both:
        assert max((a - b).norm() for a, b in zip(one, gradients, strict=True)) < 1e-5 * length
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))
    one, ours = weights(tmp_path / "faces"), weights(two / "faces")
    for key in (key for key in one if "running" in key):
        np.testing.assert_allclose(ours[key], one[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_what_is_resumed_by_as_many_is_the_same(two):
    assert_same_weights(two / "whole", two / "resumed")
    assert losses(two / "whole") == losses(two / "resumed")


def test_what_is_resumed_by_one_is_the_same_up_to_rounding(two, stores, capsys):
    saved = torch.load(two / "resumed-by-one/checkpoint.pt", weights_only=True)
    assert saved["epoch"]["steps"] == 1
    train(read_store(stores / "tiny.h5"), two / "resumed-by-one", run_options=RESUMED)
    assert (
        "processes: 2 until here, and on cpu in float32, not compiled, threads: 1 from"
        in capsys.readouterr().err
    )
    for ours, theirs in zip(losses(two / "resumed-by-one"), losses(two / "whole"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)


# --- The command ------------------------------------------------------------------------------------------


@pytest.fixture
def project(stores, tmp_path, monkeypatch) -> Path:
    """A run of two processes, whose dataset is built."""
    monkeypatch.chdir(tmp_path)
    options = {"standin_train": 200, "standin_test": 50, "pairs_per_sample": 1}
    run = {"dataset": "digits", "objective": "mmjsd", "processes": 2, "epochs": 10_000}
    params = {
        "datasets": {"digits": {"kind": "mnist_svhn_text", "options": options}},
        "training": {"batch_size": 32, "device": "cpu", "precision": "float32", **QUIETLY},
        "runs": {"pair": run},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert cli.main(["data", "build", "digits"]) == 0
    return tmp_path


def change(project: Path, **options: object) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["runs"]["pair"] |= options
    (project / "params.yaml").write_text(yaml.safe_dump(params))


@contextlib.contextmanager
def started(*before: str):
    command = [*(before or (sys.executable, "-m")), "mmjsd", "train", "pair"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def until(child: subprocess.Popen, text: str) -> None:
    assert child.stdout is not None
    assert any(text in line for line in child.stdout)


def members(child: subprocess.Popen) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]


def wait_for_the_end(pids: list[int]) -> None:
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


QUIETLY = {"threads": 1, "tracking": "after"}
SAVED = "results/digits/pair/seed-1/checkpoint.pt: saved; the same command goes on from there"


def test_the_command_ends_as_its_processes_end(project):
    """Asked to end, by Ctrl-C all at once; damaged, told by the first; one killed; the starter killed."""
    for number, ask in ((signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)):
        with started() as child:
            until(child, ": epoch ")
            ask(child.pid, number)
            *_, last = child.communicate()[0].splitlines()
        assert (child.returncode, last) == (128 + number, SAVED)

    checkpoint = project / "results/digits/pair/seed-1/checkpoint.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:1000])
    with started() as child:
        told = child.communicate()[0].splitlines()
    assert (child.returncode, [line for line in told if "checkpoint" in line]) == (1, told[-1:])
    assert told[-1].endswith("delete it to start over")
    checkpoint.write_bytes(content)

    with started() as child:
        until(child, ": epoch ")
        os.kill(members(child)[1], signal.SIGKILL)
        told = [line for line in child.communicate()[0].splitlines() if "epoch" not in line]
    assert child.returncode == 1
    assert told == [
        "train pair: one of its 2 processes was ended by SIGKILL, perhaps for want of memory; the same "
        "command goes on from the last checkpoint"
    ]

    with started() as child:
        until(child, ": epoch ")
        pids = members(child)
        child.kill()
        wait_for_the_end(pids)
        assert child.stdout.read().splitlines()[-1] == SAVED


def test_torchrun_starts_it(project):
    change(project, epochs=1)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    with started(*torchrun, "2", "-m") as child:
        told = child.communicate()[0]
    assert child.returncode == 0, told
    assert told.count("epoch 1/1") == 1
    assert (project / "results/digits/pair/seed-1/training.record.json").is_file()
    with started(*torchrun, "3", "-m") as child:
        told = child.communicate()[0]
    assert child.returncode == 1
    assert "train pair --seed 1: started as 3 processes; its parameter `processes` says 2" in told
