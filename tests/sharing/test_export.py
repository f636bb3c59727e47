"""Sharing trained models: folders for the Hugging Face Hub, and ONNX."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import mmjsd
from mmjsd.cli import main
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from mmjsd.modalities import Modality
from mmjsd.models.vae import Scale
from mmjsd.provenance.files import sha256_file
from mmjsd.sharing import export as exporting
from mmjsd.sharing import onnx_networks
from mmjsd.training.model_file import NAME, build, save_model
from support.samples import make_run

NETWORKS = """
import {module}
from torch import nn

class Features(nn.Linear):
    def forward(self, x):
        return super().forward(x) + {extra}

encoder = lambda shape, width: Features(shape[0], 4)
decoder = lambda shape, latent, width: nn.Linear(latent, shape[0])
"""


def save(folder: Path, *, words: bool = True, **options) -> Path:
    """A model of a text and of numbers in units of their own, with fresh weights; untrained is enough."""
    torch.manual_seed(0)
    modalities = [Modality("numbers", "vector", (3,), 3)] + [Modality("words", "text", (3,), 3)] * words
    run = make_run(network_width=0.05, **options)
    model = build(modalities, run, folder).model
    model.scales = {"numbers": Scale.of(["a", "log1p(b)", "c=d"], [5.0, 0, 9], [2.0, 1, 3], ["b"])}
    options = {"source": "folder", "modalities": {"numbers": {"log1p": ["b"]}}}
    about = {"run": run.recorded, "name": "own", "seed": 1, "data_sha256": "0" * 64, "classes": []}
    save_model(folder, model, **about, dataset={"kind": "table", "options": options})
    return folder


def record(folder: Path) -> None:
    """The records of its training and evaluation, and metrics."""
    digest = {"model.safetensors": sha256_file(folder / NAME)}
    for step, part in (("training", "outputs"), ("evaluation", "inputs")):
        parts = {"params": {}, "inputs": {}, "outputs": {}, "made": {"git.commit": "abc"}, part: digest}
        (folder / f"{step}.record.json").write_text(json.dumps(parts))
    (folder / "metrics.json").write_text(json.dumps({"coherence/random": 0.25, "meta/split": "test"}))


def test_a_run_is_a_folder_that_hugging_face_hub_loads_and_saves(tmp_path, monkeypatch, capsys):
    from mmjsd.sharing.hub import SharedVAE

    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    record(save(Path("run")))
    run = "run"
    assert main(["export", run, "--format", "huggingface", "--out", "shared"]) == 0
    assert (Path("shared") / NAME).read_bytes() == (Path(run) / NAME).read_bytes()
    shared = SharedVAE.from_pretrained("shared")
    for model in (shared, mmjsd.load("shared")):
        ours, theirs = (
            m.generate(n=2, generator=torch.Generator().manual_seed(0)) for m in (mmjsd.load(run), model)
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in ("words", "numbers"))
    shared.save_pretrained("again")
    for name in (NAME, "config.json", "README.md"):
        assert (Path("again") / name).read_bytes() == (Path("shared") / name).read_bytes()

    card = Path("shared/README.md").read_text()
    assert "| random coherence | 0.25 |" in card
    assert "Licence of the data, as far as known: not known to mmjsd" in card
    assert "| objective | mmjsd |" in card
    assert "| git.commit | abc |" in card
    assert "Vectors are given and generated in the units of the data." in card
    assert "in this order:\n\n- `numbers`: `a`, `b` (trained on log(1 + x)), `c=d`\n" in card

    with torch.no_grad():
        next(shared.parameters()).add_(1)
    shared.save_pretrained("tuned")
    assert "It has not been evaluated." in Path("tuned/README.md").read_text()
    Path("again", NAME).write_bytes(Path("tuned", NAME).read_bytes())
    with pytest.raises(MmjsdError, match=r"again: config\.json is of another model"):
        SharedVAE.from_pretrained("again")
    Path(run, NAME).write_bytes(Path("tuned", NAME).read_bytes())
    assert main(["export", run, "--format", "huggingface", "--out", "stale"]) == 1
    assert "record.json: is of another model than model.safetensors beside it" in capsys.readouterr().err
    assert not Path("stale").exists()


@pytest.mark.parametrize("private", [0, 2])
def test_networks_as_onnx_compute_the_same(private: int, tmp_path: Path):
    """Also networks of the user's own, and vectors in the units of the data, logarithms where these are."""
    from onnxruntime import InferenceSession

    (tmp_path / "own.py").write_text(NETWORKS.format(module="math", extra="0.5"))
    save(tmp_path, words=private > 0, private_latent=private, networks={"numbers": "own.py"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exporting.export(tmp_path, tmp_path / "out", "onnx")
        model = mmjsd.load(tmp_path)
    x = torch.tensor([[4.0, 1, 2], [6, -1, 3], [5, 0, 9]])
    with torch.no_grad():
        expected = model.encode(model.prepare({"numbers": [[a, math.expm1(b), c] for a, b, c in x.tolist()]}))
    encoder = InferenceSession(tmp_path / "out/numbers-encoder.onnx")
    names = [output.name for output in encoder.get_outputs()]
    computed = dict(zip(names, encoder.run(None, {"x": x.numpy()}), strict=True))
    assert np.allclose(computed["shared_mean"], expected.shared.mean[0], atol=1e-5)
    assert ("private_mean" in computed) == bool(private)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    networks = {f"{name}-{part}.onnx" for name in model.modalities for part in ("encoder", "decoder")}
    assert files == networks | {"README.md", "config.json"}
    card = (tmp_path / "out/README.md").read_text()
    assert "| `numbers-encoder.onnx` | `x` (B, 3) |" in card
    assert "`log1p(x)` is the logarithm log(1 + x)" in card
    assert "Their values, in this order:\n\n- `numbers`: `a`, `log1p(b)`, `c=d`\n" in card


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("random.random()", "computes something else as ONNX"),
        ("(x.sum() > 0 or 2)", "cannot be written as ONNX"),
    ],
)
def test_networks_that_onnx_cannot_hold_are_refused(extra, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(NETWORKS.format(module="random", extra=extra))
    model = mmjsd.load(save(tmp_path, networks={"numbers": "own.py"}))
    network = onnx_networks._Encoder(model, "numbers")
    with pytest.raises(MmjsdError, match=f"numbers-encoder: {told}"):
        onnx_networks._write(network, {"x": torch.ones(5, 3)}, ["a", "b"], tmp_path / "numbers-encoder.onnx")


def test_bad_exports_are_a_line_and_leave_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(NETWORKS.format(module="math", extra="0"))
    Path("run").mkdir()
    Path("full").mkdir()
    Path("full/file").touch()
    save(Path("run"), networks={"numbers": "../own.py"})
    Path("run/own.py").touch()

    def refused(run: str, format: str, out: str) -> str:
        there = set(tmp_path.rglob("*"))
        assert main(["export", run, "--format", format, "--out", out]) == 1
        assert set(tmp_path.rglob("*")) == there
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "none/model.safetensors: no such file" in refused("none", "onnx", "out")
    assert "full: is not empty" in refused("run", "onnx", "full")
    assert "own.py: is a file" in refused("run", "huggingface", "own.py")
    real = importlib.util.find_spec
    for format, package in (("onnx", "onnxscript"), ("huggingface", "huggingface_hub")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", lambda p, p2=package: None if p == p2 else real(p))
            patch.delitem(__import__("sys").modules, "mmjsd.sharing.hub", raising=False)
            assert refused("run", format, "out").endswith(f"in a clone `uv run --extra {format}`")


def test_a_shared_folder_carries_no_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(NETWORKS.format(module="math", extra="0"))
    save(tmp_path, networks={"numbers": "own.py"})
    assert main(["export", ".", "--format", "huggingface", "--out", "out"]) == 1
    assert (
        "networks of numbers from own.py, code that a shared model does not carry" in capsys.readouterr().err
    )
    assert not Path("out").exists()


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def half(run: Path, folder: Path) -> None:
        (folder / "half").touch()
        raise Interrupted(15, "ended")

    monkeypatch.setattr(onnx_networks, "write_onnx", half)
    with pytest.raises(Interrupted):
        exporting.export(tmp_path, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []
