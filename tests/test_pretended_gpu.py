"""All steps that compute on a device, on GPUs that are not there; `pretended.py` says what is found so."""

import contextlib
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchgen
import yaml
from matplotlib.figure import Figure

import mmjsd
from mmjsd.data import batches
from mmjsd.data.store import Store
from mmjsd.distributions import Gaussian, stratified_mixture
from mmjsd.evaluation.running import evaluate
from mmjsd.modalities import image
from mmjsd.models.classifiers import train_classifier
from mmjsd.objectives import MMJSD
from mmjsd.params import make_evaluation
from mmjsd.reporting.figures import draw_run, draw_samples
from mmjsd.training import checkpoint
from mmjsd.training.loop import train
from support.pretended import pretended_gpu
from support.samples import make_faces, make_own, make_run, make_split, written
from support.training import (
    VARIANTS,
    assert_same_weights,
    begun_again_and_again,
    losses,
    train_judges_briefly,
)

pytestmark = pytest.mark.e2e

KINDS = ["cuda", "mps", "xpu"]  # xpu has the layout and pinned memory of cuda, and the precision of mps
#: Each variant with all that a run may have, and one of defaults.
OBJECTIVES = [
    {"objective": "mmjsd"},
    *({**v, "private_latent": 2, "kl_warmup_epochs": 1, "gradient_clipping": 100.0} for v in VARIANTS),
]
QUICK = make_evaluation(
    train_samples=50,
    random_samples=40,
    likelihood_pairs=5,
    importance_samples=2,
    quality_samples=40,
    threads=1,
)


def digits_store(path: Path, rows: int, missing: float = 0.0) -> Store:
    rng = np.random.default_rng(0)
    classes = [str(digit) for digit in range(10)]
    splits = {"train": make_split(rng, rows, missing), "test": make_split(rng, 60, missing)}
    return written(path, "mnist_svhn_text", classes, splits)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Store:
    return digits_store(tmp_path_factory.mktemp("digits") / "digits.h5", 24)


@pytest.fixture(scope="module")
def digits_with_gaps(tmp_path_factory) -> Store:
    return digits_store(tmp_path_factory.mktemp("digits") / "gaps.h5", 30, 0.2)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Store:
    return make_faces(tmp_path_factory.mktemp("faces") / "faces.h5")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Store:
    return make_own(tmp_path_factory.mktemp("own") / "own.h5")


def on_gpu(store: Store, folder: Path, **options) -> None:
    run = make_run(**({"device": "auto", "epochs": 2, "batch_size": 8} | options))
    train(run, store, folder, name="tiny", seed=1, fingerprint="f")


def trained_judges(store: Store, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        train_judges_briefly(patch, steps=30)
        for modality in store.modalities:
            train_classifier(store, modality, folder / modality, epochs=1, seed=1)
    return folder


@pytest.fixture(scope="module")
def judges(digits, tmp_path_factory) -> dict[str, Path]:
    """The classifiers, trained on each kind of GPU."""
    folders = {}
    for kind in KINDS:
        with pretended_gpu(kind):
            folders[kind] = trained_judges(digits, tmp_path_factory.mktemp(kind))
    return folders


def judged(store: Store, folder: Path, judges: Path, **options) -> dict:
    """The metrics of a run that was trained, evaluated and drawn on the GPU."""
    on_gpu(store, folder, **options)
    evaluate(folder, store, judges, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda *_, **__: None)  # takes longest, and has no tensors left
        draw_run(folder, store)
    assert len(list((folder / "figures").glob("*.png"))) >= 9
    return json.loads((folder / "metrics.json").read_bytes())


@cache
def kernels(kind: str) -> set[str]:
    """Names of the operations that torch has for a kind of device; it packs the list of all into itself."""
    text = (Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml").read_text()
    functions = {entry["func"].partition("(")[0]: entry for entry in yaml.safe_load(text)}

    def has(entry: dict) -> bool:
        if "structured_delegate" in entry:
            return has(functions[entry["structured_delegate"]])
        keys = ",".join(entry.get("dispatch", ["Composite"])).replace(" ", "").split(",")
        return any(key == kind or key.startswith("Composite") for key in keys)

    return {name for name, entry in functions.items() if has(entry)}


@pytest.mark.parametrize(
    ("kind", "objective"),
    # one precision and its kernels for all; of the other, `test_capture.py` has all trainings
    [*(("mps", objective) for objective in OBJECTIVES), *(("cuda", each) for each in OBJECTIVES[:3])],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_every_step(digits, judges, tmp_path, kind, objective):
    with pretended_gpu(kind) as gpu:
        metrics = judged(digits, tmp_path, judges[kind], **objective)
        assert mmjsd.load(tmp_path, "auto").device == torch.device(kind, 0)
    assert metrics["meta/device"] == kind
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    assert metrics["classifier/accuracy/svhn"] > 0.3  # the classes are easy to tell apart, after few steps
    if kind == "mps":  # nothing is left to the CPU, which would need PYTORCH_ENABLE_MPS_FALLBACK
        assert {name for name in gpu.operations if "::" not in name} <= kernels("MPS")


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_data_with_gaps(digits_with_gaps, judges, tmp_path, kind):
    with pretended_gpu(kind):
        metrics = judged(digits_with_gaps, tmp_path, judges[kind], objective="mmvae")
    assert metrics["meta/device"] == kind


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_data_with_attributes(faces, tmp_path, kind):
    with pretended_gpu(kind):
        judges = trained_judges(faces, tmp_path)
        metrics = judged(faces, tmp_path / "run", judges, network_width=0.05, private_latent=1)
    assert metrics["meta/device"] == kind
    assert {f"attributes/{a}/frequency" for a in faces.classes} <= metrics.keys()


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_data_of_other_shapes(own, tmp_path, kind):
    with pretended_gpu(kind) as gpu:
        judges = trained_judges(own, tmp_path)
        metrics = judged(own, tmp_path / "run", judges, private_latent=1)
    assert metrics["meta/device"] == kind
    if kind == "mps":
        assert {name for name in gpu.operations if "::" not in name} <= kernels("MPS")


# --- Interrupted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
def test_resumes_exactly(digits, tmp_path, monkeypatch, kind, resident_bytes):
    """Its random numbers are those of the GPU, whose generator is saved with the CPU's."""
    monkeypatch.setattr(batches, "BLOCK", 2)
    options = {"device": "auto", "resident_bytes": resident_bytes, "epochs": 2, "batch_size": 8}

    def draw(history, model):
        draw_samples(tmp_path / "samples.png", model, 1)

    with pretended_gpu(kind):
        on_gpu(digits, tmp_path / "whole", **options)
        # after each second step: within both epochs, and between them
        again = {"run_options": options, "after_epoch": draw}
        assert begun_again_and_again(digits, tmp_path / "broken", 1, **again) == 4
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_do_not_depend_on_the_memory_that_is_free(digits, tmp_path, kind):
    """Less of it, and the data are streamed: into pinned memory where that is of use."""
    with pretended_gpu(kind) as gpu:
        on_gpu(digits, tmp_path / "resident")
        assert gpu.pinned == 0
    with pretended_gpu(kind, free=(2**10,)) as gpu:
        on_gpu(digits, tmp_path / "streamed", **({"resident_bytes": 0} if kind == "mps" else {}))
        assert (gpu.pinned > 0) == (kind != "mps")
        assert (False in gpu.waited) == (kind != "mps")
    assert_same_weights(tmp_path / "resident", tmp_path / "streamed")


def begun(store: Store, folder: Path, **options) -> None:
    """One of two epochs."""
    real = checkpoint.atomic_write

    def dying(path: Path, content: bytes) -> None:
        real(path, content)
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "atomic_write", dying)
        with pytest.raises(InterruptedError):
            on_gpu(store, folder, **options)


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda"), ("mps", "xpu")])
def test_going_on_elsewhere_is_possible_and_told(digits, tmp_path, capsys, first, then):
    for kind, step in ((first, begun), (then, on_gpu)):
        assert capsys.readouterr().err == ""
        with contextlib.nullcontext() if kind == "cpu" else pretended_gpu(kind):
            step(digits, tmp_path, precision="float32")
    until, on = (
        f"on {kind} in float32, not compiled" + ", threads: 1" * (kind == "cpu") for kind in (first, then)
    )
    assert capsys.readouterr().err == (
        f"{tmp_path / 'checkpoint.pt'}: computed {until} until here, and {on} from here on: the numbers "
        "are not exactly those of training without interruption\n"
    )
    assert (tmp_path / "model.safetensors").exists()


# --- What is computed otherwise there ---------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.35, 0.35, 0.3], [0.0, 1.0, 3.0]])
def test_the_mixture_needs_no_double_precision(weights):
    """The number of samples of each expert is that on the CPU, up to which of equal remainders goes first."""
    experts = torch.arange(3.0)[:, None, None].expand(3, 65_536, 1)
    counts = []
    for kind in ("cuda", "mps"):
        with pretended_gpu(kind):
            device = torch.device(kind, 0)
            means = experts.to(device)
            drawn = stratified_mixture(Gaussian(means, means), torch.tensor(weights, device=device))
            counts.append(drawn.mean.cpu().flatten().long().bincount(minlength=3))
    assert counts[1].sum() == 65_536
    assert (counts[0] - counts[1]).abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_of_images(digits, tmp_path, monkeypatch, kind):
    """Of the weights in training, of a model that is loaded, and of what they are convolved with."""
    on_gpu(digits, tmp_path / "cpu", device="cpu")
    trained, forward = [], MMJSD.forward

    def noting(self, *arguments):
        trained.append(self.model.encoders["svhn"][2].weight)
        return forward(self, *arguments)

    monkeypatch.setattr(MMJSD, "forward", noting)
    with pretended_gpu(kind):
        on_gpu(digits, tmp_path / "gpu")
        loaded = mmjsd.load(tmp_path / "cpu", kind).encoders["svhn"][2].weight
        picture = image.as_input(torch.zeros(2, 3, 4, 4, dtype=torch.uint8, device=kind))
    layout = torch.contiguous_format if kind == "mps" else torch.channels_last
    assert all(tensor.is_contiguous(memory_format=layout) for tensor in (loaded, picture, trained[-1]))
    assert not trained[-1].is_contiguous() or kind == "mps"


def test_images_are_varied_alike():
    images = torch.rand(20, 3, 9, 14)
    varied = []
    for kind in ("cuda", "mps"):  # MPS goes another way about it
        with pretended_gpu(kind):
            torch.manual_seed(0)
            varied.append(image.vary(images.to(torch.device(kind))).cpu())
    torch.testing.assert_close(*varied)
    assert (varied[0] - images).abs().max() > 0.1


# --- That it finds what it is to find ---------------------------------------------------------------------


def test_tensors_of_two_places_do_not_mix():
    with pretended_gpu("cuda") as gpu:
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        for mixing in (lambda: here + there, lambda: torch.cat([there, here]), lambda: here[there.long()]):
            with pytest.raises(RuntimeError, match="same device"):
                mixing()
        for one in (there + torch.tensor(1.0), there[torch.tensor([0, 2])], there.clone().copy_(here)):
            assert gpu.place(one) == torch.device("cuda", 0)
        assert gpu.place(there.cpu()) == torch.device("cpu")
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, device="cuda", generator=torch.Generator())


def test_apples_gpus_have_no_double_precision():
    with pretended_gpu("mps"):
        values = torch.ones(3, device="mps")
        for widening in (values.double, lambda: torch.rand(3, device="mps", dtype=torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                widening()


def test_a_gpu_has_random_numbers_of_its_own():
    with pretended_gpu("cuda"):
        torch.manual_seed(3)
        first = torch.rand(4, device="cuda")
        torch.rand(9)
        second = torch.rand(4, device="cuda")
        torch.manual_seed(3)
        assert torch.equal(torch.rand(4, device="cuda"), first)
        assert torch.equal(torch.rand(4, device="cuda"), second)
