from pathlib import Path

import pytest
from PIL import Image

from mmjsd.data import decoding
from mmjsd.data.decoding import Images, decode
from mmjsd.data.official.celeba_images import SHAPE, read_face
from support.faces import jpeg


@pytest.mark.parametrize("workers", [1, 2])
def test_few_images_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Blocks are read as they are decoded, however slowly that goes on."""
    monkeypatch.setattr(decoding, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr("mmjsd.data.workers.cores", lambda: workers)
    read: list[str] = []
    content = jpeg(Image.new("RGB", (178, 218)))

    def read_one(name: str) -> bytes:
        read.append(name)
        return content

    blocks = [[f"{block}-{number}.jpg" for number in range(4)] for block in range(100)]
    images = Images(Path("x"), {name for names in blocks for name in names}, str, read_one, str)
    decoded = decode(images, blocks, read_face, SHAPE, skip=False)
    for block in range(1, 4):
        assert next(decoded).shape == (4, *SHAPE)
        assert len(read) <= 4 * (block + 3 * workers)
    decoded.close()
