"""Downloads from a host that is there, is not, refuses, or gives something else."""

import errno
import gzip
import hashlib
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import gdown
import pytest
import requests
from torchvision import datasets
from torchvision.datasets import utils

from mmjsd.data.kinds import celeba, mnist_svhn_text
from mmjsd.data.official import mnist
from mmjsd.data.standin.digits import write_mnist, write_svhn
from mmjsd.data.standin.faces import write_faces
from mmjsd.errors import MmjsdError

IDX = [
    f"{part}-ubyte"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]
FACE_FILES = ["img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Host:
    """A web server and what it says: a name -> content, or the code with which it refuses."""

    def __init__(self) -> None:
        self.has: dict[str, bytes | int] = {}
        self.asked: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                host.asked.append(name)
                content = host.has.get(name, 404)
                if isinstance(content, int):
                    self.send_error(content)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of all datasets."""
    folder = tmp_path_factory.mktemp("official")
    files = write_mnist(folder, 30, 20, 0) | write_svhn(folder, 30, 20, 0)
    found = {name: path.read_bytes() for name, path in files.items()}
    written = write_faces(folder, train=3, val=1, test=1, seed=0)
    shutil.make_archive(str(folder / "img_align_celeba"), "zip", folder, "img_align_celeba")
    written = {"img_align_celeba.zip": folder / "img_align_celeba.zip"} | written
    return found | {name: written[name].read_bytes() for name in FACE_FILES}


@pytest.fixture
def host(official: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """One that has all files, at the addresses that torchvision knows."""
    host = Host()
    host.has.update(official)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [host.url])
    monkeypatch.setattr(datasets.MNIST, "resources", [(f"{n}.gz", md5(official[f"{n}.gz"])) for n in IDX])
    monkeypatch.setattr(mnist, "_UNPACKED", {n: md5(gzip.decompress(official[f"{n}.gz"])) for n in IDX})
    parts = {
        split: [f"{host.url}{split}_32x32.mat", f"{split}_32x32.mat", md5(official[f"{split}_32x32.mat"])]
        for split in ("train", "test")
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", parts)
    listed = [(f"id of {name}", md5(official[name]), name) for name in FACE_FILES]
    monkeypatch.setattr(datasets.CelebA, "file_list", [*listed, ("id", "0", "identity_CelebA.txt")])

    def from_drive(*, id: str, output: str, **_: Any) -> None:
        host.asked.append(id)
        Path(output).write_bytes(official[id.removeprefix("id of ")])

    monkeypatch.setattr(gdown, "download", from_drive)
    yield host
    host.close()


fetched_digits = mnist_svhn_text.download_sources
fetched_faces = celeba.download_sources


def refused(folder: Path, fetch: Callable[[Path], object] = fetched_digits) -> str:
    """The line of a download that fails, which leaves no unfinished file."""
    with pytest.raises(MmjsdError) as caught:
        fetch(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{folder}/")
    assert "name it as the dataset's `source:`" in line
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    return line


def test_digits_lie_where_torchvision_puts_them_and_are_fetched_once(host: Host, tmp_path: Path) -> None:
    found = fetched_digits(tmp_path / "new")
    assert found == {
        **{name: tmp_path / "new/MNIST/raw" / name for name in IDX},
        **{name: tmp_path / "new/svhn" / name for name in ("train_32x32.mat", "test_32x32.mat")},
    }
    assert mnist_svhn_text.find_sources(tmp_path / "new") == found
    mnist_svhn_text.build(
        *(tmp_path / "x.h5",),
        source="download",
        source_folder=tmp_path / "new",
        seed=0,
        standin_train=20,
        standin_test=20,
    )
    count = len(host.asked)
    assert fetched_digits(tmp_path / "new") == found
    assert len(host.asked) == count
    datasets.MNIST(tmp_path / "new")  # torchvision is content with it


def test_faces_are_fetched_without_what_is_not_needed(host: Host, tmp_path: Path) -> None:
    found = fetched_faces(tmp_path)
    assert found == {name: tmp_path / "celeba" / name for name in FACE_FILES}
    assert host.asked == [f"id of {name}" for name in FACE_FILES]
    assert fetched_faces(tmp_path) == found
    assert len(host.asked) == 3


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_cut_file_beside_its_intact_archive_is_unpacked_again(
    host: Host, tmp_path: Path, name: str
) -> None:
    found = fetched_digits(tmp_path)
    before = found[name].read_bytes()
    host.close()
    cut(found[name])
    assert fetched_digits(tmp_path) == found
    assert found[name].read_bytes() == before


def test_what_is_damaged_is_fetched_again(host: Host, tmp_path: Path) -> None:
    found = fetched_digits(tmp_path) | fetched_faces(tmp_path)
    before = {name: path.read_bytes() for name, path in found.items()}
    for path in found.values():
        cut(path)
    cut(tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz")
    (tmp_path / "celeba/img_align_celeba").mkdir()  # unpacked by torchvision, which looks no further
    assert fetched_digits(tmp_path) | fetched_faces(tmp_path) == found
    assert {name: path.read_bytes() for name, path in found.items()} == before


def test_a_mirror_helps_out(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{host.url}gone/", host.url])
    assert len(fetched_digits(tmp_path)) == 6
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{host.url}gone/", "http://127.0.0.1:9/"])
    assert "the host refuses it with 404 Not Found" in refused(tmp_path / "new")  # of the first


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (403, "the host refuses it with 403 Forbidden; type the same command again later"),
        (503, "the host refuses it with 503 Service Unavailable"),
        (
            b"\n<!DOCTYPE html><title>Log in</title>",
            "a web page came in its place, of a proxy, a login or a quota",
        ),
        (b"\x1f\x8b other", "8 bytes came that have not the published checksum, cut off or another file"),
        (b"", "0 bytes came that have not the published checksum"),
    ],
)
def test_what_the_host_says_is_told(host: Host, tmp_path: Path, content: bytes | int, cause: str) -> None:
    host.has["t10k-images-idx3-ubyte.gz"] = content
    line = refused(tmp_path)
    assert line.startswith(
        f"{tmp_path}/MNIST/raw/t10k-images-idx3-ubyte.gz: MNIST cannot be downloaded: {cause}"
    )
    assert "or put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images" in line


def test_files_fetched_before_the_fault_stay(host: Host, official: dict[str, bytes], tmp_path: Path) -> None:
    host.has["test_32x32.mat"] = 500
    line = refused(tmp_path)
    assert line.startswith(
        f"{tmp_path}/svhn/test_32x32.mat: SVHN cannot be downloaded: the host refuses it with 500"
    )
    assert "or put train_32x32.mat, test_32x32.mat into a folder" in line
    host.has["test_32x32.mat"] = official["test_32x32.mat"]
    host.asked.clear()
    fetched_digits(tmp_path)
    assert set(host.asked) == {"test_32x32.mat"}


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/", "http://nowhere.invalid/", "https://127.0.0.1:9/"], ids=str
)
def test_no_network_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    assert "no network, or the host does not answer (" in refused(tmp_path)


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "no network, or the host does not",
        ),
        (TimeoutError("timed out"), "no network, or the host does not answer (timed out)"),
        (
            URLError(PermissionError(13, "Permission denied")),
            "no network, or the host does not answer (Permission",
        ),
        (URLError(utils.urllib.error.ContentTooShortError("short", b"")), "no network, or the host"),
        (
            PermissionError(13, "Permission denied", "x"),
            "it cannot be written (Permission denied); see to space",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "it cannot be written (No space left on device)"),
        (ValueError("something\nelse"), "something else; type the same command again later"),
    ],
)
def test_other_causes_are_told_apart(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str
) -> None:
    monkeypatch.setattr(utils, "_urlretrieve", raising(error))
    assert f"MNIST cannot be downloaded: {cause}" in refused(tmp_path)


def test_a_certificate_that_is_not_accepted_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ssl

    error = URLError(ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed"))
    monkeypatch.setattr(utils, "_urlretrieve", raising(error))
    assert "the host's certificate is not accepted (certificate verify failed: self-signed)" in refused(
        tmp_path
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            gdown.exceptions.FileURLRetrievalError("Too many users\nhave viewed this file"),
            "Google Drive refuses it, which it does after too many downloads (Too many users have viewed ",
        ),
        (
            requests.exceptions.ConnectionError("Name or service not known"),
            "no network, or the host does not",
        ),
        (
            requests.exceptions.ProxyError("Cannot connect to proxy."),
            "no network, or the host does not answer",
        ),
    ],
)
def test_what_google_drive_says_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str
) -> None:
    monkeypatch.setattr(gdown, "download", raising(error))
    line = refused(tmp_path, fetched_faces)
    assert line.startswith(f"{tmp_path}/celeba/img_align_celeba.zip: CelebA cannot be downloaded: {cause}")
    assert "or put img_align_celeba.zip, list_attr_celeba.txt, list_eval_partition.txt into a folder" in line


def test_a_full_disk_is_told(host: Host, tmp_path: Path) -> None:
    """Or a quota, which needs no small disk to be tried."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        line = refused(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (
        "MNIST cannot be downloaded: it cannot be written (File too large); see to space and permissions"
        in line
    )


def test_a_folder_that_cannot_be_made_is_told(host: Host, tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("a file")
    assert "MNIST cannot be downloaded: it cannot be written (" in refused(tmp_path)


def test_files_put_there_by_hand_need_no_network(
    host: Host, official: dict[str, bytes], tmp_path: Path
) -> None:
    """Unpacked or not, wherever their archives came from."""
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    (tmp_path / "svhn").mkdir()
    host.close()
    for name in IDX:
        (tmp_path / "MNIST/raw" / name).write_bytes(gzip.decompress(official[f"{name}.gz"]))
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "svhn" / name).write_bytes(official[name])
    assert len(fetched_digits(tmp_path)) == 6
