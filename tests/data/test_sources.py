from pathlib import Path

import pytest

from mmjsd.data.sources import files_of

KINDS = {"standin": "standin", "download": "download", "/data/mine": "folder", "stand-in": "folder"}


@pytest.mark.parametrize(("source", "expected"), KINDS.items())
def test_a_source_is_generated_downloaded_or_found(source: str, expected: str) -> None:
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
