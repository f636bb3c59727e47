"""Damaged files: each is refused in one line that names it, or proven harmless; nothing else changes.

What the readers of the sources and of the store refuse is tested beside them, in tests/data.
"""

import gzip
import io
import json
import os
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from mmjsd import params
from mmjsd.cli import main
from mmjsd.data.decoding import Unreadable, WrongSize, decode
from mmjsd.data.official.celeba_images import SHAPE, opened, read_face
from mmjsd.data.official.celeba_lists import read_attributes
from mmjsd.data.official.mnist import read_idx
from mmjsd.data.official.svhn import read_svhn
from mmjsd.data.store import modalities_of, write_store
from mmjsd.errors import MmjsdError
from mmjsd.modalities.preparation import Unfit
from mmjsd.models import weights
from mmjsd.models.classifiers import Classifier
from mmjsd.pipeline.steps import Classify, Curves, Figures, Train
from mmjsd.provenance.records import Product, staleness
from mmjsd.training.checkpoint import Checkpoint
from mmjsd.training.model_file import load_model
from support.samples import make_split, make_store

PARAMS = """
datasets: {tiny: {kind: mnist_svhn_text}}
training: {epochs: 2, batch_size: 32, network_width: 0.1, threads: 1, device: cpu, compile: "off"}
evaluation: {threads: 1}
runs: {js: {dataset: tiny, objective: mmjsd}}
"""
RUN = Path("results/tiny/js/seed-1")
STORE, MODEL, CHECKPOINT = Path("data/tiny.h5"), RUN / "model.safetensors", RUN / "checkpoint.pt"
HISTORY, METRICS, CURVES = RUN / "history.csv", RUN / "metrics.json", RUN / "prd.csv"
CAPTIONS, PICTURE = RUN / "figures/captions.json", RUN / "figures/random.png"
JUDGE = Path("results/tiny/classifiers/mnist/model.safetensors")
PUBLISHED, GIVEN = Path("published.yaml"), Path("given.png")

#: The command that reads each file.
READ_BY = {
    Path("params.yaml"): "params check",
    STORE: "train js",
    MODEL: f"generate {RUN} --n 1 --out out.png",
    CHECKPOINT: "train js --force",
    JUDGE: "evaluate js",
    HISTORY: "curves tiny",
    CURVES: "curves tiny",
    METRICS: "compare",
    CAPTIONS: "report",
    PICTURE: "report",
    PUBLISHED: "compare --published published.yaml",
    GIVEN: f"generate {RUN} --n 1 --given mnist=given.png --out out.png",
}


class Unplugged(Exception):
    pass


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained run, an unfinished training, and by hand what evaluation and figures write."""
    folder = tmp_path_factory.mktemp("intact")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("params.yaml").write_text(PARAMS)
        store = make_store(STORE)
        chosen = params.load()
        assert main(["train", "js"]) == 0
        trained = {path: path.read_bytes() for path in (MODEL, HISTORY, RUN / "training.record.json")}
        save = Checkpoint.save

        def unplugged_after_an_epoch(*arguments: Any) -> None:
            save(*arguments)
            raise Unplugged

        patch.setattr(Checkpoint, "save", unplugged_after_an_epoch)
        with pytest.raises(Unplugged):
            main(["train", "js", "--force"])
        patch.setattr(Checkpoint, "save", save)
        for path, content in trained.items():
            path.write_bytes(content)
        for modality in modalities_of(store.splits["train"]):
            judge = Classifier(modality, 10)
            for made in Classify(chosen, dataset="tiny", modality=modality.name).product.outputs:
                made.parent.mkdir(parents=True, exist_ok=True)
                made.write_text("{}")
            judge.eval()(
                torch.zeros(1, *modality.shape, dtype=torch.int64 if modality.kind == "text" else None)
            )
            about = {"kind": "classifier", "modality": list(modality), "classes": 10, "score": 0.9}
            weights.write(made.with_name("model.safetensors"), judge.state_dict(), about)
        numbers = {"meta/train_seconds": 1.0, "meta/evaluation_seconds/total": 1.0, "coherence/random": 0.5}
        numbers |= {"meta/train_samples_per_second": 9.0, "classifier/accuracy/mnist": 0.9}
        METRICS.write_text(json.dumps(numbers | {"meta/data_sha256": "0" * 64, "meta/device": "cpu"}))
        record: dict[str, Any] = {"inputs": {}, "outputs": {}, "params": {}, "made": {}}
        (RUN / "evaluation.record.json").write_text(json.dumps(record))
        CURVES.write_text("given,modality,precision,recall\nrandom,mnist,1.0,0.0\nrandom,mnist,0.5,0.5\n")
        for drawn in (Figures(chosen, run="js", seed=1), Curves(chosen, dataset="tiny")):
            *images, captions = drawn.product.outputs
            captions.parent.mkdir(parents=True)
            for image in images:
                Image.new("RGB", (4, 4)).save(image)
            captions.write_text(json.dumps({image.name: "A figure" for image in images}))
        PUBLISHED.write_text(
            "- {dataset: mnist_svhn_text, objective: mmjsd, subspaces: false, metric: coherence/random, "
            "value: 0.5, source: a paper}\n"
        )
        Image.new("L", (28, 28)).save(GIVEN)
    return folder


@pytest.fixture
def project(intact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(intact, tmp_path / "project")
    monkeypatch.chdir(folder)
    return Path(folder)


def listing() -> dict[str, bytes | None]:
    """All that is there but locks, and records, whose absence says that something has to be made again."""
    paths = [path for path in Path().rglob("*") if not path.name.endswith(("record.json", ".lock"))]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def assert_refused(path: Path, capsys: pytest.CaptureFixture[str], command: str | None = None) -> str:
    """By the command that reads it, in a line that names it."""
    before = listing()
    capsys.readouterr()
    assert main((command or READ_BY[path]).split()) == 1
    line = capsys.readouterr().err.rstrip("\n")
    assert "\n" not in line
    assert str(path) in line
    assert listing() == before
    return line


def training() -> Product:
    return Train(params.load(), run="js", seed=1).product


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    """A file of weights with other content, and what says that it is whole."""
    if path == CHECKPOINT:
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)
        return
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["mmjsd"])
        content["weights"] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(content)
    tensors = content.pop("weights", {})
    del content["sha256"]
    noted = json.dumps({**content, "sha256": weights._digest(tensors, content)})
    save_file(tensors, path, {"mmjsd": noted})


def assert_flipped_bits_are_refused_or_of_no_effect(
    path: Path, read: Callable[[], Sequence[Any]], equal: Callable[[Any, Any], bool]
) -> None:
    """60 bits of a file, one at a time: most are refused, and the rest leave what is read as it was."""
    content, before = path.read_bytes(), read()
    rng = np.random.default_rng(0)
    refusals = []
    for position in rng.integers(len(content), size=60):
        flipped = bytearray(content)
        flipped[position] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            found = read()
        except MmjsdError as error:
            refusals.append(str(error))
        else:
            assert all(equal(one, other) for one, other in zip(found, before, strict=True))
    assert len(refusals) > 30
    assert all(line.startswith(f"{path}: ") for line in refusals)


def test_the_intact_project_is_read(project: Path) -> None:
    """Or what is refused below might be refused for another reason."""
    for path, command in READ_BY.items():
        if path != JUDGE:  # evaluation takes long
            assert main(command.split()) == 0, path


# --- every file, damaged in the same ways ---


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def not_utf8(path: Path) -> None:
    path.write_bytes(b"\x80\xff\0[{" * 99)


def web_page(path: Path) -> None:
    path.write_text("<html>503: come back\tlater</html>\n" * 20)


def symlink_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (cut, empty, not_utf8, web_page, symlink_to_nowhere, folder)
#: Refused elsewhere or harmless, see below.
HARMLESS = {(PUBLISHED, empty), (CHECKPOINT, symlink_to_nowhere)}


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        pytest.param(path, damage, id=f"{path.parent.name}/{path.name}-{damage.__name__}")
        for path in READ_BY
        for damage in DAMAGES
        if (path, damage) not in HARMLESS
    ],
)
def test_a_damaged_file_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    assert_refused(path, capsys)


def test_a_checkpoint_that_leads_nowhere_is_none(project: Path) -> None:
    before = MODEL.read_bytes()
    symlink_to_nowhere(CHECKPOINT)
    assert main(["train", "js", "--force"]) == 0
    assert MODEL.read_bytes() == before
    assert not CHECKPOINT.is_symlink()


def test_published_values_may_be_none(project: Path) -> None:
    empty(PUBLISHED)
    assert main(READ_BY[PUBLISHED].split()) == 0


def test_curves_may_be_none(project: Path) -> None:
    """Where no modality is an image."""
    CURVES.write_text(CURVES.read_text().splitlines(True)[0])
    assert main(READ_BY[CURVES].split()) == 0


# --- files of weights ---


class Code:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def say(**values: Any) -> Callable[[dict], None]:
    return lambda content: content.update(values)


def leave_out(key: str) -> Callable[[dict], None]:
    return lambda content: content.pop(key)


def spoil_weights(change: Callable[[torch.Tensor], Any]) -> Callable[[dict], None]:
    def spoil(content: dict) -> None:
        name = next(iter(content["weights"]))
        content["weights"][name] = change(content["weights"][name])

    return spoil


WEIGHTS: dict[str, Callable[[dict], Any]] = {
    "another kind": say(kind="other"),
    "no weights": leave_out("weights"),
    "a weight of another shape": spoil_weights(lambda weight: weight[:1]),
    "a weight too many": lambda content: content["weights"].update(more=torch.zeros(1)),
    "a weight that is not finite": spoil_weights(lambda weight: weight * float("nan")),
}
OF_MODEL: dict[str, Callable[[dict], Any]] = {
    "no run": leave_out("run"),
    "a run of an unknown objective": lambda content: content["run"].update(objective="other"),
    "a run of unknown parameters": lambda content: content["run"].update(size=3),
    "a run far too large": lambda content: content["run"].update(shared_latent=10**9),
    "modalities of another shape": lambda content: content.update(
        modalities=[("mnist", "image", (9, 9), 81)]
    ),
    "modalities of an unknown kind": say(modalities=[("mnist", "sound", (9,), 9)]),
    "modalities that are none": say(modalities=[1]),
    "a seed that is text": say(seed="one"),
    "no name": leave_out("name"),
}
OF_CHECKPOINT: dict[str, Callable[[dict], Any]] = {
    "code": say(weights=Code()),
    "weights of another type": say(weights=[1, 2]),
    "a weight that is none": spoil_weights(lambda weight: "text"),
    "no fingerprint": leave_out("fingerprint"),
    "no optimiser": leave_out("optimiser"),
    "no history": leave_out("history"),
    "a history that is none": say(history=3),
    "a random state cut short": lambda content: content["random"].update(cpu=content["random"]["cpu"][:9]),
}
OF_JUDGE: dict[str, Callable[[dict], Any]] = {
    "of another modality": say(modality=("svhn", "image", (3, 32, 32), 3072)),
    "of more classes": say(classes=11),
    "no score": leave_out("score"),
    "a score that is none": say(score="good"),
}


@pytest.mark.parametrize(
    ("path", "change"),
    [
        pytest.param(path, change, id=f"{path.parent.name}/{path.name}-{name}")
        for path, changes in (
            (MODEL, WEIGHTS | OF_MODEL),
            (CHECKPOINT, WEIGHTS | OF_CHECKPOINT),
            (JUDGE, WEIGHTS | OF_JUDGE),
        )
        for name, change in changes.items()
    ],
)
def test_weights_of_other_content_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, change: Callable[[dict], None]
) -> None:
    rewritten(path, change)
    assert_refused(path, capsys)
    assert not Path("executed").exists()


@pytest.mark.parametrize("path", [MODEL, JUDGE])
@pytest.mark.parametrize("content", [Code(), {"weights": Code()}, {"kind": "model", "weights": {}}])
def test_a_pickle_in_place_of_weights_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, content: Any
) -> None:
    torch.save(content, path)
    assert_refused(path, capsys)
    assert not Path("executed").exists()


@pytest.mark.parametrize("path", [MODEL, JUDGE])
@pytest.mark.parametrize(
    "said",
    [None, {"mmjsd": ""}, {"mmjsd": "[1]"}, {"mmjsd": "null"}, {"mmjsd": "{}"}, {"mmjsd": "[" * 100_000}],
    ids=["nothing", "empty", "list", "null", "object", "nested deeply"],
)
def test_weights_of_which_something_else_is_said_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, said: dict[str, str] | None
) -> None:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, said)
    assert_refused(path, capsys)


@pytest.mark.parametrize(("path", "other"), [(MODEL, JUDGE), (JUDGE, MODEL), (CHECKPOINT, MODEL)])
def test_weights_in_the_wrong_place_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, other: Path
) -> None:
    shutil.copy(other, path)
    assert "not a " in assert_refused(path, capsys)


def test_weights_in_double_precision_are_the_same(project: Path) -> None:
    before = load_model(RUN)[0].state_dict()
    rewritten(MODEL, spoil_weights(lambda weight: weight.double()))
    for name, weight in load_model(RUN)[0].state_dict().items():
        assert torch.equal(weight, before[name])


def test_a_flipped_bit_in_weights_is_refused_or_of_no_effect(project: Path) -> None:
    """The library alone takes such files for intact ones, and their weights as they are."""

    def read() -> list[torch.Tensor]:
        return list(load_model(RUN)[0].state_dict().values())

    assert_flipped_bits_are_refused_or_of_no_effect(MODEL, read, torch.equal)


@pytest.mark.parametrize("number", [b'"epochs": 2', b'"seed": 1', b'"beta": 2.5', b'"name": "js"'])
def test_another_number_in_what_is_said_of_weights_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], number: bytes
) -> None:
    content = MODEL.read_bytes()
    written = number.replace(b'"', b'\\"')
    assert content.count(written) == 1
    changed = written.replace(b"2", b"3").replace(b"1", b"4").replace(b"js", b"jt")
    MODEL.write_bytes(content.replace(written, changed))
    assert "damaged" in assert_refused(MODEL, capsys)


# --- stores ---


def huge(file: h5py.File) -> None:
    """A dataset of a petabyte, none of which is there."""
    del file["train/mnist/data"]
    file.create_dataset("train/mnist/data", (10**12, 1, 28, 28), np.uint8).attrs["kind"] = "image"


def linked(file: h5py.File) -> None:
    del file["train/pairs"]
    file["train/pairs"] = h5py.ExternalLink("other.h5", "/train/pairs")


STORES: dict[str, Callable[[h5py.File], Any]] = {
    "huge": huge,
    "data in another file": linked,
    "without a test split": lambda file: file.__delitem__("test"),
    "of another kind": lambda file: file.attrs.__setitem__("kind", "celeba"),
    "split that is no group": lambda file: file.__setitem__("val", np.zeros(3)),
    "numbers of text": lambda file: (
        file.__delitem__("train/labels"),
        file.__setitem__("train/labels", ["a"]),
    ),
    "big-endian": lambda file: (
        labels := file["train/labels"][:].astype(">i8"),
        file.__delitem__("train/labels"),
        file.__setitem__("train/labels", labels),
    ),
}


@pytest.mark.parametrize("damage", STORES)
def test_a_store_of_other_content_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    shutil.copy(STORE, STORE.with_name("other.h5"))
    with h5py.File(STORE, "r+") as file:
        STORES[damage](file)
    assert "data build" in assert_refused(STORE, capsys)


def test_a_store_of_other_modalities_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = make_split(np.random.default_rng(0), 20)
    tables = {name: split.modalities[name] for name in ("svhn", "text")}
    part = type(split)(tables, split.pairs[:, 1:].copy(), split.labels)
    write_store(
        STORE,
        kind="mnist_svhn_text",
        modalities=list(tables),
        classes=list("0123456789"),
        seed=0,
        params={},
        sources={},
        splits={"train": part, "test": part},
    )
    assert_refused(STORE, capsys)


# --- numbers and texts ---

TEXTS: dict[str, tuple[Path, Callable[[str], str]]] = {
    "metrics: a number that is text": (METRICS, lambda text: text.replace("0.5", '"high"')),
    "metrics: a number that is null": (METRICS, lambda text: text.replace("0.5", "null")),
    "metrics: a number that is true": (METRICS, lambda text: text.replace("0.5", "true")),
    "metrics: a list": (METRICS, lambda text: f"[{text}]"),
    "metrics: nested deeply": (METRICS, lambda text: "[" * 100_000),
    "history: an epoch left out": (HISTORY, lambda text: "".join(text.splitlines(True)[::2])),
    "history: an epoch twice": (HISTORY, lambda text: text + text.splitlines(True)[-1]),
    "history: without its header": (HISTORY, lambda text: "".join(text.splitlines(True)[1:])),
    "history: header alone": (HISTORY, lambda text: text.splitlines(True)[0]),
    "history: a cell too many": (HISTORY, lambda text: text.rstrip() + ",1\n"),
    "history: a cell that is no number": (HISTORY, lambda text: text.rstrip()[:-1] + "x\n"),
    "history: a null character": (HISTORY, lambda text: text[:-5] + "\0" + text[-5:]),
    "history: an endless cell": (HISTORY, lambda text: text + "1" * 200_000),
    "curves: without its header": (CURVES, lambda text: "".join(text.splitlines(True)[1:])),
    "curves: other columns": (CURVES, lambda text: text.replace("recall", "call")),
    "curves: no number": (CURVES, lambda text: text.replace("0.0", "O.O")),
    "curves: an endless cell": (CURVES, lambda text: text + "random,mnist," + "1" * 200_000),
    "captions: a name that leads elsewhere": (
        CAPTIONS,
        lambda text: text.replace("random.png", "../../../../../given.png"),
    ),
    "captions: an absolute name": (CAPTIONS, lambda text: text.replace("random.png", "/etc/passwd")),
    "captions: no text": (CAPTIONS, lambda text: text.replace('"A figure"', "5")),
    "captions: nested deeply": (CAPTIONS, lambda text: '{"a":' * 100_000),
    "published: a value that is text": (PUBLISHED, lambda text: text.replace("0.5", "half")),
    "published: a value that is true": (PUBLISHED, lambda text: text.replace("0.5", "true")),
    "published: a source that is a list": (PUBLISHED, lambda text: text.replace("a paper", "[a]")),
    "published: an impossible date": (PUBLISHED, lambda text: text.replace("0.5", "2024-99-99")),
    "published: nested deeply": (PUBLISHED, lambda text: "[" * 3000),
    "published: code": (PUBLISHED, lambda text: "!!python/object/apply:os.mkdir [executed]"),
}


@pytest.mark.parametrize("damage", TEXTS)
def test_a_file_of_other_content_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path, change = TEXTS[damage]
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    assert_refused(path, capsys)
    assert not Path("executed").exists()


# --- records ---


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [cut, empty, not_utf8, symlink_to_nowhere]
    + [
        lambda path, text=text: path.write_text(text)
        for text in ("[1]", "{}", "[" * 100_000, '{"outputs": 1}')
    ],
    ids=["cut", "empty", "not UTF-8", "nowhere", "list", "nothing", "nested deeply", "other outputs"],
)
def test_what_a_damaged_record_belongs_to_is_made_again(
    project: Path, change: Callable[[Path], None]
) -> None:
    product = training()
    assert staleness(product) is None
    change(product.record)
    assert staleness(product)
    CHECKPOINT.unlink()
    before = MODEL.read_bytes()
    assert main(["train", "js"]) == 0
    assert staleness(product) is None
    assert MODEL.read_bytes() == before


@pytest.mark.parametrize("command", ["report", "track js"])
@pytest.mark.parametrize("text", ["", "[1]", "{}", "[" * 100_000], ids=["empty", "list", "nothing", "deep"])
def test_a_damaged_record_is_refused_by_those_who_tell_of_it(
    project: Path, command: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = RUN / "evaluation.record.json"
    record.write_text(text)
    assert "damaged or missing" in assert_refused(record, capsys, command)


def test_a_folder_in_place_of_a_record_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = training().record
    folder(record)
    assert_refused(record, capsys, "train js")


@pytest.mark.parametrize(
    ("path", "reason"), [(MODEL, "other outputs"), (HISTORY, "other outputs"), (STORE, "other inputs")]
)
def test_a_flipped_bit_is_a_reason_to_make_it_again(project: Path, path: Path, reason: str) -> None:
    flip_a_bit(path)
    assert staleness(training()) == f"{reason}: {path}"


# --- sources ---


def test_an_idx_file_cannot_inflate_without_end(tmp_path: Path) -> None:
    """Ten gigabytes of zeros that a header declares, in ten megabytes."""
    header = gzip.compress(struct.pack(">4I", 2051, 10_000_000_000 // 784, 28, 28))
    (tmp_path / "x.gz").write_bytes(header + gzip.compress(bytes(10_000_000), 1) * 1000)
    tracemalloc.start()
    try:
        with pytest.raises(MmjsdError, match=r"x\.gz: declares 12755102 rows, more than MNIST can have"):
            read_idx(tmp_path / "x.gz")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def mat_file(compressed: bool) -> bytes:
    file = io.BytesIO()
    images = np.random.default_rng(0).integers(256, size=(32, 32, 3, 4), dtype=np.uint8)
    scipy.io.savemat(file, {"X": images, "y": np.ones((4, 1), np.uint8)}, do_compression=compressed)
    return file.getvalue()


def test_a_mat_file_of_huge_dimensions_is_refused(tmp_path: Path) -> None:
    dimensions = struct.pack("<4i", 32, 32, 3, 4)
    content = mat_file(compressed=False)
    assert content.count(dimensions) == 1
    (tmp_path / "x.mat").write_bytes(content.replace(dimensions, struct.pack("<4i", 32, 32, 3, 2**31 - 1)))
    with pytest.raises(MmjsdError, match=r"x\.mat: "):
        read_svhn(tmp_path / "x.mat")


def test_a_flipped_bit_in_a_mat_file_is_refused_or_of_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(mat_file(compressed=True))
    assert_flipped_bits_are_refused_or_of_no_effect(path, lambda: read_svhn(path), np.array_equal)


def jpeg_of_declared_size(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (178, 218)).save(file, "JPEG")
    return file.getvalue().replace(struct.pack(">2H", 218, 178), struct.pack(">2H", height, width))


@pytest.mark.parametrize("side", [9000, 20_000, 65_500])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_jpeg_of_huge_dimensions_is_refused_undecoded(side: int) -> None:
    tracemalloc.start()
    try:
        assert read_face(jpeg_of_declared_size(178, 218)).shape == SHAPE
        with pytest.raises((WrongSize, Unfit), match=r"pixels, not 178x218|is no intact JPEG file"):
            read_face(jpeg_of_declared_size(side, side))
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("declared", [None, 1000])
def test_an_entry_of_a_zip_file_cannot_inflate_without_end(tmp_path: Path, declared: int | None) -> None:
    """Neither one that says how large it is nor one that lies."""
    path = tmp_path / "img_align_celeba.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(50_000_000))
    if declared:
        content = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", declared))
        path.write_bytes(content)
    tracemalloc.start()
    try:
        with opened(path) as images, pytest.raises(Unreadable) as caught:
            list(decode(images, [["1.jpg"]], read_face, SHAPE, skip=True))
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert caught.value.reasons["1.jpg"].startswith("cannot be read (")


@pytest.mark.parametrize(
    "content",
    [
        "9" * 5000 + "\n",
        "1\0\n",
        "٣\n",
        "1\n" + "\0".join(["a"] * 40) + "\n",
    ],
    ids=["count of 5000 digits", "null", "other digits", "nulls for blanks"],
)
def test_a_list_of_attributes_of_other_characters_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(content)
    with pytest.raises(MmjsdError, match=r"list_attr_celeba\.txt: line "):
        read_attributes(path)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def framed(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(framed(*chunk) for chunk in chunks)


HEADER = struct.pack(">2I5B", 28, 28, 8, 0, 0, 0, 0)
PNGS = {
    "huge": png(
        (b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")
    ),
    "of no data": png((b"IHDR", HEADER), (b"IEND", b"")),
    "of a cut header": png((b"IHDR", HEADER[:5]), (b"IDAT", b""), (b"IEND", b"")),
    "of another colour type": png(
        (b"IHDR", HEADER[:9] + b"\x63" + HEADER[10:]), (b"IDAT", b""), (b"IEND", b"")
    ),
    "of other data": png((b"IHDR", HEADER), (b"IDAT", b"not zlib"), (b"IEND", b"")),
}


@pytest.mark.parametrize("path", [GIVEN, PICTURE], ids=["given", "figure"])
@pytest.mark.parametrize("damage", PNGS)
def test_a_picture_of_other_content_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], path: Path, damage: str
) -> None:
    path.write_bytes(PNGS[damage])
    assert_refused(path, capsys)
