"""MNIST-SVHN-Text: images of MNIST and SVHN, matched by class, with the word of the digit."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmjsd.data.official import REPLACE, mnist, svhn
from mmjsd.data.official.finding import find
from mmjsd.data.sources import files_of
from mmjsd.data.store import Split, Table, write_store
from mmjsd.data.text import word_table
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import ALPHABET
from mmjsd.params.sources import effective, origin
from mmjsd.params.types import ImageCount
from mmjsd.provenance.files import sha256_file

__all__ = ["LABELS", "LICENCE", "MODALITIES", "build", "download_sources", "find_sources"]

MODALITIES = {"mnist": "image 1x28x28", "svhn": "image 3x32x32", "text": "text 8"}
LABELS = "class"
LICENCE = "MNIST: CC BY-SA 3.0; SVHN: non-commercial use only"

_SPLITS = ("train", "test")


def find_sources(folder: str | Path) -> dict[str, Path]:
    """Find the official files in ``folder`` or its usual subfolders (mnist, MNIST/raw, svhn, SVHN).

    Returns:
        Official name of each file -> its path; a plain idx file is preferred to a gzipped one.

    Raises:
        MmjsdError: files are missing; names all of them.
    """
    wanted = [names for split in _SPLITS for names in (*mnist.spellings(split), (svhn.FILES[split],))]
    return find(folder, wanted, (*mnist.SUBFOLDERS, *svhn.SUBFOLDERS))


def download_sources(folder: Path) -> dict[str, Path]:
    """Download the official files that are not in ``folder`` yet: official name of each -> its path.

    Raises:
        MmjsdError: the line names the cause.
    """
    return mnist.download_mnist(folder) | svhn.download_svhn(folder)


def build(
    path: str | Path,
    *,
    source: str,
    source_folder: str | Path,
    seed: int,
    max_per_class: Annotated[int, Field(ge=2, le=10**6)] = 10000,
    pairs_per_sample: Annotated[int, Field(gt=0, le=100)] = 20,
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
    standin_train: ImageCount = 10000,
    standin_test: ImageCount = 2000,
) -> None:
    """Build the store.

    Per class and split, the first n = min(count in MNIST, count in SVHN, ``max_per_class``) images of each
    are matched by independent random permutations, ``pairs_per_sample`` times, and each pair with the word
    at a random offset.

    Args:
        path: Store to write.
        source: ``standin``, ``download``, or a folder with the official files.
        source_folder: Where stand-in or downloaded files go.
        seed: Seed of the stand-in and of the pairing.
        max_per_class: Rows of a class used per split, at most.
        pairs_per_sample: How often each row is paired.
        validation_share: Share of the rows used of a class that is split off the training split as the split
            val, the last ones; 0: there is no such split.
        standin_train: Training images of each stand-in source.
        standin_test: Test images of each stand-in source.

    Raises:
        MmjsdError: the sources are faulty (see the readers), or a class has no images in one of them.
    """

    def standin(folder: Path) -> dict[str, Path]:
        from mmjsd.data.standin.digits import write_mnist, write_svhn  # slow to import

        counts = {"train": standin_train, "test": standin_test, "seed": seed}
        return write_mnist(folder, **counts) | write_svhn(folder, **counts)

    files = files_of(source, source_folder, standin=standin, download=download_sources, find=find_sources)
    plain = {name.removesuffix(".gz"): path for name, path in files.items()}
    rng = np.random.default_rng(seed)
    splits = {}
    parts = {"train": (0.0, 1 - validation_share), "test": (0.0, 1.0)}
    parts |= {"val": (1 - validation_share, 1.0)} if validation_share else {}
    for split, part in parts.items():
        source_split = "train" if split == "val" else split
        names = (*mnist.FILES[source_split], svhn.FILES[source_split])
        images, labels, house_numbers = (plain[name] for name in names)
        splits[split] = _matched(
            (images, labels, house_numbers), split, part, rng, max_per_class, pairs_per_sample
        )
    options: dict[str, Any] = {
        "max_per_class": max_per_class,
        "pairs_per_sample": pairs_per_sample,
        **({"validation_share": validation_share} if validation_share else {}),
        "standin_train": standin_train,
        "standin_test": standin_test,
    }
    write_store(
        path,
        kind="mnist_svhn_text",
        modalities=list(MODALITIES),
        classes=[str(digit) for digit in range(10)],
        seed=seed,
        params={"source": origin(source), **effective(source, options)},
        sources={name: sha256_file(file) for name, file in files.items()},
        splits=splits,
    )


def _matched(
    files: tuple[Path, Path, Path],
    split: str,
    part: tuple[float, float],
    rng: np.random.Generator,
    max_per_class: int,
    times: int,
) -> Split:
    """Match the images of one split by class; the files are MNIST's images and labels, and SVHN's.

    The part is where among the rows of a class those of the split begin and end, as shares.
    """
    read = {"mnist": mnist.read_mnist(*files[:2]), "svhn": svhn.read_svhn(files[2])}
    words, word_labels = word_table()
    rows: dict[str, list[NDArray[np.int64]]] = {modality: [] for modality in read}
    pairs, start = [], 0
    for digit in range(10):
        of_digit = [np.flatnonzero(labels == digit) for _, labels in read.values()]
        for file, there in zip(files[1:], of_digit, strict=True):
            if not len(there):
                raise MmjsdError(f"{file}: has no {digit} for the {split} split; {REPLACE}")
        used_rows = min(max_per_class, *map(len, of_digit))
        first, last = (round(share * used_rows) for share in part)
        if (n := last - first) < 1:
            raise MmjsdError(
                f"{files[2]}: {used_rows} usable rows of {digit} are too few for a {split} split; change "
                "validation_share"
            )
        for modality, there in zip(read, of_digit, strict=True):
            rows[modality].append(there[first:last])
        # row r of both tables is of this class for start <= r < start + n
        orders = [rng.permuted(np.tile(np.arange(n), (times, 1)), axis=1).ravel() + start for _ in of_digit]
        texts = rng.choice(np.flatnonzero(word_labels == digit), times * n)
        pairs.append(np.stack([*orders, texts], axis=1))
        start += n
    tables, labels_of = {}, {}
    for modality, (images, labels) in read.items():
        used = np.concatenate(rows[modality])
        labels_of[modality] = labels[used]
        tables[modality] = Table("image", images[used], labels_of[modality])
    tables["text"] = Table("text", words, word_labels, ALPHABET)
    samples = np.concatenate(pairs).astype(np.int32)
    return Split(tables, samples, labels_of["mnist"][samples[:, 0]])
