import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy import ndimage
from sklearn.datasets import load_digits

from mmjsd.data.official.mnist import read_mnist
from mmjsd.data.official.svhn import read_svhn
from mmjsd.data.standin import digits, handwriting
from mmjsd.data.standin.digits import write_mnist, write_svhn
from mmjsd.errors import MmjsdError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standin")
    write_mnist(folder, 1203, 300, 5)
    write_svhn(folder, 1203, 300, 5)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_gives_the_same_bytes_later_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    time.sleep(1.1)
    for seed in (5, 6):
        write_mnist(tmp_path / str(seed), 1203, 300, seed)
        write_svhn(tmp_path / str(seed), 1203, 300, seed)
    assert contents(tmp_path / "5") == contents(folder)
    other = contents(tmp_path / "6")
    assert all(other[name] != content for name, content in contents(folder).items())


def test_files_are_the_official_layout(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "test_32x32.mat",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "train_32x32.mat",
    ]
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        assert np.frombuffer(file.read(16), ">i4").tolist() == [2051, 1203, 28, 28]
    mat = scipy.io.loadmat(folder / "test_32x32.mat")
    assert (mat["X"].shape, mat["X"].dtype, mat["y"].shape) == ((32, 32, 3, 300), np.uint8, (300, 1))
    assert sorted(set(mat["y"].ravel())) == list(range(1, 11))


def test_classes_are_balanced_and_shuffled(folder: Path) -> None:
    names = (folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    for _, labels in (read_mnist(*names), read_svhn(folder / "train_32x32.mat")):
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 1
        assert len(set(labels[:30])) > 5
        assert (np.diff(labels) != 0).mean() > 0.8


def test_mnist_looks_like_mnist(folder: Path) -> None:
    images, _ = read_mnist(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    assert (images[:, 0, [0, -1]] == 0).mean() > 0.99
    # share of inked pixels and mean brightness of MNIST: 0.19 and 0.13
    assert 0.14 < (images > 0).mean() < 0.24
    assert 0.10 < images.mean() / 255 < 0.17
    for image in images[:50, 0]:
        assert np.abs(np.array(ndimage.center_of_mass(image)) - 13.5).max() < 2.5


def test_svhn_has_legible_contrast_and_colour(folder: Path) -> None:
    images, _ = read_svhn(folder / "train_32x32.mat")
    contrast = images.std((1, 2, 3))
    assert np.quantile(contrast, 0.02) > 10
    assert 60 < images.mean() < 160  # light digits on dark ground, mostly
    assert (np.ptp(images.mean((2, 3)), axis=1) > 5).mean() > 0.5


def test_images_of_a_split_all_differ(folder: Path) -> None:
    images, _ = read_mnist(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    images, _ = read_svhn(folder / "train_32x32.mat")
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_no_original_is_used_for_both_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strokes, classes = handwriting.originals()
    # an undeformed "image" that names its original
    marked = np.zeros((len(strokes), 28, 28), np.uint8)
    marked[:, 0, 0], marked[:, 0, 1] = np.divmod(np.arange(len(strokes)), 256)
    monkeypatch.setattr(digits, "originals", lambda: (marked, classes))
    monkeypatch.setattr(digits, "handwritten", lambda strokes, rng: strokes)
    write_mnist(tmp_path, 20000, 10000, 2)
    used = []
    for split in ("train", "t10k"):
        names = (tmp_path / f"{split}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        images, labels = read_mnist(*names)
        originals = images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]
        np.testing.assert_array_equal(classes[originals], labels)
        used.append(set(originals))
    assert not used[0] & used[1]
    assert used[0] | used[1] == set(np.flatnonzero(handwriting.legible()))


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MmjsdError, match=r"train-images-idx3-ubyte\.gz: cannot be written"):
        write_mnist(tmp_path / "file", 10, 10, 0)


def test_originals_are_those_of_scikit_learn_which_is_not_imported() -> None:
    code = "import sys; from mmjsd.data.standin import digits; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    np.testing.assert_array_equal(handwriting.originals()[1], load_digits().target)
