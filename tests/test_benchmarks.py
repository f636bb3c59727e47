"""That the benchmarks run where the tests do, and on GPUs that are not there."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmjsd import registry
from support.pretended import pretended_gpu

FOLDER = Path(__file__).parents[1] / "benchmarks"


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_throughput(monkeypatch, capsys, kind):
    """With a batch larger than the data, of which the samples that exist are counted."""
    options = {"rows": 1, "batch-size": 64, "steps": 2, "turn": 1, "threads": 1}
    monkeypatch.setattr(sys, "argv", ["", "--no-compile", *(f"--{k}={v}" for k, v in options.items())])
    with pretended_gpu(kind):
        benchmark("throughput").main()
    first, *rows = capsys.readouterr().out.strip().splitlines()
    assert f"batch 20, {kind}:0, 1 threads" in first
    assert "ours in float32" in first
    for row in rows[3:]:
        milliseconds, samples = (float(cell.replace(",", "")) for cell in row.split("|")[3:5])
        assert samples * milliseconds / 1000 == pytest.approx(20, rel=0.3)  # as far as it is printed
    assert len(rows[3:]) == 4


def test_determinism_has_a_gpu_among_its_runs(monkeypatch):
    module = benchmark("determinism")
    monkeypatch.setattr(module.torch.accelerator, "is_available", lambda: False)
    assert not any("gpu" in run for run in module.parameters(10)["runs"])
    for kind in ("cuda", "mps", "xpu"):
        with pretended_gpu(kind):
            runs = module.parameters(10)["runs"]
        assert {
            runs[f"{p}-gpu{again}"]["device"] for p in ("float32", "bfloat16") for again in ("", "-again")
        } == {kind}


def test_layers(monkeypatch, capsys):
    options = ["--batch-size=2", "--turns=1", "--width=0.02"]
    monkeypatch.setattr(sys, "argv", ["", *options])
    benchmark("layers").main()
    _, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert len(rows) == 2 * len(registry.entries("networks"))
    assert all(float(row.split("|")[-2]) > 0 for row in rows)
