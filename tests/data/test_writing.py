import os
from pathlib import Path

import pytest

from mmjsd.data.writing import explaining, replacement, replacing
from mmjsd.errors import MmjsdError


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with replacing(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["x"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("x"), KeyboardInterrupt()]
)
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail() -> None:
        with replacement(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "write failed at offset 96", "/tmp/.x.tmp"), "No space left on device"),
        (RuntimeError("Unable to flush\nminor: Write failed\nmajor: Virtual File Layer"), "Unable to flush"),
    ],
)
def test_the_file_meant_is_named_in_one_line(error: Exception, reason: str) -> None:
    with pytest.raises(MmjsdError) as caught, explaining(Path("data/x.h5")):
        raise error
    assert (
        str(caught.value) == f"data/x.h5: cannot be written ({reason}); check folder, permissions and space"
    )
