import gzip
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from mmjsd.data.kinds.mnist_svhn_text import build, find_sources
from mmjsd.data.official.mnist import read_idx, read_mnist
from mmjsd.data.official.svhn import read_svhn
from mmjsd.data.standin.digits import write_mnist, write_svhn
from mmjsd.data.store import Split, read_store
from mmjsd.data.text import WORDS
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import decode
from mmjsd.provenance.files import sha256_file
from support.official import idx, mat, refused

STANDIN = {"standin_train": 330, "standin_test": 120}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files in the usual subfolders."""
    folder = tmp_path_factory.mktemp("official")
    write_mnist(folder / "mnist", 330, 120, 0)
    write_svhn(folder / "svhn", 400, 100, 0)
    return folder


@pytest.fixture
def sources(official: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(official, tmp_path / "sources"))


def build_from(path: Path, source: Path | str, **options: Any) -> None:
    build(
        path, **({"source": str(source), "source_folder": path.parent / "src", "seed": 1} | STANDIN | options)
    )


# --- sources ---


@pytest.mark.parametrize(("mnist", "svhn"), [("", ""), ("mnist", "svhn"), ("MNIST/raw", "SVHN")])
def test_sources_are_found_where_they_usually_lie(
    official: Path, tmp_path: Path, mnist: str, svhn: str
) -> None:
    for kind, sub in (("mnist", mnist), ("svhn", svhn)):
        shutil.copytree(official / kind, tmp_path / sub, dirs_exist_ok=True)
    found = find_sources(tmp_path)
    assert len(found) == 6
    assert found["t10k-labels-idx1-ubyte.gz"] == tmp_path / mnist / "t10k-labels-idx1-ubyte.gz"
    assert found["train_32x32.mat"] == tmp_path / svhn / "train_32x32.mat"


def test_plain_files_are_preferred(sources: Path) -> None:
    plain = sources / "mnist" / "train-labels-idx1-ubyte"
    plain.write_bytes(gzip.decompress(plain.with_suffix(".gz").read_bytes()))
    assert find_sources(sources)["train-labels-idx1-ubyte"] == plain


@pytest.mark.parametrize(
    "place",
    [
        lambda name: f"{name.replace('-idx', '.idx')}",  # 7-Zip
        lambda name: f"mnist/{name.replace('-idx', '.idx')}.gz",
        lambda name: f"{name}/{name}",  # Kaggle
        lambda name: f"MNIST/raw/{name}.gz/{name}.gz",
        lambda name: f"{name}/{name.replace('-idx', '.idx')}",
        lambda name: f"{name.upper()}.GZ",
    ],
    ids=lambda place: place("a-idx1-ubyte"),
)
def test_files_of_all_tools_give_the_same_bytes(
    official: Path, tmp_path: Path, place: Callable[[str], str]
) -> None:
    """As those of the official names, packed or unpacked alike."""
    folders = {kind: Path(shutil.copytree(official / "svhn", tmp_path / kind)) for kind in ("a", "b")}
    for path in (official / "mnist").iterdir():
        packed = place(path.stem).lower().endswith(".gz")
        content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
        (folders["a"] / (path.name if packed else path.stem)).write_bytes(content)
        other = folders["b"] / place(path.stem)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(content)
        for foreign in (".DS_Store", f"._{other.name}", "Thumbs.db"):
            (other.parent / foreign).write_bytes(b"foreign")
    for kind, folder in folders.items():
        build_from(tmp_path / f"{kind}.h5", folder)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_what_is_there_instead_is_told(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for name in ("mnist.npz", "mnist/notes.txt", ".DS_Store", *(f"part{n}.csv" for n in range(5))):
        (tmp_path / name).touch()
    message = refused(find_sources, tmp_path)
    assert message.endswith("; there is mnist.npz, part0.csv, part1.csv, part2.csv, part3.csv and 2 more)")
    (tmp_path / "empty").mkdir()
    assert refused(find_sources, tmp_path / "empty").endswith("; there is nothing else)")


def test_all_missing_sources_are_named(sources: Path) -> None:
    (sources / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    (sources / "svhn" / "test_32x32.mat").unlink()
    message = refused(find_sources, sources)
    assert "no t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz, no test_32x32.mat;" in message
    assert "mnist, MNIST/raw, svhn, SVHN" in message
    assert "train" not in message


def test_standin_sources_are_always_rewritten(tmp_path: Path) -> None:
    build_from(tmp_path / "x.h5", "standin")
    written = find_sources(tmp_path / "src")
    before = written["test_32x32.mat"].read_bytes()
    written["test_32x32.mat"].write_bytes(b"")
    build_from(tmp_path / "x.h5", "standin")
    assert written["test_32x32.mat"].read_bytes() == before


# --- the store ---


@pytest.fixture(scope="module")
def splits(official: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    path = tmp_path_factory.mktemp("built") / "digits.h5"
    build_from(path, official)
    return read_store(path).splits


def test_pairs_agree_in_class(splits: dict[str, Split]) -> None:
    for split in splits.values():
        for column, table in zip(split.pairs.T, split.modalities.values(), strict=True):
            np.testing.assert_array_equal(table.labels[column], split.labels)
        words = [text.strip() for text in decode(split.modalities["text"].data)]
        assert [words[row] for row in split.pairs[:, 2]] == [WORDS[label] for label in split.labels]


def test_every_row_is_used_pairs_per_sample_times(splits: dict[str, Split]) -> None:
    # 33 and 40 a class for training, 12 and 10 for testing: the smaller counts
    for name, per_class in (("train", 33), ("test", 10)):
        split = splits[name]
        assert split.pairs.shape == (10 * per_class * 20, 3)
        for column, modality in ((0, "mnist"), (1, "svhn")):
            assert np.bincount(split.modalities[modality].labels).tolist() == [per_class] * 10
            uses = np.bincount(split.pairs[:, column], minlength=10 * per_class)
            assert uses.tolist() == [20] * (10 * per_class)
        texts = np.bincount(split.pairs[:, 2], minlength=40)
        assert texts.min() > 0


def test_matchings_are_independent(splits: dict[str, Split]) -> None:
    matchings = splits["train"].pairs[splits["train"].labels == 4].reshape(20, 33, 3)
    ranks = matchings[..., :2] - matchings[..., :2].min()
    for column in range(2):
        assert len(np.unique(ranks[..., column], axis=0)) == 20
    # partners repeat as rarely as chance has it: 660 of 33 * 33 possible pairs leave about 498 distinct ones
    distinct = len(np.unique(ranks.reshape(-1, 2), axis=0))
    assert 440 < distinct < 545
    # and neither the order of one modality nor the offsets of the words tell anything of the other
    correlation = np.corrcoef(matchings.reshape(-1, 3).T)
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.15


def test_first_rows_of_each_class_are_kept_in_source_order(official: Path, tmp_path: Path) -> None:
    build_from(tmp_path / "x.h5", official, max_per_class=7, pairs_per_sample=2)
    split = read_store(tmp_path / "x.h5").splits["train"]
    assert len(split.pairs) == 10 * 7 * 2
    svhn, svhn_labels = read_svhn(official / "svhn" / "train_32x32.mat")
    mnist, mnist_labels = read_mnist(
        *(find_sources(official)[f"train-{n}-ubyte.gz"] for n in ("images-idx3", "labels-idx1"))
    )
    for name, images, labels in (("svhn", svhn, svhn_labels), ("mnist", mnist, mnist_labels)):
        expected = np.concatenate([images[labels == digit][:7] for digit in range(10)])
        np.testing.assert_array_equal(split.modalities[name].data, expected)


def test_the_last_rows_of_each_class_validate(
    official: Path, splits: dict[str, Split], tmp_path: Path
) -> None:
    build_from(tmp_path / "x.h5", official, validation_share=0.1)
    store = read_store(tmp_path / "x.h5")
    assert list(store.splits) == ["train", "val", "test"]
    assert store.params["validation_share"] == 0.1
    for modality in ("mnist", "svhn"):
        parts = [store.splits[name].modalities[modality] for name in ("train", "val")]
        rows = [part.data.reshape(10, -1, *part.data.shape[1:]) for part in parts]
        assert [part.shape[1] for part in rows] == [30, 3]
        whole = splits["train"].modalities[modality].data
        np.testing.assert_array_equal(np.concatenate(rows, 1).reshape(whole.shape), whole)
    assert len(store.splits["val"].pairs) == 10 * 3 * 20
    test_pairs_agree_in_class(store.splits)


def test_without_validation_the_store_is_as_before(official: Path, tmp_path: Path) -> None:
    build_from(tmp_path / "x.h5", official, validation_share=0.0)
    build_from(tmp_path / "y.h5", official)
    assert sha256_file(tmp_path / "x.h5") == sha256_file(tmp_path / "y.h5")
    with pytest.raises(MmjsdError, match=r"33 usable rows of 0 are too few for a val split; change valid"):
        build_from(tmp_path / "x.h5", official, validation_share=0.01)


def test_same_seed_same_bytes_in_another_folder_a_second_later(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(
            tmp_path / folder / "x.h5",
            source="standin",
            source_folder=tmp_path / folder / "s",
            seed=seed,
            **STANDIN,
        )
        time.sleep(1.1)
    first, again, other = (sha256_file(tmp_path / folder / "x.h5") for folder in "abc")
    assert first == again != other


def test_origin_is_recorded_without_paths(official: Path, sources: Path, tmp_path: Path) -> None:
    build_from(tmp_path / "a.h5", official)
    build_from(tmp_path / "b.h5", sources)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    store = read_store(tmp_path / "a.h5")
    assert store.params == {"source": "folder", "max_per_class": 10000, "pairs_per_sample": 20}
    assert store.sources == {path.name: sha256_file(path) for path in find_sources(official).values()}
    build_from(tmp_path / "c.h5", "standin")
    assert read_store(tmp_path / "c.h5").params == {
        "source": "standin",
        "max_per_class": 10000,
        "pairs_per_sample": 20,
        **STANDIN,
    }


def test_store_is_as_designed(official: Path, tmp_path: Path) -> None:
    build_from(tmp_path / "x.h5", official, seed=9)
    store = read_store(tmp_path / "x.h5")
    assert (store.kind, store.seed, store.classes) == ("mnist_svhn_text", 9, [str(d) for d in range(10)])
    assert list(store.splits) == ["train", "test"]
    shapes = {name: table.shape for name, table in store.splits["test"].modalities.items()}
    assert shapes == {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "text": (8,)}


@pytest.mark.parametrize("missing_in", ["t10k-labels-idx1-ubyte.gz", "test_32x32.mat"])
def test_class_without_images_is_named_and_the_old_store_kept(sources: Path, missing_in: str) -> None:
    store = sources / "x.h5"
    build_from(store, sources)
    before, files = store.read_bytes(), sorted(sources.rglob("*"))
    path = next(sources.rglob(missing_in))
    if missing_in.endswith(".mat"):
        content = scipy.io.loadmat(path)
        content["y"][content["y"] == 10] = 1
        mat(path, X=content["X"], y=content["y"])
    else:
        labels = read_idx(path).copy()
        labels[labels == 0] = 1
        path.write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(MmjsdError, match=f"^{re.escape(str(path))}: has no 0 for the test split"):
        build_from(store, sources)
    assert store.read_bytes() == before
    assert sorted(sources.rglob("*")) == files
