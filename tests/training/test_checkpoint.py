"""Training that is interrupted and goes on."""

import shutil

import pytest
import torch

from mmjsd import devices, registry
from mmjsd.data import batches
from mmjsd.errors import MmjsdError
from mmjsd.training import checkpoint
from support.samples import make_run
from support.training import assert_same_weights, begun_again_and_again, interrupted, losses, train


def saved(folder):
    """What a checkpoint holds."""
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("after", [1, 2])
def test_resumes_exactly(store, tmp_path, after):
    train(store, tmp_path / "whole")
    interrupted(store, tmp_path / "broken", after)
    assert not (tmp_path / "broken/model.safetensors").exists()
    torch.manual_seed(99)  # what the interrupted process left behind must not matter
    train(store, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize(
    ("objective", "resident_bytes"),
    # the order of the data is that of all objectives
    [*((objective, None) for objective in registry.entries("objectives")), ("mmjsd", 0)],
)
def test_resumes_exactly_from_within_an_epoch(store, tmp_path, monkeypatch, objective, resident_bytes):
    monkeypatch.setattr(batches, "BLOCK", 2)  # interrupted within a block and between two
    options = {"run_options": {"objective": objective, "resident_bytes": resident_bytes, "private_latent": 2}}
    train(store, tmp_path / "whole", **options)
    for steps, times in ((0, 9), (4, 2)):  # after every step; after some, and beyond the end of an epoch
        assert begun_again_and_again(store, tmp_path / f"{steps}", steps, **options) == times
        assert (tmp_path / f"{steps}/model.safetensors").read_bytes() == (
            tmp_path / "whole/model.safetensors"
        ).read_bytes()
        assert losses(tmp_path / f"{steps}") == losses(tmp_path / "whole")


def test_long_epochs_are_saved_within(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    train(store, tmp_path / "whole")
    interrupted(store, tmp_path / "broken", 2)  # that of the second step
    content = saved(tmp_path / "broken")
    assert (len(content["history"]), content["epoch"]["steps"]) == (0, 2)
    assert "goes on" not in capsys.readouterr().out
    train(store, tmp_path / "broken")
    assert "goes on from epoch 1\n" in capsys.readouterr().out
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_only_a_good_state_is_saved(store, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    with pytest.raises(MmjsdError, match=r"epoch 1, step 2: loss is not finite.*checkpoint\.pt"):
        train(store, tmp_path, make_run().model_copy(update={"learning_rate": 1e30}))
    assert torch.isfinite(saved(tmp_path)["epoch"]["losses"]).all()


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("c++"), reason="compilation needs a C++ compiler")
def test_resumes_exactly_when_compiled(store, tmp_path):
    compiled = {"run_options": {"compile": "on", "epochs": 1}}
    train(store, tmp_path / "whole", **compiled)
    assert begun_again_and_again(store, tmp_path / "broken", 1, **compiled) == 2
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_going_on_on_another_processor_is_told(store, tmp_path, monkeypatch, capsys):
    """`precision: auto` may be another there."""
    for native, precision, step in ((True, "bfloat16", interrupted), (False, "float32", train)):
        monkeypatch.setattr(devices, "_processor_has_bfloat16", lambda native=native: native)
        assert capsys.readouterr().err == ""
        step(store, tmp_path, **({"after": 1} if step is interrupted else {}))
        assert saved(tmp_path)["how"] == f"on cpu in {precision}, not compiled, threads: 1"
    until = "on cpu in bfloat16, not compiled, threads: 1"
    assert f"computed {until} until here, and on cpu in" in capsys.readouterr().err


def test_checkpoint_of_other_parameters(store, tmp_path):
    interrupted(store, tmp_path, 1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(MmjsdError, match=r"checkpoint.pt: belongs to other parameters.*--replace"):
        train(store, tmp_path, fingerprint="other")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train(store, tmp_path, fingerprint="other", replace=True)
    assert (tmp_path / "model.safetensors").exists()
    assert saved(tmp_path)["fingerprint"] == "other"


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def say(path, **content):
    """Another checkpoint with these entries."""
    torch.save({**torch.load(path, weights_only=True), **content}, path)


DAMAGES = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "damaged"),
    "text": (lambda path: path.write_text("hello"), "damaged"),
    "code": (lambda path: say(path, weights=Bomb()), "damaged"),
    "of another kind": (lambda path: say(path, kind="model"), "not a checkpoint"),
    "no weights": (lambda path: say(path, weights=[1]), "has no weights"),
    "no epoch": (lambda path: torch.save(without_epoch(path), path), "damaged"),
    "another model's": (lambda path: say(path, weights={"a": torch.ones(2)}), "damaged"),
    "not finite": (
        lambda path: say(path, weights={"a": torch.ones(2), "b": torch.tensor(torch.nan)}),
        r"its weights are not finite \(b\)",
    ),
}


def without_epoch(path):
    return {key: value for key, value in saved(path.parent).items() if key != "epoch"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint(store, tmp_path, capsys, damage):
    """It is refused in a line, as it is, and no code of it is executed."""
    interrupted(store, tmp_path, 1)
    path = tmp_path / "checkpoint.pt"
    do, told = DAMAGES[damage]
    do(path)
    before = path.read_bytes()
    capsys.readouterr()
    with pytest.raises(MmjsdError, match=rf"^.*checkpoint\.pt: {told}.*; delete it to start over$"):
        train(store, tmp_path)
    assert path.read_bytes() == before
    assert capsys.readouterr().out == ""


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path):
    model = torch.nn.Linear(2, 1)
    state = checkpoint.random_state(torch.device("cpu"))
    path = tmp_path / "checkpoint.pt"
    kept = checkpoint.Checkpoint(path, "f", model, torch.optim.Adam(model.parameters()), "", lambda: None)
    kept.save(state, [])
    before = path.read_bytes()
    torch.nn.init.constant_(model.bias, torch.nan)
    with pytest.raises(MmjsdError, match=r"checkpoint\.pt: not written, .* are not finite \(bias\)$"):
        kept.save(state, [])
    assert path.read_bytes() == before
