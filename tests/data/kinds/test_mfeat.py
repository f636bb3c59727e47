"""The multiple features: those of the package, which are real, and files like the official ones."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmjsd.data.kinds import mfeat
from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError
from mmjsd.provenance.files import sha256_file


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Files as the repository of UCI has them: no header, no labels, columns apart by blanks."""
    folder = tmp_path / "official"
    (folder / "mfeat").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for view, size in mfeat.SIZES.items():
        values = rng.normal(np.repeat(np.arange(10), 200)[:, None], 1, (2000, size))
        values[:, 0] = 3.0  # as a pixel that nobody writes on
        np.savetxt(folder / "mfeat" / f"mfeat-{view}", values, "%7.2f")
    return folder


def build(path: Path, source: str | Path = "download", **options: object) -> Path:
    mfeat.build(path, source=str(source), source_folder=path.parent, **{"seed": 1, **options})
    return path


def test_the_real_ones(tmp_path: Path) -> None:
    store = read_store(build(tmp_path / "mfeat.h5"))
    assert {name: t.shape for name, t in store.splits["train"].modalities.items()} == {
        name: (size,) for name, size in mfeat.SIZES.items()
    }
    train, test = store.splits["train"], store.splits["test"]
    assert np.bincount(train.labels).tolist() == [160] * 10
    assert np.bincount(test.labels).tolist() == [40] * 10
    for name, table in train.modalities.items():
        np.testing.assert_allclose(table.data.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(table.data.std(0), 1, atol=1e-3)
        assert (table.mean == test.modalities[name].mean).all()
    # which numeral it is, each view tells
    for name, table in train.modalities.items():
        of_view = LogisticRegression(max_iter=200).fit(table.data, train.labels)
        assert of_view.score(test.modalities[name].data, test.labels) > 0.6, name


def test_any_number_of_views(tmp_path: Path) -> None:
    """Of all values each is in one of them, and each tells the numeral."""
    six = read_store(build(tmp_path / "six.h5")).splits["test"].modalities.values()
    whole = dict(zip([c for t in six for c in t.columns], np.hstack([t.data for t in six]).T, strict=True))
    store = read_store(build(tmp_path / "many.h5", views=20))
    assert list(store.modalities) == list(mfeat.of({"views": 20}).MODALITIES)
    train, test = store.splits["train"], store.splits["test"]
    assert sorted(c for t in test.modalities.values() for c in t.columns) == sorted(whole)
    for name, table in test.modalities.items():
        assert table.shape[0] in (32, 33)
        np.testing.assert_array_equal(table.data, np.stack([whole[c] for c in table.columns], 1))
        of_view = LogisticRegression(max_iter=200).fit(train.modalities[name].data, train.labels)
        assert of_view.score(table.data, test.labels) > 0.85, name


def test_the_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    one, again, other = (build(tmp_path / f"{n}.h5", seed=seed) for n, seed in enumerate((1, 1, 2)))
    assert sha256_file(one) == sha256_file(again) != sha256_file(other)
    few = read_store(build(tmp_path / "few.h5", test_share=0.05))
    assert np.bincount(few.splits["test"].labels).tolist() == [10] * 10


def test_official_files(tmp_path: Path, official: Path) -> None:
    store = read_store(build(tmp_path / "mfeat.h5", official))
    assert store.sources == {
        f"mfeat-{view}": sha256_file(official / "mfeat" / f"mfeat-{view}") for view in mfeat.SIZES
    }
    assert store.params == {"source": "folder", "test_share": 0.2}
    table = store.splits["train"].modalities["mor"]
    assert (table.data[:, 0] == 0).all()
    raw = np.loadtxt(official / "mfeat/mfeat-mor")
    back = table.data * table.deviation + table.mean
    assert np.abs(back[:, None] - raw).max(-1).min(1).max() < 1e-3  # each is one of the file


def cut(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (Path.unlink, r"no mfeat-mor or mfeat-mor.csv; put the official files there"),
        (cut, r"mfeat-mor: must have 2000 rows by class of 6 finite numbers, and has 1999 of 6; replace it"),
        (lambda path: path.write_text("a b\n"), r"mfeat-mor: cannot be read \(could not convert"),
        (lambda path: path.write_text(path.read_text().replace("3.00", " nan", 1)), r"of 6 finite numbers"),
        (lambda path: path.write_text("1 2\n3\n"), r"mfeat-mor: cannot be read \("),
    ],
)
def test_files_that_are_not_whole(tmp_path: Path, official: Path, damage, line: str) -> None:
    damage(official / "mfeat/mfeat-mor")
    with pytest.raises(MmjsdError, match=line) as told:
        build(tmp_path / "mfeat.h5", official)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "mfeat.h5").exists()


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mfeat, "distribution", gone)
    with pytest.raises(MmjsdError, match=r"is not installed; `uv sync --extra mfeat`, or name a folder"):
        build(tmp_path / "mfeat.h5")
