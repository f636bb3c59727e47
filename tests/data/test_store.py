import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmjsd.data.store import (
    Split,
    Stream,
    Table,
    describe,
    read_store,
    require_labels,
    shortage,
    write_store,
)
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import sha256_file
from support.samples import make_split

CLASSES = ["cat", "dog"]


def a_split(rows: int = 6) -> Split:
    rng = np.random.default_rng(rows)
    labels = np.arange(rows) % 2
    tables = {
        "photo": Table("image", rng.integers(256, size=(rows, 3, 4, 5), dtype=np.uint8), labels),
        "name": Table("text", rng.integers(3, size=(rows, 7), dtype=np.uint8), labels, "ab\n"),
        "sound": Table("vector", rng.standard_normal((rows, 2), np.float32), labels),
    }
    pairs = np.repeat(np.arange(rows, dtype=np.int32)[:, None], 3, axis=1)
    pairs[0, 1] = pairs[1, 2] = -1
    return Split(tables, pairs, labels)


def attribute_split(rows: int = 6) -> Split:
    split = a_split(rows)
    labels = np.random.default_rng(0).integers(2, size=(rows, 2), dtype=np.uint8)
    return Split(
        {name: replace(t, labels=labels) for name, t in split.modalities.items()}, split.pairs, labels
    )


def write(path: Path, **changes: Any) -> None:
    parts: dict[str, Any] = {
        "kind": "pets",
        "modalities": ("photo", "name", "sound"),
        "classes": CLASSES,
        "seed": 3,
        "params": {"b": 1, "a": [1.5, None]},
        "sources": {"pets.zip": "0" * 64},
        "splits": {"train": a_split(6), "val": a_split(4), "odd": a_split(2)},
    }
    write_store(path, **(parts | changes))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write(tmp_path / "pets.h5")
    return tmp_path / "pets.h5"


@pytest.mark.parametrize("make", [a_split, attribute_split])
def test_round_trip(tmp_path: Path, make: Callable[..., Split]) -> None:
    splits = {"odd": make(2), "test": make(4), "train": make(6)}
    write(tmp_path / "new" / "pets.h5", splits=splits)
    store = read_store(tmp_path / "new" / "pets.h5")
    assert (store.kind, store.modalities, store.classes) == ("pets", ("photo", "name", "sound"), CLASSES)
    assert (store.seed, store.params, store.sources) == (
        3,
        {"b": 1, "a": [1.5, None]},
        {"pets.zip": "0" * 64},
    )
    assert list(store.splits) == ["train", "test", "odd"]
    for name, split in splits.items():
        read = store.splits[name]
        assert list(read.modalities) == list(split.modalities)
        for got, put in [(read.pairs, split.pairs), (read.labels, split.labels)] + [
            (getattr(read.modalities[m], part), getattr(table, part))
            for m, table in split.modalities.items()
            for part in ("data", "labels")
        ]:
            assert got.dtype == put.dtype
            np.testing.assert_array_equal(got, put)
        assert read.modalities["name"].alphabet == "ab\n"
    assert [table.size for table in store.splits["train"].modalities.values()] == [60, 7, 2]
    assert store.splits["train"].modalities["photo"].shape == (3, 4, 5)


def test_same_parts_give_the_same_bytes_elsewhere_and_later(stored: Path, tmp_path: Path) -> None:
    time.sleep(1.1)
    write(tmp_path / "elsewhere" / "other.h5")
    assert (tmp_path / "elsewhere" / "other.h5").read_bytes() == stored.read_bytes()


def test_streamed_images_and_late_hashes_give_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    read: list[str] = []

    def streamed(name: str, split: Split) -> Split:
        photo = split.modalities["photo"]

        def blocks():
            for start in range(0, len(photo.data), 4):
                read.append(name)
                yield photo.data[start : start + 4]

        data: Any = Stream(photo.data.shape, photo.data.dtype, blocks())
        return replace(split, modalities=split.modalities | {"photo": replace(photo, data=data)})

    def hashes() -> dict[str, str]:
        assert read == ["train", "train", "val", "odd"]
        return {"pets.zip": "0" * 64}

    splits = {"train": a_split(6), "val": a_split(4), "odd": a_split(2)}
    splits = {name: streamed(name, split) for name, split in splits.items()}
    write(tmp_path / "streamed.h5", splits=splits, sources=hashes)
    assert (tmp_path / "streamed.h5").read_bytes() == stored.read_bytes()


def test_changing_an_array_leaves_the_file_alone(stored: Path) -> None:
    before = sha256_file(stored)
    read_store(stored).splits["train"].modalities["photo"].data[:] = 0
    assert sha256_file(stored) == before


def test_data_is_contiguous_and_uncompressed(stored: Path) -> None:
    raw = a_split(6).modalities["photo"].data.tobytes()
    assert raw in stored.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(MmjsdError) as caught:
        read_store(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "mmjsd data build" in message
    assert "\n" not in message
    return message


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "no.h5")
    assert "no such file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a store at all" * 100])
def test_refuses_what_is_not_hdf5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    assert "not an HDF5 file" in refusal(tmp_path / "x.h5")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_refuses_a_file_cut_short(stored: Path, share: float) -> None:
    size = stored.stat().st_size
    os.truncate(stored, min(int(share * size), size - 1))
    message = refusal(stored)
    assert "cut short" in message or "not an HDF5 file" in message


def test_never_fails_otherwise_on_damaged_bytes(stored: Path, tmp_path: Path) -> None:
    intact = np.frombuffer(stored.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        content = intact.copy()
        start = rng.integers(len(content) - 8)
        content[start : start + 8] = rng.integers(256, size=8)
        path = tmp_path / f"{trial}.h5"
        path.write_bytes(content.tobytes())
        try:
            read_store(path)
        except MmjsdError:
            refused += 1
    assert refused > 10


def _put(file: h5py.File, name: str, value: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=value).attrs.update(attributes)


def _set(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: _put(file, name, value)


def _fill(name: str, at: Any, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change


def _attr(where: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[where].attrs.__setitem__(name, value)


def _drop(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


def _drop_attr(where: str, name: str) -> Callable[[h5py.File], None]:
    return lambda file: file[where].attrs.__delitem__(name)


def _chunked(file: h5py.File) -> None:
    values = file["train/labels"][:]
    del file["train/labels"]
    file.create_dataset("train/labels", data=values, chunks=(2,))


REFUSED = {
    "other format": (_attr("/", "format", "other"), "not of the format mmjsd-multimodal"),
    "no format": (_drop_attr("/", "format"), "attribute format of / is missing"),
    "other version": (_attr("/", "version", 2), "has version 2"),
    "seed as text": (_attr("/", "seed", "three"), "attribute seed of / has the wrong type"),
    "no kind": (_drop_attr("/", "kind"), "attribute kind of / is missing"),
    "params no JSON": (_attr("/", "params", "{"), "attribute params of / is not a JSON dict"),
    "sources a list": (_attr("/", "sources", "[]"), "attribute sources of / is not a JSON dict"),
    "modalities not names": (
        _attr("/", "modalities", "[1]"),
        "attribute modalities of / is not a list of names",
    ),
    "modality too many in attrs": (
        _attr("/", "modalities", json.dumps(["photo", "name", "sound", "smell"])),
        "smell/data is missing",
    ),
    "modality too few in attrs": (
        _attr("/", "modalities", json.dumps(["photo", "name"])),
        "sound is not one of",
    ),
    "no splits": (lambda file: [file.__delitem__(name) for name in list(file)], "must not be empty"),
    "no data": (_drop("train/photo/data"), "/train/photo/data is missing"),
    "no labels": (_drop("val/name/labels"), "/val/name/labels is missing"),
    "no pairs": (_drop("train/pairs"), "/train/pairs is missing"),
    "no sample labels": (_drop("train/labels"), "/train/labels is missing"),
    "chunked": (_chunked, "/train/labels is not stored contiguously"),
    "dtype of images": (_set("train/photo/data", np.zeros((6, 3, 4, 5), np.float32)), "data is float32"),
    "shape of images": (_set("train/photo/data", np.zeros((6, 3, 20), np.uint8)), "not uint8 with 4 axes"),
    "other size in a split": (
        _set("val/photo/data", np.zeros((4, 3, 4, 4), np.uint8)),
        "another kind or shape",
    ),
    "unknown kind": (_attr("train/photo/data", "kind", "smell"), "has the kind smell"),
    "no alphabet": (_drop_attr("train/name/data", "alphabet"), "must have an alphabet"),
    "token": (_fill("train/name/data", (0, 0), 3), "token 3, but the alphabet has 3 symbols"),
    "not finite": (_fill("train/sound/data", (0, 0), np.nan), "not finite"),
    "dtype of labels": (_set("train/photo/labels", np.zeros(6, np.int32)), "labels is int32"),
    "count of labels": (_set("train/photo/labels", np.zeros(5, np.int64)), "labels is int64 (5,)"),
    "class above": (_fill("train/photo/labels", 0, 2), "labels must be 0..1 (got 0..2)"),
    "class below": (_fill("train/labels", 0, -1), "labels must be 0..1 (got -1..1)"),
    "dtype of pairs": (_set("train/pairs", np.zeros((6, 3), np.int64)), "pairs is int64"),
    "width of pairs": (_set("train/pairs", np.zeros((6, 2), np.int32)), "not int32 (samples, 3)"),
    "pair above": (_fill("train/pairs", (2, 0), 6), "rows of photo outside -1..5"),
    "pair below": (_fill("train/pairs", (2, 2), -2), "rows of sound outside -1..5"),
    "empty sample": (_fill("train/pairs", 2, -1), "without any modality"),
    "mismatched classes": (_fill("train/pairs", (2, 1), 3), "another label than its name has"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_contradictions(stored: Path, case: str) -> None:
    change, expected = REFUSED[case]
    with h5py.File(stored, "r+") as file:
        change(file)
    assert expected in refusal(stored)


def test_attributes_must_be_binary(tmp_path: Path) -> None:
    split = attribute_split()
    split.labels[0, 0] = 2
    with pytest.raises(MmjsdError, match=r"labels must be 0\.\.1"):
        write(tmp_path / "x.h5", splits={"train": split})


@pytest.mark.parametrize(
    "name", ["pairs", "labels", "prior", "mean", "joint", "random", "photo-name", "photo/name", "-", ""]
)
def test_modalities_with_names_of_other_things_are_refused(tmp_path: Path, name: str) -> None:
    """Metrics of several modalities, of their mean or of random samples would have the keys of theirs."""
    split = a_split(6)
    named = {name if old == "sound" else old: table for old, table in split.modalities.items()}
    with pytest.raises(MmjsdError, match=rf"not written, no modality can be called '{name}'") as caught:
        write(tmp_path / "x.h5", modalities=list(named), splits={"train": replace(split, modalities=named)})
    assert "\n" not in str(caught.value)


def test_attributes_with_a_slash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MmjsdError, match="no attribute can be called 'grey/white'"):
        write(tmp_path / "x.h5", classes=["grey/white", "old"], splits={"train": attribute_split()})
    write(tmp_path / "x.h5", classes=["grey/white", "old"])  # a class can


@pytest.mark.parametrize("classes", [["cat", "cat"], []])
def test_writer_refuses_what_the_reader_would(stored: Path, classes: list[str]) -> None:
    before = stored.read_bytes()
    with pytest.raises(MmjsdError, match="not written"):
        write(stored, classes=classes)
    assert stored.read_bytes() == before


def test_failure_keeps_the_old_store_and_no_temporary(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(MmjsdError, match=r"pets\.h5: cannot be written \(No space left"):
        write(stored, seed=4)
    assert stored.read_bytes() == before
    assert os.listdir(stored.parent) == [stored.name]


def test_interruption_leaves_no_temporary(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(stored, seed=4)
    assert os.listdir(stored.parent) == [stored.name]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MmjsdError, match="cannot be written"):
        write(tmp_path / "file" / "x.h5")


def test_describe_tells_what_is_in_it(stored: Path) -> None:
    text = describe(read_store(stored))
    for part in (
        "pets (mmjsd-multimodal, version 1)",
        sha256_file(stored),
        "seed     3",
        "pets.zip (sha256 000000000000)",
        "train: 6 samples; per class 3 3",
        "photo: image uint8 (6, 3, 4, 5), 360 bytes, missing in 0.0%; per class 3 3",
        "sound: vector float32 (6, 2), 48 bytes, missing in 16.7%",
    ):
        assert part in text


def test_copies_are_equal_stores(stored: Path, tmp_path: Path) -> None:
    copy = shutil.copy(stored, tmp_path / "copy.h5")
    assert sha256_file(copy) == sha256_file(stored)
    assert describe(read_store(copy)).split("\n")[1:] == describe(read_store(stored)).split("\n")[1:]


def test_a_sample_of_a_split_has_the_rows_of_its_samples_and_no_others():
    split = make_split(np.random.default_rng(0), 40, missing=0.4)
    samples = np.array([3, 30, 3, 17])
    found = split.sample(samples)
    assert len(found.pairs) == 4
    np.testing.assert_array_equal(found.labels, split.labels[samples])
    for column, (name, table) in enumerate(found.modalities.items()):
        whole = split.modalities[name]
        for here, there in zip(found.pairs[:, column], split.pairs[samples, column], strict=True):
            assert (here < 0) == (there < 0)
            if here >= 0:
                np.testing.assert_array_equal(table.data[here], whole.data[there])
        assert len(table.data) <= 3


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RuntimeError("no thread"), KeyError("x")]
)
@pytest.mark.parametrize("what", ["stream", "sources"])
def test_what_goes_wrong_while_reading_is_not_said_of_the_store(
    stored: Path, error: Exception, what: str
) -> None:
    """It is raised as it is, and the old store stays."""
    before = stored.read_bytes()
    split = a_split(6)

    def fail() -> Any:
        raise error

    def blocks() -> Any:
        yield split.modalities["photo"].data[:2]
        fail()

    if what == "sources":
        changes: dict[str, Any] = {"sources": fail}
    else:
        stream: Any = Stream((6, 3, 4, 5), np.dtype(np.uint8), blocks())
        tables = split.modalities | {"photo": replace(split.modalities["photo"], data=stream)}
        changes = {"splits": {"train": Split(tables, split.pairs, split.labels)}}
    with pytest.raises(type(error)) as caught:
        write(stored, **changes)
    assert caught.value is error
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def with_pairs(rows: int, pairs: np.ndarray, labels: np.ndarray | None = None) -> Split:
    """A split of photos, names and sounds with these pairs, all of the labels that it is given or of two."""
    split = a_split(rows)
    labels = np.arange(len(pairs)) % 2 if labels is None else labels
    return Split(split.modalities, pairs.astype(np.int32), labels)


def test_what_a_store_has_too_little_of_is_told(stored: Path) -> None:
    whole = np.repeat(np.arange(30)[:, None], 3, axis=1)
    one_photo, gaps, never = whole.copy(), whole.copy(), whole.copy()
    apart = np.repeat(np.arange(60)[:, None] // 2, 3, axis=1)
    one_photo[:, 0] %= 19
    gaps[:11, 1] = -1
    never[:, 2] = -1
    store = read_store(stored)

    def short(train: np.ndarray, test: np.ndarray, labels: np.ndarray | None = None) -> str | None:
        splits = {"train": with_pairs(30, train, labels), "test": with_pairs(30, test)}
        return shortage(replace(store, splits=splits), 20)

    assert short(whole, whole) is None
    assert short(one_photo, whole) is None
    assert short(whole, one_photo) == "its test split has 19 different images of photo, 20 are needed"
    apart[::2, 0], apart[1::2, 1:] = -1, -1
    assert short(gaps, whole) == "its train split has 19 samples with name, 20 are needed"
    assert short(whole, gaps) == "its test split has 19 samples with name, 20 are needed"
    assert short(whole, never) == "its test split has 0 samples with sound, 20 are needed"
    # none has all of them
    assert short(apart, whole) is None
    one_class = np.ones(30, np.int64)
    assert short(whole, whole, one_class) == "all samples of its train split are of one class, two are needed"


# --- without labels ---


def unlabelled(split: Split) -> Split:
    tables = {name: replace(table, labels=None) for name, table in split.modalities.items()}
    return Split(tables, split.pairs)


def test_data_without_labels_are_a_store(tmp_path: Path) -> None:
    path = tmp_path / "pets.h5"
    splits = {"train": a_split(30), "test": a_split(25)}
    write(path, classes=[], splits={name: unlabelled(split) for name, split in splits.items()})
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
    assert not [name for name in names if "labels" in name]
    store = read_store(path)
    assert store.classes == []
    for name, split in store.splits.items():
        assert split.labels is None
        np.testing.assert_array_equal(split.pairs, splits[name].pairs)
        for modality, table in split.modalities.items():
            assert table.labels is None
            np.testing.assert_array_equal(table.data, splits[name].modalities[modality].data)
    text = describe(store)
    assert "  classes  none\n" in text
    assert "train: 30 samples; no labels" in text
    assert "missing in 0.0%; no labels" in text
    part = store.splits["train"].sample(np.array([4, 2]))
    assert part.labels is None
    np.testing.assert_array_equal(
        part.modalities["photo"].data[part.pairs[:, 0]], splits["train"].modalities["photo"].data[[4, 2]]
    )
    assert shortage(store, 20) is None
    assert shortage(store, 25) == "its test split has 24 samples with name, 25 are needed"
    with pytest.raises(
        MmjsdError, match=r"pets\.h5: its samples have no labels, by which trained models are"
    ):
        require_labels(store)


def test_labels_are_there_where_they_are(stored: Path) -> None:
    require_labels(read_store(stored))


@pytest.mark.parametrize("where", ["train/labels", "odd/labels", "train/photo/labels", "val/sound/labels"])
def test_what_is_labelled_in_part_is_refused(stored: Path, where: str) -> None:
    with h5py.File(stored, "r+") as file:
        del file[where]
    assert f"/{where} is missing, where others have labels" in refusal(stored)


@pytest.mark.parametrize("make", [h5py.SoftLink, lambda place: h5py.ExternalLink("x.h5", place)])
def test_labels_that_lead_nowhere_are_not_absent(stored: Path, make: Callable[[str], Any]) -> None:
    with h5py.File(stored, "r+") as file:
        for name in ("train", "val", "odd"):
            for group in (file[name], *(file[f"{name}/{m}"] for m in ("photo", "name", "sound"))):
                del group["labels"]
        file["train/labels"] = make("/nowhere")
        file.attrs["classes"] = "[]"
    assert "/train/labels is missing" in refusal(stored)


def test_classes_and_labels_go_together(tmp_path: Path) -> None:
    with pytest.raises(MmjsdError, match="not written, has the classes cat, dog, and no labels;"):
        write(tmp_path / "x.h5", splits={"train": unlabelled(a_split())})
    with pytest.raises(MmjsdError, match="not written, has labels, and no classes;"):
        write(tmp_path / "x.h5", classes=[])
    assert not list(tmp_path.iterdir())


# --- what the values of vectors are ---


def with_columns(split: Split, **changes: Any) -> Split:
    """The split whose sounds have names and a scale."""
    given: dict[str, Any] = {
        "columns": ("loud", "high"),
        "mean": np.array([3, -0.5], np.float32),
        "deviation": np.array([2, 1e-3], np.float32),
    }
    sound = replace(split.modalities["sound"], **(given | changes))
    return replace(split, modalities=split.modalities | {"sound": sound})


def test_columns_and_scale_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "pets.h5"
    splits = {"train": with_columns(a_split(6)), "test": with_columns(a_split(4))}
    write(path, splits=splits)
    store = read_store(path)
    for split in (*store.splits.values(), store.splits["train"].sample(np.array([3]))):
        sound, photo = split.modalities["sound"], split.modalities["photo"]
        assert sound.columns == ("loud", "high")
        assert sound.mean is not None
        assert sound.deviation is not None
        assert sound.mean.dtype == sound.deviation.dtype == np.float32
        np.testing.assert_array_equal(sound.mean, [3, -0.5])
        np.testing.assert_array_equal(sound.deviation, np.array([2, 1e-3], np.float32))
        assert photo.columns is photo.mean is photo.deviation is None
    assert "      columns loud, high\n" in describe(store)
    assert "      standardised: mean -0.5..3, deviation 0.001..2" in describe(store)
    write(tmp_path / "again" / "pets.h5", splits=splits)
    assert (tmp_path / "again" / "pets.h5").read_bytes() == path.read_bytes()


def test_vectors_may_be_long_and_have_names_without_a_scale(tmp_path: Path) -> None:
    values = np.zeros((3, 30_000), np.float32)
    labels = np.zeros(3, np.int64)
    names = tuple(f"gene {number}" for number in range(30_000))
    pairs = np.arange(3, dtype=np.int32)[:, None]
    for scale in ({}, {"mean": values[0], "deviation": values[0] + 1}):
        split = Split({"genes": Table("vector", values, labels, columns=names, **scale)}, pairs, labels)
        write(tmp_path / "x.h5", modalities=["genes"], splits={"train": split})
        store = read_store(tmp_path / "x.h5")
        assert store.splits["train"].modalities["genes"].columns == names
        assert "columns gene 0, gene 1, gene 2" in describe(store)
        assert "gene 9 and 29990 more" in describe(store)
        assert ("standardised" in describe(store)) == bool(scale)


FLOATS = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"columns": ("loud",)}, "1 names of columns for 2 values"),
        ({"columns": ("loud", "loud")}, "the column loud twice"),
        ({"mean": None}, "both mean and deviation, or neither"),
        ({"deviation": None}, "both mean and deviation, or neither"),
        ({"mean": np.ones(3, np.float32)}, "a mean that is float32 (3,), not float32 (2,)"),
        ({"deviation": np.ones(2)}, "a deviation that is float64 (2,), not float32 (2,)"),
        ({"mean": FLOATS * np.nan}, "a mean that is not finite"),
        ({"deviation": FLOATS * np.inf}, "a deviation that is not finite"),
        ({"deviation": np.array([1, 0], np.float32)}, "a deviation that is not above 0"),
    ],
)
def test_columns_and_scales_that_cannot_be(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(MmjsdError) as caught:
        write(tmp_path / "x.h5", splits={"train": with_columns(a_split(), **changes)})
    assert "not written, /train/sound/data" in str(caught.value)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"columns": ("high", "loud")}, {"mean": FLOATS}, {"deviation": FLOATS}])
def test_a_model_needs_one_scale_for_all_splits(tmp_path: Path, change: dict[str, Any]) -> None:
    splits = {"train": with_columns(a_split()), "test": with_columns(a_split(), **change)}
    with pytest.raises(
        MmjsdError, match=r"/test/sound/data has (other columns|another mean or deviation) than"
    ):
        write(tmp_path / "x.h5", splits=splits)
    without = {"train": with_columns(a_split()), "test": a_split()}
    with pytest.raises(MmjsdError, match="/test/sound/data has other columns than in another split"):
        write(tmp_path / "x.h5", splits=without)


def test_only_vectors_have_columns(tmp_path: Path) -> None:
    split = a_split()
    name = replace(split.modalities["name"], columns=tuple("abcdefg"))
    with pytest.raises(MmjsdError, match="may have columns, mean and deviation only if it is vectors"):
        write(
            tmp_path / "x.h5", splits={"train": replace(split, modalities=split.modalities | {"name": name})}
        )


DAMAGED = {
    "columns no JSON": (
        _attr("train/sound/data", "columns", "{"),
        "columns of /train/sound/data is not a JSON",
    ),
    "columns no names": (_attr("train/sound/data", "columns", "[1, 2]"), "is not a list of names"),
    "columns a number": (
        _attr("train/sound/data", "columns", 3),
        "columns of /train/sound/data has the wrong",
    ),
    "mean a number": (
        _attr("train/sound/data", "mean", np.float32(1)),
        "mean of /train/sound/data has the wrong",
    ),
    "mean of integers": (
        _attr("train/sound/data", "mean", np.array([1, 2])),
        "mean of /train/sound/data has the",
    ),
    "no mean": (_drop_attr("train/sound/data", "mean"), "both mean and deviation, or neither"),
    "deviation": (
        _attr("train/sound/data", "deviation", np.array([1, -1], np.float32)),
        "deviation that is not above 0",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_refuses_damaged_columns_and_scales(tmp_path: Path, case: str) -> None:
    change, expected = DAMAGED[case]
    write(tmp_path / "x.h5", splits={"train": with_columns(a_split())})
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        change(file)
    assert expected in refusal(tmp_path / "x.h5")


def test_parameters_of_a_store_are_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "x.h5", params={"a": float("nan")})
    assert not list(tmp_path.iterdir())
