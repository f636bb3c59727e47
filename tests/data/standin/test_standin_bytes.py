"""The bytes of small stand-ins: a change of the code that draws them shows here."""

import gzip
import hashlib
import platform
from pathlib import Path

import numpy as np
import pytest

from mmjsd.data.standin.digits import write_mnist, write_svhn
from mmjsd.data.standin.faces import write_faces

_SIMD = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
#: With others numpy rounds sines and exponentials to other last bits, which a few pixels show.
WITH_AVX512 = platform.machine() == "x86_64" and bool({"X86_V4", "AVX512_SKX"}.intersection(_SIMD))

DRAWN = {
    "train-images-idx3-ubyte.gz": "5a2120379f8867b44e4626d48d0fe82f1d79d5298a48f45b1f6dab5486d78151",
    "t10k-images-idx3-ubyte.gz": "9d58f32849d4fcc55fe80f10cbc29b535d88b7696258bcc82e9fe5fa72f1ac3c",
    "train_32x32.mat": "8872545fcfadc9758203573836f0e93a6206a5fc63f54ab6e92143bfbd97c1f1",
    "test_32x32.mat": "81156767feda6dc89d9c20be2751f4b8defaf812a684061422601bbd30463dbe",
    "img_align_celeba/": "b71f1d9a8dd06ce57bad9418797cb21dddb6dabb050b84a3f690256d1c3e4a59",
}
COUNTED = {
    "train-labels-idx1-ubyte.gz": "d93cef5c6f0d9091c57729a83bdb0a433c61ffba2540894f33beb0ec19632eb8",
    "t10k-labels-idx1-ubyte.gz": "ca720d8cca54fe481fd80730bc77944ef6dfeea4f3aa9fc150c0d317cc117bbe",
    "list_attr_celeba.txt": "003fb6c1e1e9d41939b097d76a253a89210f45efea2722fa0d03a0c2fc36b623",
    "list_eval_partition.txt": "8677eb7cd220b07c7fcaa7443847ff435018136df276e4588dc5703e8f25e565",
}


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """sha256 of each file, unpacked (compressors differ), and of the images of a folder one after another."""
    folder = tmp_path_factory.mktemp("standin")
    files = write_mnist(folder, 60, 30, 7) | write_svhn(folder, 60, 30, 7)
    files |= write_faces(folder, train=14, val=4, test=6, seed=7)

    def content(path: Path) -> bytes:
        if path.is_dir():
            return b"".join(image.read_bytes() for image in sorted(path.iterdir()))
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()

    return {name: hashlib.sha256(content(path)).hexdigest() for name, path in files.items()}


@pytest.mark.parametrize("name", COUNTED)
def test_labels_and_lists_have_the_bytes_they_always_had(digests: dict[str, str], name: str) -> None:
    assert digests[name] == COUNTED[name]


@pytest.mark.skipif(not WITH_AVX512, reason="the hashes are those of a processor with AVX-512")
@pytest.mark.parametrize("name", DRAWN)
def test_pictures_have_the_bytes_they_always_had(digests: dict[str, str], name: str) -> None:
    assert digests[name] == DRAWN[name]


def test_no_other_files_are_written(digests: dict[str, str]) -> None:
    assert set(digests) == {*DRAWN, *COUNTED}
