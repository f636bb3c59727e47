from pathlib import Path

import pytest

from mmjsd.data.sources import effective, files_of, origin, place_of

KINDS = {"standin": "standin", "download": "download", "/data/mine": "folder", "stand-in": "folder"}


@pytest.mark.parametrize(("source", "expected"), KINDS.items())
def test_a_source_is_generated_downloaded_or_found(source: str, expected: str) -> None:
    assert origin(source) == expected
    asked: list[tuple[str, Path]] = []

    def how(name: str):
        def files(folder: Path) -> dict[str, Path]:
            asked.append((name, folder))
            return {"file": folder / "file"}

        return files

    found = files_of(source, "put", standin=how("standin"), download=how("download"), find=how("folder"))
    folder = Path(source if expected == "folder" else "put")
    assert asked == [(expected, folder)]
    assert found == {"file": folder / "file"}


def test_files_lie_where_other_datasets_do_not_disturb_them() -> None:
    assert place_of("standin", "tiny") == Path("sources/standin/tiny")
    assert place_of("download", "tiny") == Path("sources/official")
    assert place_of("/data/mine", "tiny") == Path("/data/mine")


def test_options_of_the_stand_in_are_without_effect_elsewhere() -> None:
    options = {"standin_train": 10, "max_per_class": 5}
    assert effective("standin", options) == options
    assert effective("download", options) == effective("/data/mine", options) == {"max_per_class": 5}
