import csv
import dataclasses
import functools
import shutil
import signal

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import mmjsd
from mmjsd import checkpoint, devices, objectives, training
from mmjsd.data import batches
from mmjsd.data.batches import ResidentSplit, StreamedSplit
from mmjsd.data.store import Split, Table
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from support.samples import make_run, make_split


def weights(folder):
    return torch.load(folder / "model.safetensors", weights_only=True)["weights"]


def assert_same_weights(one, other):
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def train(store, folder, run=None, **options):
    training.train(
        run or make_run(**options.pop("run_options", {})),
        store,
        folder,
        name="tiny",
        **({"seed": 1, "fingerprint": "f"} | options),
    )


def test_same_seed_same_bytes(store, tmp_path):
    for name in "ab":
        train(store, tmp_path / name)
    train(store, tmp_path / "c", seed=2)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert not torch.equal(*(weights(tmp_path / n)["heads.svhn.weight"] for n in "ac"))


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
def test_numbers_of_threads_differ_by_rounding(store, tmp_path, objective):
    """docs/reliability.md says how that grows over more steps."""
    options = {"objective": objective, "precision": "float32"}
    for threads in (1, 2):
        train(store, tmp_path / str(threads), run_options=options | {"threads": threads})
    torch.set_num_threads(1)
    one, two = (
        [row["loss"] for row in training.read_history(tmp_path / n / "history.csv")] for n in ("1", "2")
    )
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
def test_loss_goes_down(store, tmp_path, objective):
    train(store, tmp_path, run_options={"objective": objective, "epochs": 6, "learning_rate": 3e-3})
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("123456")
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])


class Unplugged(Exception):
    pass


def interrupted(store, folder, monkeypatch, after, **options):
    """Training that dies while the checkpoint after this epoch has just been written."""
    real, written = checkpoint.write, []

    def dying_write(path, content):
        real(path, content)
        written.append(path)
        if len(written) == after:
            raise Unplugged

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", dying_write)
        with pytest.raises(Unplugged):
            train(store, folder, **options)


@pytest.mark.parametrize("after", [1, 2])
def test_resumes_exactly(store, tmp_path, monkeypatch, after):
    train(store, tmp_path / "whole")
    interrupted(store, tmp_path / "broken", monkeypatch, after)
    assert not (tmp_path / "broken/model.safetensors").exists()
    torch.manual_seed(99)  # what the interrupted process left behind must not matter
    train(store, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def begun_again_and_again(store, folder, steps, **options):
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


def losses(folder):
    """The history without what depends on the time it took."""
    rows = training.read_history(folder / "history.csv")
    return [{k: v for k, v in row.items() if not k.endswith(("seconds", "_second"))} for row in rows]


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
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


def test_long_epochs_are_saved_within(store, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    train(store, tmp_path / "whole")
    interrupted(store, tmp_path / "broken", monkeypatch, 2)  # that of the second step
    saved = checkpoint.read(tmp_path / "broken/checkpoint.pt", "checkpoint", "")
    assert (len(saved["history"]), saved["partial"]["steps"]) == (0, 2)
    train(store, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_only_a_good_state_is_saved(store, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    with pytest.raises(MmjsdError, match=r"epoch 1, step 2: loss is not finite.*checkpoint\.pt"):
        train(store, tmp_path, make_run().model_copy(update={"learning_rate": 1e30}))
    saved = checkpoint.read(tmp_path / "checkpoint.pt", "checkpoint", "")
    assert torch.isfinite(saved["partial"]["losses"]).all()


@pytest.mark.skipif(not shutil.which("c++"), reason="compilation needs a C++ compiler")
def test_resumes_exactly_when_compiled(store, tmp_path, monkeypatch):
    compiled = {"run_options": {"compile": "on"}}
    train(store, tmp_path / "whole", **compiled)
    begun_again_and_again(store, tmp_path / "broken", 1, **compiled)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_going_on_on_another_processor_is_told(store, tmp_path, monkeypatch, capsys):
    """`precision: auto` may be another there."""
    for native, precision, step in ((True, "bfloat16", interrupted), (False, "float32", train)):
        monkeypatch.setattr(devices, "_processor_has_bfloat16", lambda native=native: native)
        assert capsys.readouterr().err == ""
        step(store, tmp_path, **({"monkeypatch": monkeypatch, "after": 1} if step is interrupted else {}))
        assert torch.load(tmp_path / "checkpoint.pt")["how"] == f"on cpu in {precision}, not compiled"
    assert "computed on cpu in bfloat16, not compiled until here, and on cpu in" in capsys.readouterr().err


def test_checkpoint_of_other_parameters(store, tmp_path, monkeypatch):
    interrupted(store, tmp_path, monkeypatch, 1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(MmjsdError, match=r"checkpoint.pt: belongs to other parameters.*--replace"):
        train(store, tmp_path, fingerprint="other")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train(store, tmp_path, fingerprint="other", replace=True)
    assert (tmp_path / "model.safetensors").exists()
    assert checkpoint.read(tmp_path / "checkpoint.pt", "checkpoint", "")["fingerprint"] == "other"


def test_damaged_checkpoint(store, tmp_path, monkeypatch):
    interrupted(store, tmp_path, monkeypatch, 1)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MmjsdError, match=r"checkpoint.pt: damaged.*delete it"):
        train(store, tmp_path)


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
    build, calls = training.build_model, []

    def spoiled(*arguments):
        def spoil(gradient):
            calls.append(1)
            return gradient * value if len(calls) == 5 else gradient

        model = build(*arguments)
        model.heads["svhn"].bias.register_hook(spoil)
        return model

    with monkeypatch.context() as patch:
        patch.setattr(training, "build_model", spoiled)
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


def test_files_of_weights_are_finite(tmp_path):
    content = {"kind": "model", "weights": {"a.b": torch.ones(2), "c": torch.tensor([1.0, float("nan")])}}
    with pytest.raises(MmjsdError, match=r"model\.pt: not written, for its weights are not finite \(c\)"):
        checkpoint.write(tmp_path / "model.safetensors", content)
    torch.save(content, tmp_path / "model.safetensors")
    with pytest.raises(MmjsdError, match=r"model\.pt: its weights are not finite \(c\); train"):
        mmjsd.load(tmp_path)


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


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
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


@pytest.mark.parametrize("objective", ["mmjsd", "mvae", "mmvae"])
def test_beta_warms_up_step_by_step_and_goes_on_from_a_checkpoint(store, tmp_path, monkeypatch, objective):
    factors = []

    class Noting(training.OBJECTIVES[objective]):
        def __call__(self, model, batch, warmup):
            factors.append(float(warmup))
            return super().__call__(model, batch, warmup)

    monkeypatch.setitem(training.OBJECTIVES, objective, Noting)
    options = {"run_options": {"objective": objective, "kl_warmup_epochs": 2}}
    train(store, tmp_path / "whole", **options)
    # three steps an epoch
    assert factors == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1])
    interrupted(store, tmp_path / "broken", monkeypatch, 1, **options)
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


def test_load_gives_the_trained_model(store, tmp_path):
    train(store, tmp_path, run_options={"private_latent": 2})
    model = mmjsd.load(tmp_path)
    assert not model.training
    assert torch.equal(model.state_dict()["heads.text.bias"], weights(tmp_path)["heads.text.bias"])
    assert model.encode({"text": torch.zeros(2, 8, dtype=torch.int64)}).shared.mean.shape == (1, 2, 20)


def test_load_refuses(tmp_path):
    with pytest.raises(MmjsdError, match=r"model.pt: no such file"):
        mmjsd.load(tmp_path)
    (tmp_path / "model.safetensors").write_text("hello")
    with pytest.raises(MmjsdError, match=r"model.pt: damaged"):
        mmjsd.load(tmp_path)
    torch.save({"kind": "classifier"}, tmp_path / "model.safetensors")
    with pytest.raises(MmjsdError, match=r"model.pt: not a model"):
        mmjsd.load(tmp_path)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_load_executes_nothing(tmp_path, capsys):
    torch.save({"kind": "model", "weights": Bomb()}, tmp_path / "model.safetensors")
    with pytest.raises(MmjsdError):
        mmjsd.load(tmp_path)
    assert "executed" not in capsys.readouterr().out


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

    monkeypatch.setattr(training, "tqdm", Bar)
    monkeypatch.setattr(training.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(training, "repays_compilation", lambda _, count, __: samples.append(count))
    for batch_size, used in ((1000, 120), (50, 100)):  # of 120 samples
        train(store, tmp_path / str(batch_size), run_options={"batch_size": batch_size, "epochs": 2})
        for row in training.read_history(tmp_path / str(batch_size) / "history.csv"):
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


def test_batches_are_what_the_store_holds(store):
    split = store.splits["train"]
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.tensor([5, 17]))
    for position, sample in enumerate((5, 17)):
        mnist, _, text = split.pairs[sample]
        image = torch.tensor(split.modalities["mnist"].data[mnist]) / 255
        torch.testing.assert_close(batch.values["mnist"][position], image)
        assert batch.values["text"][position].tolist() == split.modalities["text"].data[text].tolist()
    assert batch.present is None


def test_gaps_become_a_mask(store_with_gaps):
    split = store_with_gaps.splits["train"]
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.arange(20))
    assert batch.present.T.tolist() == (split.pairs[:20] >= 0).tolist()


def test_an_epoch_uses_each_sample_once_at_most(store):
    data = ResidentSplit(store.splits["train"], torch.device("cpu"))
    order = data.shuffled(32)
    assert order.shape == (3, 32)
    assert len(order.unique()) == 96
    assert not torch.equal(order, data.shuffled(32))
    assert data.shuffled(1000).shape == (1, 120)


def stream(split, batch_size=32, seed=5):
    torch.manual_seed(seed)
    data = StreamedSplit(split, torch.device("cpu"))
    return list(data.batches(data.shuffled(batch_size)))


@pytest.mark.parametrize("gaps", [False, True])
def test_streamed_batches_are_those_of_the_resident_split(store, store_with_gaps, monkeypatch, gaps):
    """Same seed, same order, same values: only where the data lie differs."""
    monkeypatch.setattr(batches, "BLOCK", 2)  # more than one block
    split = (store_with_gaps if gaps else store).splits["train"]
    streamed = stream(split)
    torch.manual_seed(5)
    data = ResidentSplit(split, torch.device("cpu"))
    resident = list(data.batches(data.shuffled(32)))
    assert len(streamed) == len(resident) == 3
    for one, other in zip(streamed, resident, strict=True):
        assert (one.present is None) == (other.present is None) == (not gaps)
        if one.present is not None:
            assert torch.equal(one.present, other.present)
        for name, values in one.values.items():
            assert torch.equal(values, other.values[name])


def test_a_small_budget_streams_to_the_same_model(store, tmp_path):
    train(store, tmp_path / "resident")
    train(store, tmp_path / "streamed", run_options={"resident_bytes": 0})
    assert_same_weights(tmp_path / "resident", tmp_path / "streamed")


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


def test_what_fits():
    split = make_split(np.random.default_rng(0), 10)
    size = sum(table.data.nbytes for table in split.modalities.values())
    assert batches.fits(split, size)
    assert not batches.fits(split, size - 1)
