from pathlib import Path

import pytest

from mmjsd.params.sources import effective, origin, place_of

KINDS = {"standin": "standin", "download": "download", "/data/mine": "folder", "stand-in": "folder"}


@pytest.mark.parametrize(("source", "expected"), KINDS.items())
def test_a_source_is_generated_downloaded_or_a_folder(source: str, expected: str) -> None:
    assert origin(source) == expected


def test_files_lie_where_other_datasets_do_not_disturb_them() -> None:
    assert place_of("standin", "tiny") == Path("sources/standin/tiny")
    assert place_of("download", "tiny") == Path("sources/official")
    assert place_of("/data/mine", "tiny") == Path("/data/mine")


def test_options_of_the_stand_in_are_without_effect_elsewhere() -> None:
    options = {"standin_train": 10, "max_per_class": 5}
    assert effective("standin", options) == options
    assert effective("download", options) == effective("/data/mine", options) == {"max_per_class": 5}
