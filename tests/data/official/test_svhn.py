import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from mmjsd.data.official.svhn import read_svhn
from support.official import mat, refused

X = (np.arange(32 * 32 * 3 * 2) % 251).astype(np.uint8).reshape(32, 32, 3, 2)


def test_svhn_axes_and_label_ten(tmp_path: Path) -> None:
    images, labels = read_svhn(mat(tmp_path / "x.mat", X=X, y=np.array([[10], [1]], np.uint8)))
    assert labels.tolist() == [0, 1]
    assert labels.dtype == np.int64
    assert images.shape == (2, 3, 32, 32)
    assert images[1, 2, 5, 7] == X[5, 7, 2, 1]


Y = np.array([[10], [1]], np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": Y}, "has no X"),
        ({"X": X}, "has no y"),
        ({"X": X[..., 0], "y": Y}, "X is uint8 (32, 32, 3)"),
        ({"X": X[:31], "y": Y}, "X is uint8 (31, 32, 3, 2)"),
        ({"X": X.astype(float), "y": Y}, "X is float64"),
        ({"X": X, "y": Y[:1]}, "y is uint8 (1, 1)"),
        ({"X": X, "y": "ab"}, "y is <U2"),
        ({"X": X, "y": Y * 0}, "labels outside 1..10"),
        ({"X": X, "y": Y + 1}, "labels outside 1..10"),
        ({"X": X, "y": Y + 0.5}, "labels outside 1..10"),
        ({"X": X, "y": Y * np.nan}, "labels outside 1..10"),
    ],
)
def test_svhn_refusals(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    assert message in refused(read_svhn, mat(tmp_path / "x.mat", **content))


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [False, True])
def test_svhn_cut_short(tmp_path: Path, share: float, compressed: bool) -> None:
    path = tmp_path / "x.mat"
    images = np.random.default_rng(0).integers(256, size=(32, 32, 3, 20), dtype=np.uint8)
    scipy.io.savemat(path, {"X": images, "y": np.ones((20, 1), np.uint8)}, do_compression=compressed)
    os.truncate(path, int(path.stat().st_size * share))
    message = refused(read_svhn, path)
    assert "no intact MATLAB 5 file" in message or "cut short" in message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(13, "Permission denied"),
            "cannot be read (Permission denied); check disk and permissions",
        ),
        (OSError(5, "Input/output error"), "cannot be read (Input/output error)"),
        (OSError("could not read bytes"), "is no intact MATLAB 5 file"),
        (NotImplementedError("Please use HDF reader"), "is a MATLAB 7.3 file, not one of MATLAB 5"),
    ],
)
def test_svhn_tells_damage_from_other_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    path = mat(tmp_path / "x.mat", X=X, y=Y)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(scipy.io, "loadmat", fail)
    assert message in refused(read_svhn, path)


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mat(tmp_path / "x.mat", X=X, y=Y)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scipy.io, "loadmat", fail)
    with pytest.raises(MemoryError):
        read_svhn(path)


def test_svhn_refuses_other_files(tmp_path: Path) -> None:
    assert "no such file" in refused(read_svhn, tmp_path / "x.mat")
    (tmp_path / "x.mat").write_bytes(b"<html>not found</html>" * 99)
    assert "no intact MATLAB 5 file" in refused(read_svhn, tmp_path / "x.mat")
