"""PolyMNIST: made of MNIST's files as MoPoE's release makes it, and read from folders like its own."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmjsd.data.kinds.polymnist import build, digest_images
from mmjsd.data.official.mnist import read_mnist
from mmjsd.data.standin.digits import write_mnist
from mmjsd.data.standin.textures import textures
from mmjsd.data.store import Store, read_store
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import sha256_file

HEIGHT, WIDTH = 60, 45


def built(path: Path, source: str | Path, **options: Any) -> Store:
    build(path, source=str(source), source_folder=path.parent, **{"seed": 1, **options})
    return read_store(path)


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of MNIST, and backgrounds of which each pixel says where it is and in which picture."""
    folder = tmp_path_factory.mktemp("official")
    write_mnist(folder / "mnist", 60, 40, 0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number, name in enumerate(("a.png", "b.png", "c.PNG", "d.bmp", "e.png")):
        save(np.stack([y, x, np.full_like(y, 20 * number)], 2), folder / "backgrounds" / name)
    (folder / "backgrounds/.DS_Store").write_text("of macOS")
    return folder


@pytest.fixture(scope="module")
def made(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return built(tmp_path_factory.mktemp("made") / "made.h5", official)


@pytest.fixture(scope="module")
def released(made: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as in the released archive: a file is named by its number within its label, and its label."""
    folder = tmp_path_factory.mktemp("released")
    for split, content in made.splits.items():
        for modality, table in content.modalities.items():
            for row, image in enumerate(table.data):
                label = content.labels[row]
                number = row - int(np.argmax(content.labels == label))
                name = f"MMNIST/{split}/{modality}/{number}.{label}.png"
                save(image.transpose(1, 2, 0), folder / name)
    return folder


def test_each_digit_stands_inverted_in_a_crop_of_the_background_of_its_modality(
    made: Store, official: Path
) -> None:
    assert list(made.splits) == ["train", "test"]
    places = set()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        files = (official / f"mnist/{prefix}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
        digits, labels = read_mnist(*files)
        rows = np.argsort(labels, kind="stable")
        content = made.splits[split]
        np.testing.assert_array_equal(content.labels, labels[rows])
        np.testing.assert_array_equal(content.pairs, np.arange(len(labels))[:, None].repeat(5, 1))
        orders = set()
        for number, (name, table) in enumerate(content.modalities.items()):
            assert name == f"m{number}"
            ink = table.data[:, 2] > 127
            plain = np.where(ink[:, None], 255 - table.data, table.data).astype(int)
            assert (plain[:, 2] == 20 * number).all()
            for channel, axis in ((0, 1), (1, 2)):
                first = plain[:, channel].min((1, 2), keepdims=True)
                ahead = np.expand_dims(np.arange(28), (0, 3 - axis))
                np.testing.assert_array_equal(plain[:, channel], np.broadcast_to(first + ahead, ink.shape))
                places |= {(channel, int(place)) for place in first.ravel()}
            # each digit once, with its own label
            of_file = {(digit[0] > 128).tobytes(): row for row, digit in enumerate(digits)}
            order = [of_file[one.tobytes()] for one in ink]
            assert sorted(order) == sorted(of_file.values())
            np.testing.assert_array_equal(labels[order], content.labels)
            orders.add(tuple(order))
        assert len(orders) == 5
    assert places == {(0, top) for top in range(HEIGHT - 27)} | {(1, left) for left in range(WIDTH - 27)}


def test_the_released_folders_give_the_same_samples(made: Store, released: Path, tmp_path: Path) -> None:
    again = built(tmp_path / "again.h5", released)
    assert (made.params["backgrounds"], again.params["backgrounds"]) == ("pictures", "released")
    for split, content in made.splits.items():
        np.testing.assert_array_equal(again.splits[split].labels, content.labels)
        for name, table in content.modalities.items():
            np.testing.assert_array_equal(again.splits[split].modalities[name].data, table.data)
    folder = released / "MMNIST/test/m3"
    sums = (f"{sha256_file(file)}  {file.name}\n" for file in sorted(folder.iterdir()))
    digest = hashlib.sha256("".join(sums).encode()).hexdigest()
    assert again.sources["test/m3/"] == digest == digest_images(folder)


def test_some_of_each_class(made: Store, official: Path, released: Path, tmp_path: Path) -> None:
    """And what is not used counts as what the store was built from."""
    few = [built(tmp_path / "few.h5", source, max_per_class=3) for source in (official, released)]
    for store in few:
        assert np.bincount(store.splits["train"].labels).tolist() == [3] * 10
    rows = np.flatnonzero(np.arange(60) % 6 < 3)
    for name, table in few[1].splits["train"].modalities.items():
        np.testing.assert_array_equal(table.data, made.splits["train"].modalities[name].data[rows])
    assert few[1].sources["train/m0/"] == digest_images(released / "MMNIST/train/m0")


def test_what_is_not_used_must_be_readable_as_well(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(released, tmp_path / "released"))
    with open(folder / "MMNIST/train/m2/5.9.png", "ab") as file:
        file.write(bytes(8000))
    monkeypatch.setattr("mmjsd.data.official.polymnist._LARGEST", 8000)
    refused(tmp_path / "x.h5", folder, r"5\.9\.png: cannot be read \(too large\)", max_per_class=5)
    with pytest.raises(MmjsdError, match=r"m7: cannot be read \(No such file or directory\)"):
        digest_images(folder / "MMNIST/train/m7")


def test_the_same_seed_gives_the_same_bytes(
    official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = Path(shutil.copytree(official / "mnist", tmp_path / "drawn"))
    one, again, other = (tmp_path / f"{number}.h5" for number in range(3))
    for path, seed in ((one, 1), (again, 1), (other, 2)):
        assert built(path, drawn, seed=seed).params["backgrounds"] == "drawn"
    assert capsys.readouterr().out == f"{drawn}: has no folder backgrounds: they are drawn\n" * 3
    assert sha256_file(one) == sha256_file(again) != sha256_file(other)


def test_on_each_drawn_background_a_digit_stands_out() -> None:
    drawn = [texture.astype(int) for texture in textures(3)]
    for texture in drawn:
        assert texture.shape == (3, 256, 256)
        dark = texture < 128
        assert (dark.all((1, 2)) | ~dark.any((1, 2))).all()
        assert np.abs(255 - 2 * texture).mean() > 100
        assert texture.std((1, 2)).max() > 15
    colours = np.array([texture.mean((1, 2)) for texture in drawn])
    apart = np.linalg.norm(colours[:, None] - colours, axis=2)
    assert apart[np.triu_indices(5, 1)].min() > 50


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def relabel(folder: Path) -> None:
    for path in folder.glob("train/m?/3.5.png"):
        path.unlink()
    (folder / "train/m1/3.7.png").rename(folder / "train/m1/3.5.png")


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda f: (f / "train/m2/3.7.png").unlink(), r"m2: has no 3\.7\.png, which .*m0 has \(1 missing\);"),
        (
            relabel,
            r"m0: has no 3\.5\.png, which .*m1 has, but 3\.7\.png, of another label \(1 missing\)",
        ),
        (rename("test/m4/1.2.png", "test/m4/one.png"), r"m4/one\.png: is not called <number>\.<label>\.png"),
        (lambda f: shutil.rmtree(f / "test/m4"), r"no test/m4/; put the official files there"),
        (rename("test", "valid"), r"no test/m0/, no test/m1/, no test/m2/, no test/m3/, no test/m4/; put"),
        (lambda f: (f / "train/m5").mkdir(), r"train/m5: PolyMNIST has five modalities, m0 to m4; take"),
        (
            lambda f: [path.unlink() for path in (f / "test/m0").iterdir()],
            r"test/m0: has no pictures <number>\.<label>\.png",
        ),
        (
            lambda f: [path.unlink() for path in f.glob("test/m?/*.4.png")],
            r"test/m0: has no 4 for the test split; replace",
        ),
        (
            lambda f: save(np.zeros((28, 29, 3)), f / "train/m3/0.1.png"),
            r"0\.1\.png: has 29x28 pixels, not 28x28",
        ),
        (lambda f: (f / "train/m3/0.1.png").write_bytes(b"no"), r"0\.1\.png: is no image of a known format"),
    ],
)
def test_folders_that_are_not_whole(tmp_path: Path, released: Path, damage: Any, line: str) -> None:
    folder = Path(shutil.copytree(released / "MMNIST", tmp_path / "released"))
    damage(folder)
    refused(tmp_path / "x.h5", folder, line)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda f: (f / "d.bmp").unlink(), r"backgrounds: has 4 files, and not 5 pictures, one a modality"),
        (lambda f: save(np.zeros((9, 9)), f / "f.png"), r"backgrounds: has 6 files, and not 5 pictures"),
        (lambda f: save(np.zeros((27, 90)), f / "a.png"), r"a\.png: has 90x27 pixels, fewer than the 28x28"),
        (lambda f: (f / "a.png").write_bytes(b"no"), r"a\.png: cannot be read \(damaged, or no picture\)"),
        (
            lambda f: save(np.zeros((40, 40, 4)), f / "a.png"),
            r"a\.png: is transparent in 100\.0% of its pixels",
        ),
    ],
)
def test_backgrounds_that_will_not_do(tmp_path: Path, official: Path, damage: Any, line: str) -> None:
    folder = Path(shutil.copytree(official, tmp_path / "official"))
    damage(folder / "backgrounds")
    refused(tmp_path / "x.h5", folder, line)


def test_a_folder_of_neither(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    line = r"no train-images-idx3-ubyte or .*, or the released folders train/m0 to test/m4$"
    refused(tmp_path / "x.h5", tmp_path / "source", line)


def refused(path: Path, source: Path, line: str, **options: Any) -> None:
    with pytest.raises(MmjsdError, match=line) as told:
        built(path, source, **options)
    assert "\n" not in str(told.value)
    assert not path.exists()
