"""Steps of training captured as a CUDA graph, on a GPU that is not there; `graphs.py` says what it finds."""

import signal
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmjsd.data.store import Store
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from mmjsd.objectives import MMJSD
from mmjsd.training import loop
from support.graphs import Graph
from support.pretended import PretendedGPU, pretended_gpu
from support.samples import make_faces, make_own
from support.training import VARIANTS, assert_same_weights, begun_again_and_again, losses, train

pytestmark = pytest.mark.e2e

DEFAULTS = {"device": "auto", "epochs": 2, "network_width": 0.2}
ALL = {"private_latent": 2, "kl_warmup_epochs": 1, "gradient_clipping": 100.0}


def on_gpu(store: Store, folder: Path, **options) -> PretendedGPU:
    with pretended_gpu("cuda") as gpu:
        train(store, folder, run_options=DEFAULTS | options)
    return gpu


def launched_one_by_one(store: Store, folder: Path, **options) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "captured", lambda step, inputs: (step, None))
        assert on_gpu(store, folder, **options).graphs == []


def assert_same(one: Path, other: Path) -> None:
    assert_same_weights(one, other)
    assert losses(one) == losses(other)


# --- The numbers are the same -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "gaps", "options"),
    [
        *((variant, False, {}) for variant in VARIANTS if len(variant) == 1),
        *((variant, True, ALL | {"resident_bytes": 0}) for variant in VARIANTS),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_a_graph_of_every_objective(store, store_with_gaps, tmp_path, capsys, variant, options, gaps):
    """Nothing in it waits for a value, and what is different from step to step is a tensor."""
    data = store_with_gaps if gaps else store
    (graph,) = on_gpu(data, tmp_path / "captured", **variant, **options).graphs
    assert graph.replays == 2 * 3
    launched_one_by_one(data, tmp_path / "eager", **variant, **options)
    assert_same(tmp_path / "captured", tmp_path / "eager")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("make", "steps"), [(make_faces, 2), (make_own, 6)])
def test_a_graph_of_other_networks(tmp_path, capsys, make, steps):
    """Those of faces normalise their batches, and count them."""
    data = make(tmp_path / "store.h5")
    options = {"network_width": 0.05, "batch_size": 4}
    (graph,) = on_gpu(data, tmp_path / "captured", **options).graphs
    assert graph.replays == 2 * steps
    launched_one_by_one(data, tmp_path / "eager", **options)
    assert_same(tmp_path / "captured", tmp_path / "eager")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("way", ["bfloat16", "compiled"])
def test_a_graph_of_other_ways_to_compute(store, tmp_path, monkeypatch, way):
    """Autocast keeps what it has cast for as long as it lasts; a compiler is tried before the capture."""
    if way == "bfloat16":
        monkeypatch.setattr(loop, "autocast", lambda *_: torch.autocast("cpu", torch.bfloat16))
    else:
        monkeypatch.setattr(torch, "compile", lambda objective: lambda *inputs: objective(*inputs))
        monkeypatch.setattr(loop, "repays_compilation", lambda *_: True)
    (graph,) = on_gpu(store, tmp_path / "captured", **ALL).graphs
    assert graph.replays == 2 * 3
    launched_one_by_one(store, tmp_path / "eager", **ALL)
    assert_same(tmp_path / "captured", tmp_path / "eager")


@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
def test_resumes_exactly(store, tmp_path, resident_bytes):
    """From within an epoch, with graphs, without one, and with one again."""
    options = ALL | {"resident_bytes": resident_bytes}
    launched_one_by_one(store, tmp_path / "eager", **options)
    with pretended_gpu("cuda") as gpu:
        begun_again_and_again(store, tmp_path / "captured", 1, run_options=DEFAULTS | options)
        replays = [graph.replays for graph in gpu.graphs]
    assert (len(replays), sum(replays)) == (5, 2 * 3)
    assert_same(tmp_path / "captured", tmp_path / "eager")

    def until(steps, train_on):
        left = iter([None] * steps)
        with pytest.raises(Interrupted):
            train_on(lambda: next(left, signal.SIGTERM))

    def with_graph(asked_to_end):
        with pretended_gpu("cuda"):
            folder = tmp_path / "changing"
            train(store, folder, run_options=DEFAULTS | options, asked_to_end=asked_to_end)

    def without(asked_to_end):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "captured", lambda step, inputs: (step, None))
            with_graph(asked_to_end)

    until(1, with_graph)
    until(1, without)
    with_graph(lambda: None)
    assert_same(tmp_path / "changing", tmp_path / "eager")


def test_what_is_not_finite_is_told_alike(store, tmp_path, monkeypatch):
    build = loop.build

    def spoiled(*arguments):
        objective = build(*arguments)
        objective.register_buffer("steps", torch.zeros(()))

        def spoil(gradient):
            objective.steps.add_(1)
            return torch.where(objective.steps == 5, torch.inf, gradient)

        objective.model.heads["svhn"].bias.register_hook(spoil)
        return objective

    monkeypatch.setattr(loop, "build", spoiled)
    with pretended_gpu("cuda"), pytest.raises(MmjsdError, match=r"epoch 2, step 2: gradient is not finite"):
        train(store, tmp_path, run_options=DEFAULTS)


def test_the_optimiser_says_that_it_can_be_captured_only_then(store, tmp_path):
    """It warns of what it can be and is not."""
    said = []

    def note(optimiser, *_):
        said.append((gpu.capturing is not None, optimiser.param_groups[0]["capturable"]))

    with pretended_gpu("cuda") as gpu:
        hook = register_optimizer_step_pre_hook(note)
        try:
            train(store, tmp_path, run_options=DEFAULTS)
        finally:
            hook.remove()
    assert said == [(False, False)] * 4 + [(True, True)]
    groups = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimiser"]["param_groups"]
    assert [group["capturable"] for group in groups] == [False]


# --- Where it fails ---------------------------------------------------------------------------------------


def test_an_objective_that_waits_for_a_value(store, tmp_path, monkeypatch, capsys):
    """It is found before the capture, and trains as well."""
    launched_one_by_one(store, tmp_path / "eager")
    forward = MMJSD.forward

    def waiting(self, batch, warmup):
        loss = forward(self, batch, warmup)
        assert loss.loss.item() > 0
        return loss

    monkeypatch.setattr(MMJSD, "forward", waiting)
    (graph,) = on_gpu(store, tmp_path / "captured").graphs
    assert (graph.launched, graph.replays) == ([], 0)
    assert capsys.readouterr().err == (
        "tiny: training without a CUDA graph of the step (CUDA error: operation not permitted when stream is "
        "capturing (_local_scalar_dense))\n"
    )
    assert_same(tmp_path / "captured", tmp_path / "eager")


def test_a_capture_that_breaks_off(store, tmp_path, monkeypatch, capsys):
    """The generator it leaves behind is of no use, and gradients are those of no step."""
    launched_one_by_one(store, tmp_path / "eager", **ALL)
    forward = MMJSD.forward

    def failing(self, batch, warmup):
        loss = forward(self, batch, warmup)
        if gpu.capturing:
            loss.loss.backward()
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss

    monkeypatch.setattr(MMJSD, "forward", failing)
    with pretended_gpu("cuda") as gpu:
        train(store, tmp_path / "captured", run_options=DEFAULTS | ALL)
        assert not gpu.is_stuck
    assert capsys.readouterr().err == (
        "tiny: training without a CUDA graph of the step (CUDA out of memory)\n"
    )
    assert_same(tmp_path / "captured", tmp_path / "eager")


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_other_gpus_have_no_such_graphs(store, tmp_path, capsys, kind):
    with pretended_gpu(kind) as gpu:
        train(store, tmp_path, run_options=DEFAULTS | {"epochs": 1})
    assert (gpu.graphs, capsys.readouterr().err) == ([], "")


# --- That it finds what it is to find ---------------------------------------------------------------------


def test_what_python_does_is_not_replayed(store, tmp_path, monkeypatch):
    """A weight that an objective counts up in Python stays what it was in the capture."""
    forward = MMJSD.forward

    def counting(self, batch, warmup):
        self.steps = getattr(self, "steps", 0) + 1
        return forward(self, batch, warmup * self.steps)

    monkeypatch.setattr(MMJSD, "forward", counting)
    on_gpu(store, tmp_path / "captured", epochs=1)
    launched_one_by_one(store, tmp_path / "eager", epochs=1)
    one, other = (losses(tmp_path / name)[0]["loss"] for name in ("captured", "eager"))
    assert one != pytest.approx(other, rel=1e-6)


def test_a_capture_computes_nothing():
    with pretended_gpu("cuda") as gpu:
        x, graph = torch.ones(3, device="cuda"), Graph()
        with graph.capture(gpu):
            x += torch.rand(3, device="cuda")
            y = (2 * x).view(1, 3)
        assert x.tolist() == [1, 1, 1]
        torch.manual_seed(3)
        expected = torch.rand(3, device="cuda")
        second = expected + torch.rand(3, device="cuda")
        torch.manual_seed(3)
        graph.replay()
        assert torch.equal(y[0], 2 * (1 + expected))
        graph.replay()
        assert torch.equal(x, 1 + second)


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x[0]),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: torch.zeros(3).to(x.device),
        lambda x: torch.tensor([1.0, 2.0, 3.0], device=x.device),
    ],
)
def test_waiting_is_found(waiting):
    with pretended_gpu("cuda") as gpu:
        x = torch.ones(3, device="cuda")
        with (
            pytest.raises(RuntimeError, match="not permitted when stream is capturing"),
            Graph().capture(gpu),
        ):
            waiting(x)
        assert gpu.is_stuck
        gpu.may_wait = False
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            waiting(x)
        gpu.may_wait = True
        waiting(x)
