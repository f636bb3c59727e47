import subprocess
import sys
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
    monkeypatch.setattr(decoding, "_cores", lambda: workers)
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


def test_workers_follow_a_parent_that_is_killed(tmp_path: Path) -> None:
    """What is killed for memory, or by a workflow manager, leaves no processes behind."""
    image = tmp_path / "x.jpg"
    image.write_bytes(jpeg(Image.new("RGB", (178, 218))))
    script = (
        "from pathlib import Path\n"
        "from mmjsd.data import decoding\n"
        "from mmjsd.data.official.celeba_images import SHAPE, read_face\n"
        "if __name__ == '__main__':\n"
        "    decoding._WORTH_A_WORKER, decoding._cores = 1, lambda: 2\n"
        f"    content = Path({str(image)!r}).read_bytes()\n"
        "    images = decoding.Images(Path('x'), set(), str, lambda name: content, str)\n"
        "    decoded = decoding.decode(images, [['x.jpg'] * 4] * 9, read_face, SHAPE, skip=False)\n"
        "    next(decoded)\n"
        "    print('started', flush=True)\n"
        "    __import__('time').sleep(60)\n"
    )
    # the pipe ends when nobody holds it any more: neither the parent nor its workers
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
        process.communicate(timeout=20)
