from pathlib import Path

import pytest
import torch

import mmjsd
from mmjsd.errors import MmjsdError
from mmjsd.models import weights as files
from support.samples import make_faces
from support.training import train, weights


def test_load_gives_the_trained_model(store, tmp_path):
    train(store, tmp_path, run_options={"private_latent": 2})
    model = mmjsd.load(tmp_path)
    assert not model.training
    assert torch.equal(model.state_dict()["heads.text.bias"], weights(tmp_path)["heads.text.bias"])
    assert model.encode({"text": torch.zeros(2, 8, dtype=torch.int64)}).shared.mean.shape == (1, 2, 20)


def test_likelihoods_and_learnt_scales_are_in_the_file(store, tmp_path):
    options = {"likelihoods": {"mnist": "bernoulli", "svhn": "normal"}, "likelihood_scale": "learned"}
    train(store, tmp_path, run_options=options)
    model = mmjsd.load(tmp_path)
    assert model.likelihoods == {"mnist": "bernoulli", "svhn": "normal", "text": "categorical"}
    assert list(model.log_scales) == ["svhn"]
    assert torch.equal(model.log_scales["svhn"], weights(tmp_path)["log_scales.svhn"])
    assert 0.9 < model.likelihood_scale("svhn").detach().item() < 0.999  # on its way from 1 downwards
    assert 0 <= model.generate(n=3)["mnist"].min() <= model.generate(n=3)["mnist"].max() <= 1


def test_learnt_weights_are_in_the_file(store, tmp_path):
    train(store, tmp_path, run_options={"learn_weights": True})
    found = mmjsd.load(tmp_path).learnt_weights().detach()
    assert found.sum() == pytest.approx(1)
    assert (found - 0.25).abs().min() > 1e-4  # on their way from pi


def test_the_form_of_faces_is_in_the_file(tmp_path):
    """So that pictures are cut as they were for training: the shape does not say it."""
    faces = make_faces(tmp_path / "faces.h5")
    options = {"network_width": 0.02, "epochs": 1, "batch_size": 8}
    train(faces, tmp_path, run_options=options)
    assert mmjsd.load(tmp_path).forms == {"image": "face", "text": "attributes"}


def test_load_refuses(tmp_path):
    with pytest.raises(MmjsdError, match=r"model\.safetensors: no such file"):
        mmjsd.load(tmp_path)
    (tmp_path / "model.safetensors").write_text("hello")
    with pytest.raises(MmjsdError, match=r"model\.safetensors: damaged"):
        mmjsd.load(tmp_path)
    files.write(tmp_path / "model.safetensors", {}, {"kind": "classifier"})
    with pytest.raises(MmjsdError, match=r"model\.safetensors: not a model"):
        mmjsd.load(tmp_path)


def test_load_names_the_folders_that_may_be_meant(tmp_path, monkeypatch):
    """Where that of the seed is left out, or the run alone is named; of the command line, too."""
    monkeypatch.chdir(tmp_path)
    seeds = [Path(f"results/mine/mine-mmjsd/seed-{seed}") for seed in (1, 2)]
    for seed in seeds:
        seed.mkdir(parents=True)
        (seed / "model.safetensors").write_text("hello")
    near = f"did you mean {seeds[0]} or {seeds[1]}?"
    for folder in (
        "results/mine/mine-mmjsd",
        "results/mine/",
        "results",
        "mine-mmjsd",
        str(tmp_path / "results"),
    ):
        with pytest.raises(MmjsdError) as error:
            mmjsd.load(folder)
        told = f"{Path(folder)}/model.safetensors: no such file; {near}"
        assert (
            str(error.value).replace(f"mean {tmp_path}/", "mean ").replace(f"or {tmp_path}/", "or ") == told
        )
    (seeds[1] / "model.safetensors").unlink()
    for folder in (f"{seeds[0]}/model.safetensors", "mine-mmjsd"):
        with pytest.raises(MmjsdError, match=f"no such file; did you mean {seeds[0]}\\?$"):
            mmjsd.load(folder)
    for folder in (seeds[1], "other", "[", "."):
        with pytest.raises(MmjsdError, match="no such file; train the run"):
            mmjsd.load(folder)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_load_executes_nothing(tmp_path, capsys):
    torch.save({"kind": "model", "weights": Bomb()}, tmp_path / "model.safetensors")
    with pytest.raises(MmjsdError):
        mmjsd.load(tmp_path)
    assert "executed" not in capsys.readouterr().out
