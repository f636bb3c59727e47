import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmjsd.data import workers
from mmjsd.data.official.celeba_lists import read_attributes, read_partition
from mmjsd.data.standin import faces
from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.data.standin.faces import write_faces
from mmjsd.errors import MmjsdError
from support.project import wait_for

#: The names in the order of the official list.
OFFICIAL = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup "
    "High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose "
    "Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat "
    "Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_faces(tmp_path / name, train=12, val=3, test=2, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert len(first) == 17 + 2
    shared = {name for name in first if other[name] == first[name]}
    assert shared == {"list_eval_partition.txt"}


def test_bytes_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "_BLOCK", 3)
    write_faces(tmp_path / "a", train=8, val=1, test=1, seed=3)
    monkeypatch.setattr(faces, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    write_faces(tmp_path / "b", train=8, val=1, test=1, seed=3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_ctrl_c_while_two_processes_draw_ends_both_and_leaves_no_lists(tmp_path: Path) -> None:
    script = (
        "from mmjsd.data import workers\n"
        "from mmjsd.data.standin.faces import write_faces\n"
        "if __name__ == '__main__':\n"
        "    workers.cores = lambda: 2\n"
        f"    write_faces({str(tmp_path)!r}, train=100_000, val=1, test=1, seed=0)\n"
    )
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell has its jobs in the background ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for(tmp_path / "img_align_celeba/000001.jpg")
        os.killpg(process.pid, signal.SIGINT)
        # the pipe ends when nobody holds it any more: neither the parent nor its workers
        told = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert told.endswith("KeyboardInterrupt\n")
    assert told.count("Traceback") == 1
    assert not list(tmp_path.glob("*.txt"))


def test_files_are_the_official_layout(tmp_path: Path) -> None:
    files = write_faces(tmp_path, train=5, val=2, test=1, seed=0)
    lines = files["list_attr_celeba.txt"].read_text().split("\n")
    assert lines[0] == "8"
    assert lines[1] == OFFICIAL + " "
    assert all(re.fullmatch(r"00000\d\.jpg( 1| -1|  1){40}", line) for line in lines[2:-1])
    assert files["list_eval_partition.txt"].read_text().startswith("000001.jpg 0\n000002.jpg 0\n")
    assert list(read_partition(files["list_eval_partition.txt"]).values()) == [0] * 5 + [1] * 2 + [2]
    names, attributes, _ = read_attributes(files["list_attr_celeba.txt"])
    assert attributes == list(ATTRIBUTES)
    assert names == sorted(path.name for path in files["img_align_celeba/"].iterdir())
    with Image.open(files["img_align_celeba/"] / "000001.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (178, 218), "RGB")


def test_a_smaller_set_replaces_a_larger(tmp_path: Path) -> None:
    write_faces(tmp_path, train=9, val=2, test=2, seed=0)
    (tmp_path / "img_align_celeba" / "mine.txt").touch()
    write_faces(tmp_path, train=4, val=1, test=1, seed=0)
    names = {path.name for path in (tmp_path / "img_align_celeba").iterdir()}
    assert names == {f"{number:06d}.jpg" for number in range(1, 7)} | {"mine.txt"}


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MmjsdError, match=r"img_align_celeba: cannot be written \(Not a directory\)"):
        write_faces(tmp_path / "file", train=1, val=1, test=1, seed=0)


def test_faces_all_differ(tmp_path: Path) -> None:
    write_faces(tmp_path, train=30, val=5, test=5, seed=0)
    assert len({path.read_bytes() for path in tmp_path.rglob("*.jpg")}) == 40
