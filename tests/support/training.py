"""Runs that are trained, interrupted and compared."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmjsd import registry
from mmjsd.data.store import Store
from mmjsd.interruption import Interrupted
from mmjsd.models import classifiers
from mmjsd.params import Run
from mmjsd.params.types import MeanName
from mmjsd.training import checkpoint, loop
from mmjsd.training.history import read_history
from support.samples import make_run

__all__ = [
    "VARIANTS",
    "assert_same_weights",
    "begun_again_and_again",
    "interrupted",
    "losses",
    "train",
    "train_judges_briefly",
    "weights",
]


def _variants() -> list[dict[str, Any]]:
    """Each objective, with each mean in turn where it takes one."""
    variants = []
    for objective in registry.entries("objectives"):
        variants.append({"objective": objective})
        for name, option in registry.options_of("objectives", objective).items():
            if option.annotation == MeanName:
                others = [mean for mean in registry.entries("means") if mean != option.default]
                variants += [{"objective": objective, name: mean} for mean in others]
    return variants


VARIANTS = _variants()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    assert weights(one).keys() == weights(other).keys()
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def losses(folder: Path) -> list[dict[str, float]]:
    """The history without what depends on the time it took."""
    rows = read_history(folder / "history.csv")
    return [{k: v for k, v in row.items() if not k.endswith(("seconds", "_second"))} for row in rows]


def train(store: Store, folder: Path, run: Run | None = None, **options: Any) -> None:
    loop.train(
        run or make_run(**options.pop("run_options", {})),
        store,
        folder,
        name="tiny",
        **({"seed": 1, "fingerprint": "f"} | options),
    )


def train_judges_briefly(patch: pytest.MonkeyPatch, steps: int = 5) -> None:
    """For tests in which it does not matter how well they judge."""
    patch.setattr(classifiers, "LEAST", steps)


class Unplugged(Exception):
    pass


def interrupted(store: Store, folder: Path, after: int, **options: Any) -> None:
    """Training that dies when a checkpoint has just been written, the `after`th."""
    real, written = checkpoint.atomic_write, []

    def dying(path: Path, content: bytes) -> None:
        real(path, content)
        written.append(path)
        if len(written) == after:
            raise Unplugged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "atomic_write", dying)
        with pytest.raises(Unplugged):
            train(store, folder, **options)


def begun_again_and_again(store: Store, folder: Path, steps: int, **options: Any) -> int:
    """Training that is asked to end a number of steps after each start; how often it was."""
    for times in range(100):
        left = iter([None] * steps)
        try:
            train(store, folder, asked_to_end=lambda left=left: next(left, signal.SIGTERM), **options)
        except Interrupted as ended:
            told = (ended.number, str(ended))
        else:
            return times
        text = f"{folder / 'checkpoint.pt'}: saved; the same command goes on from there"
        assert told == (signal.SIGTERM, text)
        torch.manual_seed(99)  # what the interrupted process left behind must not matter
    raise AssertionError("never done")
