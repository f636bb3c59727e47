import csv
import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import mmjsd
from mmjsd import objectives, registry
from mmjsd.data.store import Split, Table
from mmjsd.errors import MmjsdError
from mmjsd.reporting.figures import draw_samples
from mmjsd.training import loop, progress
from mmjsd.training.history import read_history
from support.samples import make_run
from support.training import assert_same_weights, interrupted, losses, train, weights


def test_same_seed_same_bytes(store, tmp_path):
    for name in "ab":
        train(store, tmp_path / name)
    train(store, tmp_path / "c", seed=2)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert not torch.equal(*(weights(tmp_path / n)["heads.svhn.weight"] for n in "ac"))


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_numbers_of_threads_differ_by_rounding(store, tmp_path, objective):
    """docs/reliability.md says how that grows over more steps."""
    options = {"objective": objective, "precision": "float32"}
    for threads in (1, 2):
        train(store, tmp_path / str(threads), run_options=options | {"threads": threads})
    torch.set_num_threads(1)
    one, two = ([row["loss"] for row in read_history(tmp_path / n / "history.csv")] for n in ("1", "2"))
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_loss_goes_down(store, tmp_path, objective):
    train(store, tmp_path, run_options={"objective": objective, "epochs": 6, "learning_rate": 3e-3})
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("123456")
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])


def test_loss_that_is_not_finite(store, tmp_path):
    with pytest.raises(
        MmjsdError,
        match=r"^runs\.tiny: epoch 1, step 2: loss is not finite \(reconstruction/.*\); lower .*clipping$",
    ):
        train(store, tmp_path, make_run().model_copy(update={"learning_rate": 1e30}))
    assert list(tmp_path.iterdir()) == []


def test_the_term_that_failed_is_named(store, tmp_path, monkeypatch):
    """Not those that fail after it, because of it."""
    real = objectives.kl_divergence
    calls = []

    def failing(q, p=None):
        calls.append(q)
        return real(q, p) * (float("inf") if len(calls) == 2 else 1)

    monkeypatch.setattr(objectives, "kl_divergence", failing)
    with pytest.raises(
        MmjsdError, match=r"tiny: epoch 1, step 2: loss is not finite \(divergence/content\); "
    ):
        train(store, tmp_path, run_options={"objective": "mmvae"})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_gradient_that_is_not_finite(store, tmp_path, monkeypatch, value):
    """In step 2 of epoch 2: the checkpoint of epoch 1 stays, and training can go on from it."""
    train(store, tmp_path / "whole")
    build, calls = loop.build, []

    def spoiled(*arguments):
        def spoil(gradient):
            calls.append(1)
            return gradient * value if len(calls) == 5 else gradient

        objective = build(*arguments)
        objective.model.heads["svhn"].bias.register_hook(spoil)
        return objective

    with monkeypatch.context() as patch:
        patch.setattr(loop, "build", spoiled)
        with pytest.raises(
            MmjsdError,
            match=r"^runs\.tiny: epoch 2, step 2: gradient is not finite \(heads\.svhn\.bias\); .*"
            r"the last good checkpoint is kept in .*checkpoint\.pt$",
        ):
            train(store, tmp_path / "spoiled")
    assert len(torch.load(tmp_path / "spoiled/checkpoint.pt", weights_only=True)["history"]) == 1
    train(store, tmp_path / "spoiled")
    assert_same_weights(tmp_path / "whole", tmp_path / "spoiled")


def test_weights_that_are_not_finite(store, tmp_path):
    """After the last step of an epoch, no loss or gradient tells."""
    run = make_run(batch_size=120).model_copy(update={"learning_rate": 1e39})
    with pytest.raises(MmjsdError, match=r"tiny: epoch 1, step 1: weights are not finite \(encoders\.mnist"):
        train(store, tmp_path, run)
    assert list(tmp_path.iterdir()) == []


def norms_of_steps(store, folder, **options):
    """The norm of the whole gradient that each step of a training is made by."""
    norms = []

    def note(optimiser, *_):
        gradients = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))

    hook = register_optimizer_step_pre_hook(note)
    try:
        train(store, folder, run_options=options)
    finally:
        hook.remove()
    return norms


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_clipping_bounds_the_norm_of_the_gradient(store, tmp_path, objective):
    free = norms_of_steps(store, tmp_path / "free", objective=objective)
    bound = float(np.median(free))
    clipped = norms_of_steps(store, tmp_path / "clipped", objective=objective, gradient_clipping=bound)
    assert clipped[0] == pytest.approx(min(free[0], bound), rel=1e-5)
    assert max(clipped) <= bound * (1 + 1e-5) < max(free)
    # a bound that none reaches changes nothing
    high = 2 * max(free)
    assert norms_of_steps(store, tmp_path / "high", objective=objective, gradient_clipping=high) == free
    assert_same_weights(tmp_path / "free", tmp_path / "high")


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_beta_warms_up_step_by_step_and_goes_on_from_a_checkpoint(store, tmp_path, monkeypatch, objective):
    factors = []
    of_class = registry.resolve("objectives", objective)
    real = of_class.forward

    def noting(self, batch, warmup):
        factors.append(float(warmup))
        return real(self, batch, warmup)

    monkeypatch.setattr(of_class, "forward", noting)
    options = {"run_options": {"objective": objective, "kl_warmup_epochs": 2}}
    train(store, tmp_path / "whole", **options)
    # three steps an epoch
    assert factors == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1])
    interrupted(store, tmp_path / "broken", 1, **options)
    train(store, tmp_path / "broken", **options)
    assert factors[9:] == factors[:9]
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_compiled_once_however_beta_warms_up(store, tmp_path, monkeypatch):
    # what is compiled anew does not depend on what compiles it, and this backend takes no time
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    options = {"compile": "on", "kl_warmup_epochs": 2}
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(store, tmp_path / "compiled", run_options=options)
    train(store, tmp_path / "eager", run_options=options | {"compile": "off"})
    assert_same_weights(tmp_path / "compiled", tmp_path / "eager")


def test_no_such_device(store, tmp_path):
    with pytest.raises(MmjsdError, match=r"^device: cuda:77 is not there"):
        train(store, tmp_path / "run", run_options={"device": "cuda:77"})
    assert not (tmp_path / "run").exists()


def test_only_samples_that_exist_are_counted(store, tmp_path, monkeypatch):
    """In a batch larger than the data: in the history, in the progress and in what repays compilation."""
    bars, samples = [], []

    class Bar:
        def __init__(self, total, **_):
            bars.append(self)
            self.total, self.n = total, 0

        def update(self, count):
            self.n += count

        def set_postfix(self, **_):
            pass

        def close(self):
            pass

    monkeypatch.setattr(progress, "tqdm", Bar)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(loop, "repays_compilation", lambda _, count, __: samples.append(count))
    for batch_size, used in ((1000, 120), (50, 100)):  # of 120 samples
        train(store, tmp_path / str(batch_size), run_options={"batch_size": batch_size, "epochs": 2})
        for row in read_history(tmp_path / str(batch_size) / "history.csv"):
            assert row["samples_per_second"] * row["seconds"] == pytest.approx(used)
    assert [(bar.total, bar.n) for bar in bars] == [(240, 240), (200, 200)]
    assert samples == [240, 200]


def test_one_sample(store, tmp_path):
    """Enough where no network normalises its batches, else refused."""
    alone = dataclasses.replace(store, splits={"train": store.splits["train"].sample(np.arange(1))})
    train(alone, tmp_path / "digits")
    face = np.zeros((1, 3, 64, 64), np.uint8)
    table = Table("image", face, np.zeros((1, 40), np.uint8))
    split = Split({"image": table}, np.zeros((1, 1), np.int32), np.zeros((1, 40), np.uint8))
    alone = dataclasses.replace(store, splits={"train": split})
    with pytest.raises(MmjsdError, match=r"^datasets\.tiny: has one training sample, .* need two at least$"):
        train(alone, tmp_path / "face", run_options={"network_width": 0.05})
    assert list((tmp_path / "face").iterdir()) == []


def test_a_small_budget_streams_to_the_same_model(store, tmp_path):
    train(store, tmp_path / "resident")
    train(store, tmp_path / "streamed", run_options={"resident_bytes": 0})
    assert_same_weights(tmp_path / "resident", tmp_path / "streamed")


def test_the_same_is_missing_wherever_data_lie_and_after_an_interruption(store, tmp_path, capsys):
    options = {"missing": {"svhn": 0.5, "text": 0.3}, "epochs": 3}
    train(store, tmp_path / "resident", run_options=options)
    assert "tiny seed 1: missing mnist 0.0%, svhn " in capsys.readouterr().out
    train(store, tmp_path / "streamed", run_options={**options, "resident_bytes": 0})
    interrupted(store, tmp_path / "resumed", 1, run_options=options)
    train(store, tmp_path / "resumed", run_options=options)
    for other in ("streamed", "resumed"):
        assert_same_weights(tmp_path / "resident", tmp_path / other)
        assert losses(tmp_path / "resident") == losses(tmp_path / other)
    train(store, tmp_path / "complete", run_options={"epochs": 3})
    train(store, tmp_path / "none", run_options={"epochs": 3, "missing": 0.0})
    assert losses(tmp_path / "complete") == losses(tmp_path / "none") != losses(tmp_path / "resident")
    assert mmjsd.load(tmp_path / "resident")


def test_a_modality_that_no_sample_keeps(store, tmp_path):
    few = dataclasses.replace(store, splits={"train": store.splits["train"].sample(np.arange(4))})
    fault = r"^runs\.tiny\.missing: leaves no training sample that has svhn; lower its share$"
    with pytest.raises(MmjsdError, match=fault):
        train(few, tmp_path / "run", run_options={"missing": {"svhn": 0.9999}})


@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
def test_labels_are_not_needed_and_change_nothing(store, tmp_path, resident_bytes):
    splits = {
        name: dataclasses.replace(
            split,
            modalities={m: dataclasses.replace(table, labels=None) for m, table in split.modalities.items()},
            labels=None,
        )
        for name, split in store.splits.items()
    }
    without = dataclasses.replace(store, classes=[], splits=splits)
    options = {"epochs": 2, "resident_bytes": resident_bytes}
    train(store, tmp_path / "with", run_options=options)
    train(without, tmp_path / "without", run_options=options)
    assert_same_weights(tmp_path / "with", tmp_path / "without")
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert set(mmjsd.load(tmp_path / "without").generate(n=2)) == set(store.modalities)


def test_samples_drawn_meanwhile_change_nothing(store, tmp_path, capsys):
    """Not across an interruption either, and not if they cannot be drawn."""
    options = {"run_options": {"private_latent": 2, "epochs": 3}}
    (tmp_path / "file").touch()

    def drawing_into(folder):
        return lambda history, model: draw_samples(folder / f"{len(history)}.png", model, 1)

    train(store, tmp_path / "without", **options)
    train(store, tmp_path / "with", after_epoch=drawing_into(tmp_path / "pictures"), **options)
    again = options | {"after_epoch": drawing_into(tmp_path / "again")}
    interrupted(store, tmp_path / "broken", 2, **again)
    train(store, tmp_path / "broken", **again)
    assert capsys.readouterr().err == ""
    train(store, tmp_path / "failing", after_epoch=drawing_into(tmp_path / "file"), **options)
    assert capsys.readouterr().err.count("not drawn (") == 3
    for name in ("with", "broken", "failing"):
        assert_same_weights(tmp_path / "without", tmp_path / name)
        assert losses(tmp_path / "without") == losses(tmp_path / name)
    pictures = [(tmp_path / "pictures" / f"{epoch}.png").read_bytes() for epoch in (1, 2, 3)]
    assert len(set(pictures)) == 3
    assert pictures == [(tmp_path / "again" / f"{epoch}.png").read_bytes() for epoch in (1, 2, 3)]
