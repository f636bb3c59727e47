"""The same on a real GPU, where there is one: `pytest -n 0 tests/test_gpu.py`."""

import contextlib
import json
import math
import os
import signal

import pytest
import torch

import mmjsd
from mmjsd.data.batches import ResidentSplit
from mmjsd.devices import as_float64, image_layout, memory_budget, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.running import evaluate
from mmjsd.interruption import Interrupted
from mmjsd.models.classifiers import train_classifier
from mmjsd.objectives import MMJSD
from mmjsd.params import make_evaluation
from mmjsd.provenance import environment
from mmjsd.reporting.figures import draw_run
from mmjsd.training import loop
from mmjsd.training.loop import train
from mmjsd.training.model_file import load_model
from support.samples import make_faces, make_own, make_run
from support.training import VARIANTS, assert_same_weights, begun_again_and_again, losses

pytestmark = pytest.mark.skipif(not torch.accelerator.is_available(), reason="there is no GPU here")

QUICK = make_evaluation(
    train_samples=50,
    random_samples=50,
    likelihood_pairs=5,
    importance_samples=2,
    quality_samples=50,
    threads=1,
)
#: Each variant with all that a run may have, and one of defaults.
OBJECTIVES = [
    {"objective": "mmjsd"},
    *({**v, "private_latent": 2, "kl_warmup_epochs": 1, "gradient_clipping": 100.0} for v in VARIANTS),
]


@pytest.fixture(autouse=True)
def same_order_of_sums():
    """Only so are numbers the same again: some kernels add in varying order otherwise."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def on_gpu(store, folder, asked_to_end=lambda: None, **options):
    run = make_run(**({"device": "auto", "epochs": 2} | options))
    train(run, store, folder, name="tiny", seed=1, fingerprint="f", asked_to_end=asked_to_end)


def test_the_gpu_is_found():
    device = pick_device("auto")
    assert device.type == torch.accelerator.current_accelerator().type
    assert pick_device(f"{device.type}") == torch.device(device.type, 0)
    assert memory_budget(device) > 2**20
    assert environment.describe()["machine.gpu"]
    assert as_float64(torch.ones(3, device=device)).dtype == torch.float64
    with pytest.raises(MmjsdError, match="is not there"):
        pick_device("cuda:99")


@pytest.mark.parametrize("options", OBJECTIVES, ids=lambda o: "-".join(map(str, o.values())))
def test_every_step(store, results, tmp_path, options):
    for modality in store.modalities:
        train_classifier(store, modality, tmp_path / "classifiers" / modality, epochs=1, seed=1)
    on_gpu(store, tmp_path / "run", **options)
    evaluate(tmp_path / "run", store, tmp_path / "classifiers", QUICK)
    draw_run(tmp_path / "run", store)
    metrics = json.loads((tmp_path / "run/metrics.json").read_bytes())
    assert metrics["meta/device"] == torch.accelerator.current_accelerator().type
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    assert len(list((tmp_path / "run/figures").glob("*.png"))) >= 12


@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("options", OBJECTIVES, ids=lambda o: "-".join(map(str, o.values())))
def test_resumes_exactly(store, tmp_path, options, resident_bytes):
    options = {"device": "auto", "epochs": 2, "resident_bytes": resident_bytes, **options}
    on_gpu(store, tmp_path / "whole", **options)
    begun_again_and_again(store, tmp_path / "broken", 1, run_options=options)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


def test_where_the_data_lie_changes_nothing(store, tmp_path):
    on_gpu(store, tmp_path / "resident")
    on_gpu(store, tmp_path / "streamed", resident_bytes=0)
    assert_same_weights(tmp_path / "resident", tmp_path / "streamed")


def test_weights_give_what_they_give_on_the_cpu(store, results):
    """Up to the precision in which GPUs convolve, which may be less than float32."""
    encoded = []
    for device in ("cpu", "auto"):
        model, _ = load_model(results / "run", device)
        split = ResidentSplit(store.splits["test"], model.device)
        encoded.append(model.encode(split.batch(torch.arange(60, device=model.device)).values).shared)
    for here, there in zip(*encoded, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=0.02, atol=0.02)


captures = pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA and ROCm have graphs")


def eager(store, folder, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "captured", lambda step, inputs: (step, None))
        on_gpu(store, folder, **options)


@captures
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("options", OBJECTIVES, ids=lambda o: "-".join(map(str, o.values())))
def test_a_graph_gives_the_same_numbers(
    store, store_with_gaps, tmp_path, capsys, options, resident_bytes, gaps
):
    data = store_with_gaps if gaps else store
    on_gpu(data, tmp_path / "captured", resident_bytes=resident_bytes, **options)
    told = capsys.readouterr()
    assert told.err == ""
    assert ", captured, " in told.out
    eager(data, tmp_path / "eager", resident_bytes=resident_bytes, **options)
    assert ", captured, " not in capsys.readouterr().out
    assert_same_weights(tmp_path / "captured", tmp_path / "eager")
    assert losses(tmp_path / "captured") == losses(tmp_path / "eager")


@captures
@pytest.mark.parametrize("make", [make_faces, make_own])
def test_a_graph_of_other_networks(tmp_path, capsys, make):
    data = make(tmp_path / "store.h5")
    on_gpu(data, tmp_path / "captured", network_width=0.05, batch_size=4)
    assert capsys.readouterr().err == ""
    eager(data, tmp_path / "eager", network_width=0.05, batch_size=4)
    assert_same_weights(tmp_path / "captured", tmp_path / "eager")


@captures
@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"compile": "on"}], ids=lambda o: str(o))
def test_a_graph_of_faster_ways(store, tmp_path, capsys, options):
    try:
        on_gpu(store, tmp_path / "captured", **options)
    except MmjsdError as refused:
        pytest.skip(str(refused))
    assert ", captured, " in capsys.readouterr().out
    eager(store, tmp_path / "eager", **options)
    assert_same_weights(tmp_path / "captured", tmp_path / "eager")


@captures
def test_a_training_that_changes_between_graphs_and_none(store, tmp_path):
    """Within an epoch: random numbers go on from where they were."""
    options = {"kl_warmup_epochs": 1, "private_latent": 2}
    on_gpu(store, tmp_path / "whole", **options)
    for train_on, steps in ((on_gpu, 1), (eager, 1), (on_gpu, None)):
        left = iter([None] * (steps or 0))
        with contextlib.nullcontext() if steps is None else pytest.raises(Interrupted):
            asked = (lambda: None) if steps is None else (lambda left=left: next(left, signal.SIGTERM))
            train_on(store, tmp_path / "broken", asked_to_end=asked, **options)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


@captures
@pytest.mark.parametrize("when", ["rehearsed", "captured"])
def test_a_step_that_cannot_be_captured(store, tmp_path, monkeypatch, capsys, when):
    """Training goes on as well, with the same random numbers, wherever it fails."""
    eager(store, tmp_path / "eager")
    capsys.readouterr()
    forward = MMJSD.forward

    def waiting(self, batch, warmup):
        loss = forward(self, batch, warmup)
        if when == "rehearsed" or torch.cuda.is_current_stream_capturing():
            loss.loss.item()
        return loss

    monkeypatch.setattr(MMJSD, "forward", waiting)
    on_gpu(store, tmp_path / "waiting")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("tiny: training without a CUDA graph of the step (")
    assert_same_weights(tmp_path / "waiting", tmp_path / "eager")


@captures
def test_same_seed_same_numbers(store, tmp_path):
    """As users have it: without algorithms that are slower for being deterministic, but for convolutions."""
    torch.use_deterministic_algorithms(False)
    for name in ("one", "again"):
        on_gpu(store, tmp_path / name, epochs=3)
    assert_same_weights(tmp_path / "one", tmp_path / "again")


@pytest.mark.parametrize(
    "options", [{"precision": "bfloat16"}, {"compile": "on"}], ids=["bfloat16", "compiled"]
)
def test_faster_ways(store, tmp_path, options):
    """They train about as well, or are refused in a line."""
    try:
        on_gpu(store, tmp_path / "fast", epochs=6, learning_rate=3e-3, **options)
    except MmjsdError as refused:
        assert "\n" not in str(refused)  # noqa: PT017
        pytest.skip(str(refused))
    on_gpu(store, tmp_path / "plain", epochs=6, learning_rate=3e-3, precision="float32", compile="off")
    fast, plain = (losses(tmp_path / name)[-1]["loss"] for name in ("fast", "plain"))
    assert fast == pytest.approx(plain, rel=0.05)


def test_generating(results):
    model = mmjsd.load(results / "run", "auto")
    assert pick_precision("auto", model.device) == "float32"
    assert model.encoders["svhn"][2].weight.is_contiguous(memory_format=image_layout(model.device))
    given = {"text": torch.zeros(2, 8, dtype=torch.int64)}
    for samples in (model.generate(given, n=3), model.generate(n=6)):
        assert {len(x) for x in samples.values()} == {6}
        assert all(torch.isfinite(x).all() for x in samples.values())
