"""What is true of every kind of modality, and what goes through all steps."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.distributions import VonMises

import mmjsd
from mmjsd import cli, registry
from mmjsd.data.batches import Batch
from mmjsd.data.store import Split, Store, Table, read_store, write_store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.running import evaluate
from mmjsd.modalities import Kind, Modality, kind_of
from mmjsd.modalities.text import ALPHABET, encode
from mmjsd.models.classifiers import train_classifier
from mmjsd.params import make_evaluation
from mmjsd.reporting.catalogue import run_figures
from mmjsd.reporting.figures import draw_run
from mmjsd.training.loop import train
from mmjsd.training.model_file import build
from support import angle
from support.samples import make_run

QUICK = make_evaluation(
    train_samples=60,
    random_samples=40,
    likelihood_pairs=5,
    importance_samples=2,
    quality_samples=40,
    threads=1,
)
KINDS = list(registry.entries("modalities"))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch):
    """Another kind, as an entry of the registry."""
    monkeypatch.setitem(registry.BUILT_IN["modalities"], "angle", "support.angle")
    registry.entries.cache_clear()
    yield
    monkeypatch.undo()
    registry.entries.cache_clear()


# --- Every kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*KINDS, "angle"])
def test_a_kind_has_what_kinds_have(toy, name: str) -> None:
    kind = kind_of(name)
    for constant in Kind.__annotations__:
        assert hasattr(kind, constant)
    for method, declared in inspect.getmembers(Kind, inspect.isfunction):
        if not method.startswith("_"):
            assert list(inspect.signature(getattr(kind, method)).parameters) == [
                parameter for parameter in inspect.signature(declared).parameters if parameter != "self"
            ]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MmjsdError, match=r"^vectr: not one of the modalities; did you mean vector\?$"):
        kind_of("vectr")


def test_building_data_does_not_import_torch() -> None:
    """Nor matplotlib: both take seconds."""
    named = ", ".join(reference.partition(":")[0] for reference in registry.entries("modalities").values())
    code = f"import sys, mmjsd.data.store, mmjsd.modalities.preparation, {named}\n"
    code += "print([name for name in ('torch', 'matplotlib', 'pandas') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_stores_are_written_and_read_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from mmjsd.data.store import *\n"
        "labels = np.arange(2); pairs = np.zeros((2, 2), np.int32) + labels[:, None].astype(np.int32)\n"
        "tables = {'v': Table('vector', np.ones((2, 3), np.float32), labels),"
        " 'i': Table('image', np.ones((2, 1, 5, 5), np.uint8), labels)}\n"
        "write_store('x.h5', kind='x', modalities=['v', 'i'], classes=['a', 'b'], seed=0, params={},"
        " sources={}, splits={'train': Split(tables, pairs, labels)})\n"
        "print(modalities_of(read_store('x.h5').splits['train'])[0].kind, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (found.stdout, found.stderr) == ("vector False\n", "")


MODALITIES = [
    Modality("numbers", "vector", (7,), 7),
    Modality("picture", "image", (3, 40, 24), 2880),
    Modality("words", "text", (33,), 33),
]


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_a_model_is_compiled_as_a_whole_copied_and_pickled(objective: str) -> None:
    """Its kinds are modules, which can be none of these, and are found by importing, which neither can."""
    run = make_run(objective=objective, private_latent=2, network_width=0.1)
    torch.manual_seed(0)
    plain = build(MODALITIES, run)
    values = {"numbers": torch.randn(4, 7), "picture": torch.rand(4, 3, 40, 24)}
    batch = Batch(values | {"words": torch.randint(70, (4, 33))}, None)
    compiled = torch.compile(plain, fullgraph=True, backend="eager")
    losses = []
    for function in (plain, compiled, copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        torch.manual_seed(1)
        losses.append(function(batch).loss.item())
    assert losses == pytest.approx([losses[0]] * 4)


# --- All steps --------------------------------------------------------------------------------------------


def written(path: Path, tables: dict[str, tuple[str, np.ndarray]], labels: np.ndarray) -> Store:
    """A store of rows that are paired as they come, the last third of them for testing."""
    splits = {}
    first = len(labels) * 2 // 3
    for name, part in (("train", slice(first)), ("test", slice(first, None))):
        of_split = {
            modality: Table(kind, data[part], labels[part], kind_of(kind).ALPHABET)
            for modality, (kind, data) in tables.items()
        }
        pairs = np.stack([np.arange(len(labels[part]), dtype=np.int32)] * len(tables), 1)
        splits[name] = Split(of_split, pairs, labels[part])
    classes = [f"class {label}" for label in range(3)]
    options = {"kind": "own", "classes": classes, "seed": 0, "params": {"source": "standin"}, "sources": {}}
    write_store(path, modalities=list(tables), splits=splits, **options)
    return read_store(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Classes that shine through in numbers, in a picture and in words, none in a shape of the paper."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    numbers = (rng.standard_normal((180, 7)) * 0.3 + (labels[:, None] - 1)).astype(np.float32)
    pictures = (rng.integers(0, 60, (180, 3, 40, 24)) + 90 * labels[:, None, None, None]).astype(np.uint8)
    words = encode([f"number {label} of the classes"[: 9 + i % 20] for i, label in enumerate(labels)], 33)
    tables = {"numbers": ("vector", numbers), "picture": ("image", pictures), "words": ("text", words)}
    return written(tmp_path_factory.mktemp("store") / "own.h5", tables, labels)


@pytest.fixture(scope="module")
def judges(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifiers")
    for modality in store.modalities:
        train_classifier(store, modality, folder / modality, epochs=3, seed=1)
    return folder


def test_modalities_of_every_shape_are_classified(store, judges) -> None:
    for modality in store.modalities:
        assert json.loads((judges / modality / "metrics.json").read_bytes())["accuracy"] > 0.9


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_modalities_of_every_shape_go_through_all_steps(
    store, judges, tmp_path, monkeypatch, objective: str
) -> None:
    """They are trained on, judged, drawn, and generated as on the command line."""
    run = make_run(objective=objective, private_latent=2, shared_latent=5, epochs=6, learning_rate=2e-3)
    train(run, store, tmp_path, name="own", seed=1)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    losses = [float(line.split(",")[1]) for line in lines[1:]]
    assert losses[-1] < losses[0]
    evaluate(tmp_path, store, judges, QUICK)
    metrics = json.loads((tmp_path / "metrics.json").read_bytes())
    assert all(np.isfinite(value) for value in metrics.values() if isinstance(value, float))
    assert {key for key in metrics if key.startswith("quality/fid/random/")} == {"quality/fid/random/picture"}
    assert {"likelihood/numbers/words", "coherence/conditional/words/numbers"} <= metrics.keys()
    assert metrics["representation/accuracy/numbers"] > 0.8
    # beside it what the numbers themselves tell; nothing like it of pictures and words
    assert metrics["representation/raw/numbers"] > 0.8
    assert sum(key.startswith("representation/raw/") for key in metrics) == 1
    if objective != "mmjsd":  # it takes longest
        monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)
    draw_run(tmp_path, store)
    names = run_figures(store.modalities, subspaces=True, labels="class", vectors=True)
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == set(names)

    model = mmjsd.load(tmp_path)
    given = model.prepare({"numbers": [0.5] * 7, "words": ["number 1", "number 2"]})
    samples = model.generate(given, n=2)
    assert {name: tuple(x.shape) for name, x in samples.items()} == {
        "numbers": (4, 7),
        "picture": (4, 3, 40, 24),
        "words": (4, 33, len(ALPHABET)),
    }
    monkeypatch.undo()
    command = ["generate", str(tmp_path), "--n", "5", "--out", str(tmp_path / "x.png")]
    assert cli.main([*command, "--given", "numbers=-1,.5,2e-1, 0,0,0,1", "--given", "words=number 2"]) == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert cli.main([*command, "--given", "numbers=1,2"]) == 1


def test_what_is_typed_is_what_is_given(store, tmp_path, capsys) -> None:
    train(make_run(epochs=1), store, tmp_path, name="own", seed=1)
    model = mmjsd.load(tmp_path)
    typed = model.prepare({"numbers": "1,2,3,-4,.5,1e-1,0"})["numbers"]
    assert torch.equal(typed, torch.tensor([[1, 2, 3, -4, 0.5, 0.1, 0]]))
    for value in ("1,2,3", "1,2,3,4,5,6,x", "1,2,3,4,5,6,", "1,2,3,4,5,6,1e99", "1,2,3,4,5,6,nan"):
        command = ["generate", str(tmp_path), "--given", f"numbers={value}", "--out", str(tmp_path / "x.png")]
        assert cli.main(command) == 1
        assert capsys.readouterr().err == "numbers: must be 7 finite numbers\n"
    assert not (tmp_path / "x.png").exists()


# --- Another kind -----------------------------------------------------------------------------------------


def test_the_likelihood_of_the_toy_is_that_of_torch() -> None:
    output, x = torch.randn(4, 3, 2), torch.rand(4, 3) * 6 - 3
    mean, concentration = angle.parameters(output)
    expected = VonMises(mean, concentration).log_prob(x).sum(1)
    torch.testing.assert_close(
        angle.log_likelihood(output, x, "von_mises", None), expected, atol=1e-4, rtol=1e-4
    )


def test_a_kind_of_ones_own_goes_through_all_steps(toy, tmp_path) -> None:
    """Its module and its entry are all it needs: nothing of the package knows angles."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    angles = rng.vonmises(2 * labels[:, None] - 2, 8, (180, 3)).astype(np.float32)
    words = encode([("left", "ahead", "right")[label] for label in labels], 11)
    tables = {"heading": ("angle", angles), "words": ("text", words)}
    store = written(tmp_path / "own.h5", tables, labels)
    for modality in store.modalities:
        train_classifier(store, modality, tmp_path / "classifiers" / modality, epochs=2, seed=1)
    folder = tmp_path / "run"
    train(make_run(objective="mmjsd", epochs=40, learning_rate=3e-3), store, folder, name="own", seed=1)
    evaluate(folder, store, tmp_path / "classifiers", QUICK)
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert metrics["classifier/accuracy/heading"] > 0.9
    assert metrics["coherence/conditional/words/heading"] > 0.8
    assert metrics["representation/accuracy/heading"] > 0.8
    draw_run(folder, store)
    model = mmjsd.load(folder)
    samples = model.generate(model.prepare({"heading": "10°, 10°, 12°"}), n=20)
    assert samples["heading"].shape == (20, 3)
    command = ["generate", str(folder), "--given", "heading=-90°,-90°,-90°", "--out", str(tmp_path / "x.png")]
    assert cli.main(command) == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_kind_that_is_gone_is_told(toy, tmp_path, monkeypatch) -> None:
    rows = np.zeros((60, 3), np.float32)
    store = written(tmp_path / "own.h5", {"heading": ("angle", rows)}, np.arange(60) % 3)
    monkeypatch.undo()
    registry.entries.cache_clear()
    with pytest.raises(MmjsdError, match=r"heading/data has the kind angle, not one of image, text, vector;"):
        read_store(store.path)
