"""Work done by several processes of this machine that train together: what they do must be importable."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmjsd import distributed
from mmjsd.data.store import Store, read_store
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from support.training import VARIANTS, train

__all__ = ["CASES", "RESUMED", "by_two", "gradients_of_faces", "in_processes"]

#: 61 samples of 120 are one step an epoch, so that the history has the loss of each; they do not divide.
SHARED = {"batch_size": 61, "epochs": 5, "precision": "float32", "gradient_clipping": 1e4}
SUBSPACES = {"private_latent": 2, "kl_warmup_epochs": 2, "resident_bytes": 0, "missing": {"svhn": 0.3}}
CASES = {
    f"{store}-{'-'.join(variant.values())}{'-subspaces' * bool(more)}": (store, SHARED | variant | more)
    for variant in VARIANTS
    for store, more in (("tiny", {}), ("gaps", SUBSPACES))
    if len(variant) == 1 or more
}
#: Three steps an epoch.
RESUMED = {"batch_size": 31, "epochs": 3, "precision": "float32"}
FACES = {"batch_size": 5, "epochs": 1, "network_width": 0.1, "precision": "float32", "private_latent": 2}


def train_all(folder: Path, stores: Path) -> None:
    for name, (store, options) in CASES.items():
        train(read_store(stores / f"{store}.h5"), folder / name, run_options=options)


def gradients_of_faces(path: Path, stores: Path) -> None:
    """Those of one step of residual networks, which normalise each batch."""
    made = []

    def note(optimiser, *_):
        made.extend(p.grad.clone() for group in optimiser.param_groups for p in group["params"])

    hook = register_optimizer_step_pre_hook(note)
    try:
        train(read_store(stores / "faces.h5"), path / "faces", run_options=FACES)
    finally:
        hook.remove()
    torch.save(made, path / f"gradients-{distributed.rank()}.pt")


def by_two(folder: Path, stores: Path) -> None:
    """What two processes do, at once, for to start them takes seconds."""
    torch.set_num_threads(1)
    train_all(folder, stores)
    gradients_of_faces(folder, stores)
    tiny = read_store(stores / "tiny.h5")
    train(tiny, folder / "whole", run_options=RESUMED)
    # in the middle of an epoch the second is asked to end, and the first ends too
    asked = {0: lambda: None, 1: lambda: signal.SIGTERM}[distributed.rank()]
    with pytest.raises(Interrupted, match=r"checkpoint\.pt: saved; "):
        train(tiny, folder / "resumed", run_options=RESUMED, asked_to_end=asked)
    distributed.from_first(lambda: shutil.copytree(folder / "resumed", folder / "resumed-by-one"))
    train(tiny, folder / "resumed", run_options=RESUMED)
    with pytest.raises(
        MmjsdError, match=r"runs\.tiny\.processes: must be <= the samples of a batch; .* has 1"
    ):
        train(_of_one(tiny), folder / "one", run_options=RESUMED)


def _of_one(store: Store) -> Store:
    split = store.splits["train"]
    one = dataclasses.replace(split, pairs=split.pairs[:1], labels=None)
    return dataclasses.replace(store, splits={"train": one})


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call a function of a module in so many processes, and wait for all."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    members = [
        context.Process(target=_be_one, args=(rank, count, store.port, work, arguments))
        for rank in range(count)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert [member.exitcode for member in members] == [0] * count


def _be_one(rank: int, count: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"TORCHELASTIC_RUN_ID": "tests", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
    os.environ |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(count))
    with distributed.joined():
        work(*arguments)
