import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mmjsd.data.official.mnist import read_idx, read_mnist
from mmjsd.errors import MmjsdError
from support.official import idx, refused

IMAGES = np.arange(3 * 784).reshape(3, 28, 28) % 256
LABELS = np.array([3, 0, 9])


@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_idx_round_trip(tmp_path: Path, name: str) -> None:
    for values in (IMAGES, LABELS):
        (tmp_path / name).write_bytes(gzip.compress(idx(values)) if name.endswith("gz") else idx(values))
        np.testing.assert_array_equal(read_idx(tmp_path / name), values)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (idx(IMAGES)[:6], "not an idx file"),
        (idx(LABELS, 2052), "not an idx file"),
        (idx(IMAGES)[:12], "not 28x28"),
        (idx(IMAGES[:, :27]), "27x28 pixels, not 28x28"),
        (idx(IMAGES)[:-1], "cut short, 2351 of 2352 bytes"),
        (idx(LABELS)[:-2], "cut short, 1 of 3 bytes"),
        (idx(IMAGES) + b"0", "more data than the 2352 bytes"),
        (idx(LABELS[:0]), "is empty"),
        (idx(np.array([1, 10])), "has label 10"),
    ],
)
def test_idx_refusals(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(content) if packed else content)
    assert message in refused(read_idx, path)


def test_idx_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(read_idx, tmp_path / "x.gz")


@pytest.mark.parametrize("cut", [1, 5, 30, -9, -1])
def test_idx_refuses_a_broken_gzip(tmp_path: Path, cut: int) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(IMAGES))[:cut])
    assert "no intact gzip file" in refused(read_idx, tmp_path / "x.gz")


def test_idx_refuses_a_changed_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx(IMAGES)))
    content[len(content) // 2] ^= 255
    (tmp_path / "x.gz").write_bytes(content)
    refused(read_idx, tmp_path / "x.gz")
    (tmp_path / "x.gz").write_bytes(b"not gzip")
    assert "no intact gzip file" in refused(read_idx, tmp_path / "x.gz")


@pytest.mark.parametrize("packed", [False, True])
def test_idx_does_not_allocate_what_a_false_header_declares(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("x.gz" if packed else "x")
    content = np.array([2051, 1 << 20, 28, 28], ">u4").tobytes() + bytes(1000)
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        assert "cut short" in refused(read_idx, path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_mnist_files_must_belong_together(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx(IMAGES))
    labels.write_bytes(idx(LABELS[:2]))
    with pytest.raises(MmjsdError, match=f"^{labels}: has 2 labels for the 3 images"):
        read_mnist(images, labels)
    assert "does not hold images" in refused(read_mnist, labels, labels)
    with pytest.raises(MmjsdError, match="does not hold labels"):
        read_mnist(images, images)


def test_idx_files_are_read_whatever_their_names_say(tmp_path: Path) -> None:
    """Browsers unpack what they download and leave it its name."""
    (tmp_path / "x.gz").write_bytes(idx(LABELS))
    (tmp_path / "y").write_bytes(gzip.compress(idx(IMAGES)))
    np.testing.assert_array_equal(read_idx(tmp_path / "x.gz"), LABELS)
    np.testing.assert_array_equal(read_idx(tmp_path / "y"), IMAGES)
