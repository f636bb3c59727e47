"""Networks from a file of the user's own: tried before training, part of the record, needed to load."""

from pathlib import Path

import pytest
import torch

import mmjsd
from mmjsd import params
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.models.networks.own import OwnNetworks
from mmjsd.pipeline.steps import Train
from support.training import train, weights

GOOD = """import math
from torch import nn


def encoder(shape, width):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(9), nn.Dropout(), nn.BatchNorm1d(9))


def decoder(shape, latent, width):
    return nn.Sequential(nn.Linear(latent, math.prod(shape)), nn.Unflatten(1, shape))
"""
PICTURE = Modality("scan", "image", (3, 5, 4), 60)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(GOOD)
    return Path("mine.py")


def test_they_are_trained_and_loaded(store, file, tmp_path, monkeypatch):
    """From the folder of the results as from elsewhere; a file that is gone or changed is told."""
    folder = tmp_path / "results/tiny/own/seed-1"
    train(store, folder, run_options={"networks": {"svhn": "mine.py"}, "epochs": 1})
    trained = weights(folder)
    assert trained["encoders.svhn.1.weight"].shape == (9, 3072)
    assert torch.isfinite(trained["heads.svhn.weight"]).all()
    for place in (tmp_path, tmp_path / "results"):
        monkeypatch.chdir(place)
        assert mmjsd.load(folder).generate(n=2)["svhn"].shape == (2, 3, 32, 32)
    own = tmp_path / "mine.py"
    own.write_text(GOOD.replace("nn.Dropout()", "nn.Tanh()"))
    line = r"model\.safetensors: has networks of svhn from mine\.py, which "
    with pytest.raises(MmjsdError, match=line + "has changed; restore that file, or train the run again$"):
        mmjsd.load(folder)
    own.unlink()
    with pytest.raises(MmjsdError, match=line + "is gone; put the file back$"):
        mmjsd.load(folder)


def test_a_trial_changes_nothing(file):
    body, features = OwnNetworks(file, PICTURE).encoder(PICTURE.shape, 1.0)
    assert features == 9
    assert body.training
    assert body[3].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "import math",
            "import maths",
            "cannot be imported: ModuleNotFoundError: No module named 'maths' (line 1); correct it",
        ),
        ("width):", "width:", "cannot be imported: SyntaxError: '(' was never closed (line 5); correct it"),
        ("def decoder", "def decode", "has no function decoder(shape, latent, width); write one"),
        (
            "(shape, width)",
            "(shape, size, width)",
            "encoder((3, 5, 4), 1.0) fails: TypeError: encoder() missing 1 required positional argument: "
            "'width'; correct it",
        ),
        (
            "nn.Sequential(nn.Flatten(),",
            "(nn.Flatten(),",
            "encoder((3, 5, 4), 1.0) gives a tuple, not a torch.nn.Module; return that",
        ),
        (
            "nn.Flatten(), ",
            "nn.Linear(5, 9), ",
            "what encoder((3, 5, 4), 1.0) gives fails on inputs (2, 3, 5, 4): RuntimeError: ",
        ),
        (
            "nn.BatchNorm1d(9)",
            "nn.Unflatten(1, (3, 3))",
            "encoder gives (2, 3, 3) of inputs (2, 3, 5, 4); must be (2, number of features)",
        ),
        (
            "nn.Unflatten(1, shape)",
            "nn.Unflatten(1, (1, 60))",
            "decoder gives (2, 1, 60) of inputs (2, 7); must be (2, 3, 5, 4)",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(file, old, new, line):
    file.write_text(GOOD.replace(old, new, 1))

    def built() -> None:
        own = OwnNetworks(file, PICTURE)
        own.encoder(PICTURE.shape, 1.0)
        own.decoder(PICTURE.shape, 7, 1.0)

    with pytest.raises(MmjsdError) as refusal:
        built()
    told = str(refusal.value)
    assert told.startswith(f"mine.py: networks of scan: {line}")  # what torch says depends on its version
    assert "\n" not in told


def test_the_content_is_in_the_record(file):
    Path("params.yaml").write_text(
        "datasets: {d: {kind: mnist_svhn_text}}\n"
        "runs: {r: {dataset: d, objective: mmjsd, networks: {svhn: mine.py, mnist: mine.py}}}\n"
    )
    inputs = Train(params.load(), run="r", seed=1).product.inputs
    assert inputs == (Path("data/d.h5"), Path("mine.py"))


def test_files_and_modalities_that_are_not_there_are_refused(file):
    Path("params.yaml").write_text(
        "datasets: {d: {kind: mnist_svhn_text}}\n"
        "runs: {r: {dataset: d, objective: mmjsd, networks: {scan: mine.py, svhn: my.py}}}\n"
    )
    with pytest.raises(MmjsdError) as refusal:
        params.load()
    assert str(refusal.value).splitlines() == [
        "params.yaml: runs.r.networks.scan: no such modality; the dataset has mnist, svhn, text",
        "params.yaml: runs.r.networks.svhn: must be an existing file (got 'my.py')",
    ]
