"""Training on machines of other kinds: it chooses what works there, and says so in a line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmjsd.training import loop
from support.training import assert_same_weights, train

SCRIPT = """
import os, sys
from pathlib import Path
from support.samples import make_run
from mmjsd.training import loop
from mmjsd.data.store import read_store

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
loop.train(make_run(epochs=1, threads=2), read_store(sys.argv[1]), Path(sys.argv[2]), name="tiny", seed=1)
"""


@pytest.mark.e2e
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to a core")
@pytest.mark.parametrize("limit", ["AVX512_CORE", "SSE41"])
def test_a_small_old_machine(store, tmp_path, limit):
    """One core, where two threads would wait for each other, and no bfloat16."""
    environment = os.environ | {
        "ONEDNN_MAX_CPU_ISA": limit,
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, store.path, tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[0]
    assert said == "tiny seed 1: on cpu in float32, not compiled, threads: 1, data in memory"


@pytest.mark.parametrize(("free", "place"), [(2**31, "in memory"), (2**18, "read from their file, which is")])
def test_a_machine_with_little_memory(store, tmp_path, monkeypatch, capsys, free, place):
    monkeypatch.setattr(loop, "memory_budget", lambda _: free // 2)
    train(store, tmp_path / "here")
    assert f"threads: 1, data {place}" in capsys.readouterr().out.splitlines()[0]
    monkeypatch.undo()
    train(store, tmp_path / "elsewhere")
    assert_same_weights(tmp_path / "here", tmp_path / "elsewhere")
