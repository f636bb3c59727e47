"""Files of weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmjsd.errors import MmjsdError
from mmjsd.models import weights

ABOUT = {"kind": "model", "classes": ["a", "é"], "run": {"beta": 2.5}}


def some() -> dict[str, torch.Tensor]:
    images = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    return {"b": images, "a.c": torch.arange(3), "a": torch.tensor(0.5), "none": torch.zeros(0, 2)}


def test_what_is_written_is_read(tmp_path):
    path, content = tmp_path / "model.safetensors", some()
    weights.write(path, content, ABOUT)
    found, about = weights.read(path, "model", "train")
    assert found.keys() == content.keys()
    for name, value in content.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype
    assert about.items() >= ABOUT.items()
    # as everybody reads such files
    assert torch.equal(load_file(path)["b"], content["b"])


def test_equal_content_gives_equal_bytes(tmp_path):
    content = some()
    for name in ("x", "y"):
        weights.write(tmp_path / name, content, ABOUT)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_files_of_weights_are_finite(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    content = {"a.b": torch.ones(2), "c": torch.tensor([1.0, float("nan")])}
    with pytest.raises(
        MmjsdError, match=r"model\.safetensors: not written, for its weights are not finite \(c\)"
    ):
        weights.write(path, content, ABOUT)
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(weights, "not_finite", lambda _: [])
        weights.write(path, content, ABOUT)
    with pytest.raises(MmjsdError, match=r"model\.safetensors: its weights are not finite \(c\); train"):
        weights.read(path, "model", "train")


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def swap_two(path):
    content = load_file(path)
    _, about = weights.read(path, "model", "")
    content["a"], content["d"] = content["d"], content["a"]
    save_file(content, path, {"mmjsd": json.dumps(about)})


def overwrite(content):
    return lambda path: path.write_bytes(content)


DAMAGES = {
    "cut short": (cut_short, "damaged, or not a file of weights"),
    "empty": (overwrite(b""), "damaged, or not a file of weights"),
    "text": (overwrite(b"hello"), "damaged, or not a file of weights"),
    "of nobody": (lambda path: save_file({"a": torch.ones(2)}, path), "not a model"),
    "said otherwise": (lambda path: save_file({"a": torch.ones(2)}, path, {"mmjsd": "[1]"}), "not a model"),
    "no JSON": (
        lambda path: save_file({"a": torch.ones(2)}, path, {"mmjsd": "{"}),
        "damaged, or not a file of weights",
    ),
    "of another kind": (lambda path: weights.write(path, some(), {"kind": "classifier"}), "not a model"),
    "a flipped bit": (flip_a_bit, "damaged, its content is not what was written"),
    "two swapped": (swap_two, "damaged, its content is not what was written"),
    "gone": (lambda path: path.unlink(), "no such file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_what_was_written_is_refused(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    weights.write(path, {"a": torch.ones(2), "d": torch.zeros(2)}, ABOUT)
    do, told = DAMAGES[damage]
    do(path)
    with pytest.raises(MmjsdError) as refused:
        weights.read(path, "model", "train the run again")
    assert str(refused.value) == f"{path}: {told}; train the run again"


def test_files_of_versions_before_are_told(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"whatever")
    with pytest.raises(MmjsdError, match=r"model\.pt: written by version 0\.1, which .*; train$"):
        weights.read(tmp_path / "model.safetensors", "model", "train")
