"""That the benchmark of GPUs runs where there is one, where there is none, and on some that are not there."""

import contextlib
import importlib
import json
import math
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmjsd import registry
from support.pretended import pretended_gpu
from support.project import REPOSITORY


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))


def gpu_benchmark(monkeypatch, tmp_path, *options: str) -> dict[str, Any]:
    small = ("--steps=2", "--batch-size=4", "--width=0.02", "--rows=20", "--no-compile")
    monkeypatch.setattr(sys, "argv", ["", *small, f"--json={tmp_path / 'gpu.json'}", *options])
    module = importlib.import_module("gpu")
    module.WARM_UP = module.REPEATS = 1
    module.main()
    return json.loads((tmp_path / "gpu.json").read_text())


@pytest.mark.parametrize(
    "kind", ["cpu", *(pytest.param(kind, marks=pytest.mark.e2e) for kind in ("cuda", "mps"))]
)
def test_gpu(monkeypatch, tmp_path, capsys, kind):
    """On the processor, as docs/gpu.md says, and on GPUs that are not there; captured is what can be."""
    objectives = len(registry.entries("objectives"))
    captured = ["captured"] * (kind == "cuda")
    with contextlib.nullcontext() if kind == "cpu" else pretended_gpu(kind):
        found = gpu_benchmark(monkeypatch, tmp_path, f"--device={kind}")
    assert [row["eager and"] for row in found["agreement"]] == ["again", *captured] * objectives
    assert all(row["largest relative difference"] == 0 and not row["fault"] for row in found["agreement"])
    for part, count in (("training", objectives), ("faces", 1)):
        rows = [row for row in found[part] if row["precision"] == "float32"]
        assert [row["way"] for row in rows] == ["eager", *captured] * count
        assert all(row["samples/s"] == pytest.approx(4000 / row["ms"]) for row in rows)
    assert all(row["paper's run, min"] > 0 for row in found["training"] if "ms" in row)
    assert all(row["matrix rate %"] > 0 for row in found["faces"] if "ms" in row)
    assert all(row["samples/s"] > 0 for row in found["loop"])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'gpu.json'}: please send this file back" in out
    assert "(aimed at: 50)" in out


def test_gpu_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for device, line in (("auto", "device: there is no GPU here"), ("cuda:7", "device: cuda:7 is not there")):
        with pytest.raises(SystemExit) as refused:
            gpu_benchmark(monkeypatch, tmp_path, f"--device={device}")
        assert str(refused.value).startswith(line)  # which Python prints, and exits with 1
        assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_matrix_products_are_all_the_work_there_is():
    """Of linear layers and convolutions, transposed or not, forwards and backwards, as torch counts it."""
    layers = [nn.Conv2d(3, 8, 4, 2, 1), nn.ConvTranspose2d(8, 5, 4, 2, 1), nn.Flatten(), nn.Linear(5 * 64, 7)]
    network, x = nn.Sequential(*layers), torch.rand(2, 3, 8, 8, requires_grad=True)
    with importlib.import_module("gpu").Products() as found, FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    counted = sum(2 * count * math.prod(shape) for shape, count in found.counts.items())
    assert counted == counter.get_total_flops() > 0
