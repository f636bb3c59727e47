import hashlib
import os
import resource
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmjsd.data import decoding, workers
from mmjsd.data.kinds import celeba
from mmjsd.data.kinds.celeba import build, digest_images, extent, find_sources
from mmjsd.data.official import celeba_images
from mmjsd.data.official.celeba_images import read_face
from mmjsd.data.official.celeba_lists import read_attributes, read_partition
from mmjsd.data.standin.attributes import ATTRIBUTES
from mmjsd.data.store import Store, read_store
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import decode
from mmjsd.provenance.files import sha256_file
from support.faces import jpeg

STANDIN = {"standin_train": 12, "standin_val": 4, "standin_test": 5}
LISTS = ("list_attr_celeba.txt", "list_eval_partition.txt")


def pack(folder: Path, prefix: str = "img_align_celeba/", compression: int = zipfile.ZIP_STORED) -> Path:
    """The images of a folder in a zip file in their place."""
    path = folder / "img_align_celeba.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for image in sorted((folder / "img_align_celeba").iterdir()):
            archive.write(image, prefix + image.name)
    shutil.rmtree(folder / "img_align_celeba")
    return path


def to_csv(folder: Path) -> None:
    """The lists in the variant with commas."""
    names, classes, labels = read_attributes(folder / LISTS[0])
    rows = [
        ",".join([name, *map(str, 2 * row.astype(int) - 1)]) for name, row in zip(names, labels, strict=True)
    ]
    (folder / "list_attr_celeba.csv").write_text("\n".join([",".join(["image_id", *classes]), *rows]) + "\n")
    rows = [f"{name},{part}" for name, part in read_partition(folder / LISTS[1]).items()]
    (folder / "list_eval_partition.csv").write_text("\r\n".join(["image_id,partition", *rows]) + "\r\n")
    for name in LISTS:
        (folder / name).unlink()


def built(path: Path, source: Path | str, **options: Any) -> Store:
    build(
        path, **({"source": str(source), "source_folder": path.parent / "src", "seed": 1} | STANDIN | options)
    )
    return read_store(path)


def refused(source: Path, **options: Any) -> str:
    """The line that a build from ``source`` ends with; nothing else may be left behind."""
    store = source / "x.h5"
    store.write_bytes(b"old")
    before = sorted(source.rglob("*"))
    with pytest.raises(MmjsdError) as caught:
        built(store, source, **options)
    assert store.read_bytes() == b"old"
    assert sorted(source.rglob("*")) == before
    message = str(caught.value)
    assert message.startswith(f"{source}/")
    assert "\n" not in message
    assert ";" in message  # what to do comes last
    return message


def same_arrays(one: Store, other: Store) -> None:
    assert one.classes == other.classes
    for name, split in one.splits.items():
        np.testing.assert_array_equal(split.pairs, other.splits[name].pairs)
        np.testing.assert_array_equal(split.labels, other.splits[name].labels)
        for modality, table in split.modalities.items():
            np.testing.assert_array_equal(table.data, other.splits[name].modalities[modality].data)


# --- lists ---


@pytest.mark.parametrize("index", [0, 1])
def test_lists_must_name_the_same_images(sources: Path, index: int) -> None:
    lines = (sources / LISTS[index]).read_text().splitlines()
    kept = lines[:-2]
    if index == 0:
        kept[0] = "19"
    (sources / LISTS[index]).write_text("\n".join(kept) + "\n")
    message = refused(sources)
    assert message.startswith(f"{sources / LISTS[index]}: has no row for 000020.jpg and 1 others of ")
    assert LISTS[1 - index] in message


def test_every_split_needs_an_image(sources: Path) -> None:
    text = (sources / LISTS[1]).read_text()
    (sources / LISTS[1]).write_text(text.replace("jpg 1", "jpg 0"))
    assert "list_eval_partition.txt: has no image of the split val (1)" in refused(sources)


# --- images ---


def damaged(kind: str, content: bytes) -> bytes:
    match kind:
        case "empty":
            return b""
        case "cut":
            return content[: len(content) // 2]
        case "cut by little":
            return content[:-40]
        case "text":
            return b"<html>quota exceeded</html>" * 50
        case "png":
            other = BytesIO()
            Image.new("RGB", (178, 218)).save(other, "PNG")
            return other.getvalue()
        case _:
            return content[:2] + bytes(600) + content[602:]


DAMAGES = ("empty", "cut", "cut by little", "text", "png", "zeros")


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_images_are_named(sources: Path, kind: str, packed: bool) -> None:
    path = sources / "img_align_celeba" / "000014.jpg"
    path.write_bytes(damaged(kind, path.read_bytes()))
    where = f"{pack(sources)}: 000014.jpg" if packed else f"{path}:"
    message = refused(sources)
    assert message.startswith(f"{where} is no intact JPEG file; ")
    assert "skip_unreadable" in message


def test_the_first_of_several_faults_is_named(sources: Path) -> None:
    for number in (20, 3, 11):
        (sources / "img_align_celeba" / f"{number:06d}.jpg").write_bytes(b"")
    assert "000003.jpg" in refused(sources)


@pytest.mark.parametrize("packed", [False, True])
def test_unreadable_images_can_be_skipped(
    sources: Path, tmp_path: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = built(tmp_path / "whole.h5", sources)
    images = sources / "img_align_celeba"
    (images / "000002.jpg").write_bytes(b"no image")
    (images / "000013.jpg").unlink()
    (images / "000021.jpg").unlink()
    if packed:
        pack(sources)
    capsys.readouterr()
    store = built(tmp_path / "x.h5", sources, skip_unreadable=True)
    assert (
        "skipped 3 images: 000002.jpg is no intact JPEG file, 000013.jpg is missing, 000021.jpg is missing"
        in capsys.readouterr().out
    )
    assert store.params["skip_unreadable"] is True
    for name, rows in (("train", [0, *range(2, 12)]), ("val", [1, 2, 3]), ("test", [0, 1, 2, 3])):
        split, all_of_it = store.splits[name], whole.splits[name]
        assert split.pairs.tolist() == [[row, row] for row in range(len(rows))]
        for modality, table in split.modalities.items():
            np.testing.assert_array_equal(table.data, all_of_it.modalities[modality].data[rows])
            np.testing.assert_array_equal(table.labels, all_of_it.labels[rows])


def test_skipping_may_not_empty_a_split(sources: Path) -> None:
    for number in range(13, 17):
        (sources / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    message = refused(sources, skip_unreadable=True)
    assert message.startswith(
        f"{sources}/img_align_celeba: has none of the 4 images of the split val (000013.jpg is missing); "
    )


def test_only_the_first_images_extracted_is_told_of_the_images(sources: Path) -> None:
    """The lists are sound."""
    for number in range(6, 22):
        (sources / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    message = refused(sources, skip_unreadable=True)
    assert "has none of the 4 images of the split val (000013.jpg is missing)" in message
    assert "see that all images were extracted" in message
    assert "list_eval_partition" not in message


def test_a_split_whose_images_are_all_damaged_is_told(sources: Path) -> None:
    for number in range(13, 17):
        (sources / "img_align_celeba" / f"{number:06d}.jpg").write_bytes(b"")
    message = refused(sources, skip_unreadable=True)
    assert "none of the 4 images of the split val (000013.jpg is no intact JPEG file)" in message


@pytest.mark.parametrize("skip", [False, True])
def test_images_of_another_size_are_refused(sources: Path, skip: bool) -> None:
    path = sources / "img_align_celeba" / "000014.jpg"
    path.write_bytes(jpeg(Image.new("RGB", (178, 217))))
    assert refused(sources, skip_unreadable=skip).startswith(f"{path}: has 178x217 pixels, not 178x218; ")


@pytest.mark.parametrize(("size", "orientation"), [((218, 178), 1), ((178, 218), 6)])
def test_images_on_their_side_are_refused(sources: Path, size: tuple[int, int], orientation: int) -> None:
    path = sources / "img_align_celeba" / "000014.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(jpeg(Image.new("RGB", size), exif=exif))
    assert refused(sources).startswith(f"{path}: has 218x178 pixels, not 178x218; ")


def test_missing_and_extra_images_are_named(sources: Path) -> None:
    images = sources / "img_align_celeba"
    shutil.copy(images / "000001.jpg", images / "000099.jpg")
    message = refused(sources, skip_unreadable=True)
    assert message.startswith(f"{sources / LISTS[0]}: has no row for 000099.jpg of {images}; ")
    (images / "000099.jpg").unlink()
    for number in (7, 9, 12):
        (images / f"{number:06d}.jpg").unlink()
    message = refused(sources)
    assert message.startswith(f"{images}: has no 000007.jpg and 2 others, listed in {sources / LISTS[0]}; ")


def test_an_unreadable_file_is_named(sources: Path) -> None:
    path = sources / "img_align_celeba" / "000005.jpg"
    path.unlink()
    path.mkdir()
    assert refused(sources).startswith(f"{path}: cannot be read (Is a directory); ")


def test_a_file_too_large_for_a_face_is_not_read(sources: Path) -> None:
    path = sources / "img_align_celeba" / "000005.jpg"
    os.truncate(path, 1 << 34)
    assert refused(sources).startswith(f"{path}: cannot be read (too large); ")


# --- zip files ---


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_cut_zip_file_is_refused(sources: Path, share: float) -> None:
    path = pack(sources)
    os.truncate(path, int(path.stat().st_size * share))
    assert refused(sources).startswith(f"{path}: is no intact zip file; ")


def test_a_damaged_entry_is_named(sources: Path) -> None:
    path = pack(sources)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("img_align_celeba/000006.jpg")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 3000] ^= 255
    path.write_bytes(content)
    message = refused(sources)
    assert message.startswith(f"{path}: 000006.jpg cannot be read (Bad CRC-32")
    content[entry.header_offset] ^= 255
    path.write_bytes(content)
    assert "000006.jpg cannot be read (Bad magic number" in refused(sources)


def test_entries_that_lead_elsewhere_are_ignored(sources: Path, tmp_path: Path) -> None:
    path = pack(sources)
    with zipfile.ZipFile(path, "a") as archive:
        for name in (
            "../000001.jpg",
            "/000001.jpg",
            "a\\..\\000001.jpg",
            "__MACOSX/._000001.jpg",
            "x/readme",
        ):
            archive.writestr(name, b"not a face")
    built(tmp_path / "store" / "x.h5", sources)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sources", "store"]


def test_images_only_at_such_names_are_none(sources: Path) -> None:
    assert refused(pack(sources, "../").parent).startswith(
        f"{sources}/img_align_celeba.zip: has no images img_align_celeba/000001.jpg ... (it has ../0"
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_may_not_repeat(sources: Path) -> None:
    path = pack(sources)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("img_align_celeba/000001.jpg", b"")
    assert refused(sources).startswith(f"{path}: has 000001.jpg twice; ")


def packed_as(sources: Path, rename: Callable[[str], str], *more: str) -> Path:
    """The images of a folder in a zip file in its place, under other names, with more files."""
    path = sources / "img_align_celeba.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted((sources / "img_align_celeba").iterdir()):
            archive.writestr(rename(image.name), image.read_bytes())
        for name in more:
            archive.writestr(name, b"foreign")
    shutil.rmtree(sources / "img_align_celeba")
    return path


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"./{name}",
        lambda name: f"./img_align_celeba/./{name}",
        lambda name: f"img_align_celeba\\{name}",
        lambda name: f"celeba\\Img\\img_align_celeba\\{name}",
        lambda name: f"img_align_celeba/img_align_celeba/{name}",
        lambda name: f"CelebA/Img/{name}",
        lambda name: f"my faces/{name.replace('.jpg', '.JPG')}",
        lambda name: f"IMG_ALIGN_CELEBA/{name.replace('.jpg', '.JPEG')}",
    ],
    ids=lambda rename: rename("1.jpg"),
)
def test_zip_files_of_all_tools_give_the_same_data(
    official: Path, sources: Path, tmp_path: Path, rename: Callable[[str], str]
) -> None:
    packed_as(
        *(sources, rename),
        *("__MACOSX/img_align_celeba/._000001.jpg", "__MACOSX/000001.jpg", ".DS_Store", "._000001.jpg"),
        *("img_align_celeba/.DS_Store", "img_align_celeba/Thumbs.db", "readme.txt", "C:\\x\\000001.jpg"),
    )
    same_arrays(built(tmp_path / "a.h5", official), built(tmp_path / "b.h5", sources))


def test_other_folders_of_a_zip_file_are_ignored_or_refused(sources: Path, tmp_path: Path) -> None:
    images = shutil.copytree(sources / "img_align_celeba", tmp_path / "images")
    packed_as(sources, lambda name: f"img_align_celeba/{name}", "img_celeba/000001.jpg", "000001.jpg")
    built(tmp_path / "x.h5", sources)
    shutil.copytree(images, sources / "img_align_celeba")
    path = packed_as(sources, lambda name: f"a/{name}", "b/c/000001.jpg")
    assert refused(sources).startswith(f"{path}: has images in several folders (a, b/c); leave those of ")


def test_a_zip_file_of_something_else_is_told(sources: Path) -> None:
    path = packed_as(sources, lambda name: f"{name}.txt")
    assert refused(sources).startswith(
        f"{path}: has no images img_align_celeba/000001.jpg ... (it has 000001.jpg.txt, "
    )


def test_a_zip_file_that_may_not_be_read_is_told(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(sources)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", denied)
    assert refused(sources) == f"{path}: cannot be read (Permission denied); check its permissions"


# --- folders ---


def test_endings_and_foreign_files_do_not_matter(official: Path, sources: Path, tmp_path: Path) -> None:
    images = sources / "img_align_celeba"
    for number, ending in enumerate(("JPG", "jpeg", "Jpeg"), 1):
        (images / f"{number:06d}.jpg").rename(images / f"{number:06d}.{ending}")
    for name in (
        ".DS_Store",
        "._000001.jpg",
        "Thumbs.db",
        "desktop.ini",
        "000001 (1).jpg",
        "000001.jpg.part",
    ):
        (images / name).write_bytes(b"foreign")
    assert digest_images(images) == digest_images(official / "img_align_celeba")
    built(tmp_path / "a.h5", official)
    built(tmp_path / "b.h5", sources)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    (images / "000002.jpeg").write_bytes(b"")
    assert refused(sources).startswith(f"{images}/000002.jpeg: is no intact JPEG file; ")


def test_an_image_with_two_endings_is_refused(sources: Path) -> None:
    images = sources / "img_align_celeba"
    shutil.copy(images / "000004.jpg", images / "000004.JPG")
    message = refused(sources)
    assert message.startswith(f"{images}: has 000004.jpg twice, as 000004.")
    assert message.endswith("; remove one")


# --- sources ---


@pytest.mark.parametrize(
    ("images", "attributes", "partition"), [("", "", ""), ("celeba",) * 3, ("Img", "Anno", "Eval")]
)
def test_sources_are_found_where_they_usually_lie(
    official: Path, tmp_path: Path, images: str, attributes: str, partition: str
) -> None:
    shutil.copytree(official / "img_align_celeba", tmp_path / images / "img_align_celeba")
    for name, sub in zip(LISTS, (attributes, partition), strict=True):
        (tmp_path / sub).mkdir(exist_ok=True)
        shutil.copy(official / name, tmp_path / sub)
    assert find_sources(tmp_path) == {
        "img_align_celeba/": tmp_path / images / "img_align_celeba",
        LISTS[0]: tmp_path / attributes / LISTS[0],
        LISTS[1]: tmp_path / partition / LISTS[1],
    }


def test_images_may_lie_in_a_folder_within_their_folder(sources: Path) -> None:
    (sources / "img_align_celeba").rename(sources / "inner")
    (sources / "img_align_celeba").mkdir()
    (sources / "inner").rename(sources / "img_align_celeba" / "img_align_celeba")
    assert find_sources(sources)["img_align_celeba/"] == sources / "img_align_celeba" / "img_align_celeba"


def test_sources_are_found_whatever_the_case_of_their_names(sources: Path) -> None:
    (sources / "img_align_celeba").rename(sources / "IMG_ALIGN_CELEBA")
    (sources / LISTS[0]).rename(sources / "List_Attr_CelebA.TXT")
    assert list(find_sources(sources).items()) == [
        ("img_align_celeba/", sources / "IMG_ALIGN_CELEBA"),
        (LISTS[0], sources / "List_Attr_CelebA.TXT"),
        (LISTS[1], sources / LISTS[1]),
    ]


def test_a_folder_that_may_not_be_read_is_told(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the workflow starts, where other errors are tracebacks."""
    images = sources / "img_align_celeba"
    assert extent(images)[0] == 21

    def denied(place: object) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        with pytest.raises(
            MmjsdError, match=f"^{images}: cannot be read .Permission denied.; check its perm"
        ):
            extent(images)
        (sources / LISTS[0]).unlink()
        with pytest.raises(
            MmjsdError, match=f"^{sources}: cannot be read .Permission denied.; check its perm"
        ):
            find_sources(sources)


def test_what_is_there_instead_is_told(sources: Path) -> None:
    pack(sources).rename(sources / "archive.zip")
    (sources / "Img").mkdir()
    (sources / "Img/img_align_celeba_png.7z.001").touch()
    (sources / ".DS_Store").touch()
    with pytest.raises(MmjsdError) as caught:
        find_sources(sources)
    assert str(caught.value).endswith("; there is archive.zip, Img/img_align_celeba_png.7z.001)")


def test_all_missing_sources_are_named(sources: Path) -> None:
    (sources / LISTS[1]).unlink()
    shutil.rmtree(sources / "img_align_celeba")
    with pytest.raises(MmjsdError) as caught:
        find_sources(sources)
    assert str(caught.value).startswith(
        f"{sources}: no img_align_celeba.zip or img_align_celeba/, "
        "no list_eval_partition.txt or list_eval_partition.csv; put the official files there"
    )


# --- the store ---


def test_store_is_as_designed(official: Path, tmp_path: Path) -> None:
    store = built(tmp_path / "x.h5", official)
    assert (store.kind, store.modalities, store.seed) == ("celeba", ("image", "text"), 1)
    assert store.classes == list(ATTRIBUTES)
    names, _, labels = read_attributes(official / LISTS[0])
    start = 0
    for split, count in (("train", 12), ("val", 4), ("test", 5)):
        parts = store.splits[split]
        rows = slice(start, start + count)
        assert parts.modalities["image"].shape == (3, 64, 64)
        assert parts.modalities["text"].shape == (256,)
        assert parts.pairs.tolist() == [[row, row] for row in range(count)]
        np.testing.assert_array_equal(parts.labels, labels[rows])
        for name, face in zip(names[rows], parts.modalities["image"].data, strict=True):
            content = (official / "img_align_celeba" / name).read_bytes()
            np.testing.assert_array_equal(face, read_face(content))
        start += count
    assert list(store.splits) == ["train", "val", "test"]


def test_without_random_offset_a_text_starts_at_the_first_character(tmp_path: Path) -> None:
    placed, free = (
        built(tmp_path / f"{random}.h5", "standin", random_offset=random).splits["train"].modalities["text"]
        for random in (False, True)
    )
    starts = [text.strip("*") for text in decode(free.data)]
    assert [text.rstrip("*") for text in decode(placed.data)] == starts


def test_folder_zip_and_csv_give_the_same_data(official: Path, sources: Path, tmp_path: Path) -> None:
    first = built(tmp_path / "a.h5", official)
    pack(sources, compression=zipfile.ZIP_DEFLATED)
    zipped = built(tmp_path / "b.h5", sources)
    to_csv(sources)
    both = built(tmp_path / "c.h5", sources)
    same_arrays(first, zipped)
    same_arrays(first, both)
    assert (
        first.params
        == zipped.params
        == both.params
        == {"source": "folder", "random_offset": True, "skip_unreadable": False}
    )
    assert zipped.sources == {
        "img_align_celeba.zip": sha256_file(sources / "img_align_celeba.zip"),
        **{name: sha256_file(official / name) for name in LISTS},
    }
    assert set(both.sources) == {"img_align_celeba.zip", "list_attr_celeba.csv", "list_eval_partition.csv"}


def test_rows_do_not_depend_on_the_order_of_the_lists(official: Path, sources: Path, tmp_path: Path) -> None:
    count, header, *rows = (sources / LISTS[0]).read_text().splitlines()
    (sources / LISTS[0]).write_text("\n".join([count, header, *reversed(rows)]) + "\n")
    same_arrays(built(tmp_path / "a.h5", official), built(tmp_path / "b.h5", sources))


def test_splits_may_be_mixed(sources: Path, tmp_path: Path) -> None:
    names = list(read_partition(sources / LISTS[1]))
    (sources / LISTS[1]).write_text("".join(f"{name} {row % 3}\n" for row, name in enumerate(names)))
    store = built(tmp_path / "x.h5", sources)
    for part, split in enumerate(("train", "val", "test")):
        for row, face in enumerate(store.splits[split].modalities["image"].data):
            content = (sources / "img_align_celeba" / names[3 * row + part]).read_bytes()
            np.testing.assert_array_equal(face, read_face(content))


def test_same_files_give_the_same_bytes(official: Path, sources: Path, tmp_path: Path) -> None:
    built(tmp_path / "a.h5", official)
    built(tmp_path / "b.h5", sources)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    built(tmp_path / "c.h5", sources, seed=2)
    assert sha256_file(tmp_path / "c.h5") != sha256_file(tmp_path / "a.h5")


def test_bytes_do_not_depend_on_the_number_of_processes(
    official: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celeba, "_BLOCK", 3)
    (sources / "img_align_celeba" / "000008.jpg").write_bytes(b"")
    built(tmp_path / "a.h5", sources, skip_unreadable=True)
    monkeypatch.setattr(decoding, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    built(tmp_path / "b.h5", sources, skip_unreadable=True)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert "000008.jpg: is no intact JPEG file" in refused(sources)


def test_standin_is_reproducible_and_recorded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        built(tmp_path / name / "x.h5", "standin")
    store = read_store(tmp_path / "a" / "x.h5")
    assert (tmp_path / "a" / "x.h5").read_bytes() == (tmp_path / "b" / "x.h5").read_bytes()
    assert store.params == {
        "source": "standin",
        "random_offset": True,
        "skip_unreadable": False,
        **STANDIN,
    }
    assert [len(split.pairs) for split in store.splits.values()] == [12, 4, 5]


def test_the_digest_of_a_folder_is_that_of_sha256sum(official: Path, tmp_path: Path) -> None:
    images = official / "img_align_celeba"
    lines = "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted(images.iterdir()))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert digest_images(images) == digest
    assert built(tmp_path / "x.h5", official).sources["img_align_celeba/"] == digest
    if shutil.which("sha256sum"):
        printed = subprocess.run("sha256sum *.jpg | sha256sum", shell=True, cwd=images, capture_output=True)
        assert printed.stdout.decode().startswith(digest)


def test_what_cannot_be_read_is_not_said_to_be_unwritable(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(sources)

    def failing(name: Path) -> str:
        if name == path:
            raise OSError(5, "Input/output error")
        return sha256_file(name)

    monkeypatch.setattr(celeba_images, "sha256_file", failing)
    assert refused(sources) == f"{path}: cannot be read (Input/output error); check the disk"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        OSError(38, "Function not implemented"),
        ImportError("This platform lacks a functioning sem_open implementation"),
        NotImplementedError("system provides too few semaphores"),
        RuntimeError("can't start new thread"),
    ],
    ids=repr,
)
def test_without_shared_memory_one_process_decodes(
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    """As in containers whose /dev/shm cannot be used."""
    built(tmp_path / "a.h5", sources)
    capsys.readouterr()
    monkeypatch.setattr(decoding, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(workers, "cores", lambda: 2)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", fail)
    built(tmp_path / "b.h5", sources)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    said = error.strerror if isinstance(error, OSError) else error
    assert f"worked on by one process alone, for more cannot be started ({said})" in capsys.readouterr().out


def test_too_little_memory_is_no_damaged_image(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be skipped."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    for module, name in ((decoding, "content_of"), (celeba_images, "prepare_image")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(MemoryError):
                built(sources / "x.h5", sources, skip_unreadable=True)
    pack(sources)
    monkeypatch.setattr(celeba_images, "_read_entry", fail)
    with pytest.raises(MemoryError):
        built(sources / "x.h5", sources, skip_unreadable=True)
    assert not (sources / "x.h5").exists()


def test_a_full_disk_is_reported(sources: Path) -> None:
    """Or a quota, which needs no small disk to be tried."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = refused(sources)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "x.h5: cannot be written (" in message
    assert "File too large" in message


def test_an_unwritable_folder_is_named(official: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MmjsdError, match=r"file/x\.h5: cannot be written \("):
        built(tmp_path / "file" / "x.h5", official)


def test_progress_is_a_line_where_there_is_no_terminal(
    official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(tmp_path / "x.h5", official)
    printed = capsys.readouterr()
    assert "img_align_celeba: 21 images in 0 s" in printed.out
    assert printed.err == ""
