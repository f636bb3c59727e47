import shutil
from pathlib import Path

import numpy as np
import pytest

from mmjsd.data.official.celeba_lists import read_attributes, read_partition
from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.errors import MmjsdError

LISTS = ("list_attr_celeba.txt", "list_eval_partition.txt")


def attributes_list(rows: list[str], header: str = " ".join(ATTRIBUTES), count: int | None = None) -> str:
    return "\n".join([str(len(rows) if count is None else count), header, *rows]) + "\n"


ROW = " -1" * 39 + "  1"


def test_attributes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(attributes_list([f"000002.jpg{ROW}", f"000001.jpg {' 1' * 40}", ""], count=2))
    names, classes, labels = read_attributes(path)
    assert names == ["000002.jpg", "000001.jpg"]
    assert classes == list(ATTRIBUTES)
    assert labels.dtype == np.uint8
    assert labels.sum(1).tolist() == [1, 40]
    assert labels[0, 39] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1 does not start with the count of its rows"),
        ("a.jpg 0\n", "line 1 does not start with the count of its rows"),
        ("-1\n", "line 1 does not start with the count of its rows"),
        ("1\n", "line 1 has 0 names of attributes, not 40"),
        (attributes_list([], " ".join(ATTRIBUTES[:39])), "line 2 has 39 names of attributes, not 40"),
        (attributes_list([], " ".join([*ATTRIBUTES, "Tall"])), "line 2 has 41 names of attributes, not 40"),
        (attributes_list([], " ".join(["Young", *ATTRIBUTES[1:]])), "line 2 has the attribute 'Young' twice"),
        (attributes_list([], " ".join(["Schön", *ATTRIBUTES[1:]])), "'Schön' twice or in unknown characters"),
        (attributes_list([], " ".join(["A/B", *ATTRIBUTES[1:]])), "'A/B' twice or in unknown characters"),
        (attributes_list([]), "has no rows"),
        (attributes_list([f"1.jpg{ROW}"], count=2), "declares 2 rows and has 1"),
        (attributes_list([f"1.jpg{ROW}"] * 2), "line 4 repeats 1.jpg"),
        (attributes_list([f"1.jpg{ROW} 1"]), "line 3 has 41 values, not 40"),
        (attributes_list([f"1.jpg{ROW[3:]}"]), "line 3 has 39 values, not 40"),
        (attributes_list([f"1.jpg{' 0' * 40}"]), "line 3 has the value '0', neither -1 nor 1"),
        (attributes_list([f"../1.jpg{ROW}"]), "line 3 has '../1.jpg' where the name of an image is expected"),
        (attributes_list([f".1.jpg{ROW}"]), "line 3 has '.1.jpg'"),
        (attributes_list([f"1.png{ROW}"]), "line 3 has '1.png'"),
    ],
)
def test_faulty_lists_of_attributes(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(content)
    with pytest.raises(MmjsdError) as caught:
        read_attributes(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("1.jpg 0\n2.jpg 3\n", "line 2 is not the name of an image and 0, 1 or 2"),
        ("1.jpg -1\n", "line 1 is not"),
        ("1.jpg\n", "line 1 is not"),
        ("1.jpg 0 1\n", "line 1 is not"),
        ("1.jpg 0\n1.jpg 1\n", "line 2 repeats 1.jpg"),
        ("/1.jpg 0\n", "line 1 has '/1.jpg'"),
    ],
)
def test_faulty_partitions(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "list_eval_partition.txt"
    path.write_text(content)
    with pytest.raises(MmjsdError) as caught:
        read_partition(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def written_as(path: Path, separator: str, header: bool, end: str, mark: str) -> None:
    """A list of the official kind in another form."""
    lines = [line.split() for line in path.read_text().splitlines()]
    if path.name == LISTS[0]:
        lines = lines[1:]
        lines[0] = ["image_id", *lines[0]]
    elif header:
        lines = [["image_id", "partition"], *lines]
    text = mark + end.join(separator.join(fields) for fields in lines) + end * 2
    path.with_suffix(".csv").write_bytes(text.encode())
    path.unlink()


@pytest.mark.parametrize("separator", [",", ";", "\t", ", ", '","'])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize(("end", "mark"), [("\n", ""), ("\r\n", "\ufeff"), (" \t\r\n", "")])
def test_tables_of_all_tools_are_read(
    official: Path, sources: Path, separator: str, header: bool, end: str, mark: str
) -> None:
    for name in LISTS:
        written_as(sources / name, separator, header, end, mark)
        if separator == '","':
            path = (sources / name).with_suffix(".csv")
            lines = path.read_text("utf-8-sig").split()
            path.write_text(mark + end.join(f'"{line}"' for line in lines) + end, newline="")
    attributes, partition = (sources / name for name in ("list_attr_celeba.csv", "list_eval_partition.csv"))
    assert read_partition(partition) == read_partition(official / LISTS[1])
    for found, expected in zip(
        read_attributes(attributes), read_attributes(official / LISTS[0]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("end", "mark"), [("\n", "\ufeff"), ("\r\n", "\ufeff"), (" \t\r\n", ""), ("\r", "")])
def test_official_lists_may_come_from_windows(official: Path, sources: Path, end: str, mark: str) -> None:
    for name in LISTS:
        text = (sources / name).read_text()
        (sources / name).write_bytes((mark + text.replace("\n", end).replace(" -1", "\t-1")).encode())
    assert read_partition(sources / LISTS[1]) == read_partition(official / LISTS[1])
    for found, expected in zip(*(read_attributes(f / LISTS[0]) for f in (sources, official)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_it_is_what_a_list_holds_that_says_what_it_is(official: Path, sources: Path) -> None:
    """Tables called .txt, and official lists called .csv."""
    for name in LISTS:
        written_as(sources / name, ",", True, "\n", "")
        (sources / name).with_suffix(".csv").rename(sources / name)
        shutil.copy(official / name, (sources / name).with_suffix(".csv"))
    for ending in (".txt", ".csv"):
        paths = [(sources / name).with_suffix(ending) for name in LISTS]
        assert read_partition(paths[1]) == read_partition(official / LISTS[1])
        np.testing.assert_array_equal(read_attributes(paths[0])[2], read_attributes(official / LISTS[0])[2])


def test_names_in_capitals_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "list_eval_partition.txt"
    path.write_text("000001.JPG 0\n000002.jpeg 1\n")
    assert read_partition(path) == {"000001.jpg": 0, "000002.jpg": 1}
    path.write_text("000001.JPG 0\n000001.jpg 1\n")
    with pytest.raises(MmjsdError, match=r"line 2 repeats 000001\.jpg"):
        read_partition(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list_attr_celeba.csv", "000001.jpg," + ",".join(["1"] * 40) + "\n"),
        ("list_attr_celeba.txt", "1\n000001.jpg " + " ".join(["1"] * 40) + "\n"),
    ],
)
def test_attributes_without_their_names_are_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(
        MmjsdError, match=r"line [12] is of an image, where the names of the 40 attributes belong"
    ):
        read_attributes(tmp_path / name)


@pytest.mark.parametrize("line", [".1.jpg,0", "1.jpg", "image_id,partition,more", "image_id,0", ","])
def test_a_damaged_first_line_is_no_header(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list_eval_partition.csv"
    path.write_text(f"{line}\n1.jpg,0\n")
    if line == ",":
        assert read_partition(path) == {"1.jpg": 0}
        return
    with pytest.raises(MmjsdError, match="line 1 "):
        read_partition(path)


def test_a_list_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(
        MmjsdError, match=r"x\.txt: cannot be read \(Permission denied\); check its permissions"
    ):
        read_partition("x.txt")


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    for name, read in zip(LISTS, (read_attributes, read_partition), strict=True):
        with pytest.raises(MmjsdError, match="no such file"):
            read(tmp_path / name)
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
        with pytest.raises(MmjsdError, match="it is no UTF-8 text"):
            read(tmp_path / name)
