"""Building the store of CelebA against a bare loop that only decodes.

Writes stand-in files in the official layout to a temporary folder (images in the zip, some GB for 200,000),
then, each with one process a core:

bare    read, decode, crop and resize every image, and drop it
build   `mmjsd.data.kinds.celeba.build`: all of the lists, images, texts, hashes and the store

and tells images/s of both and the most memory of the build, all its processes together.
"""

import multiprocessing
import os
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from measuring import parsed, parser, ratio, report, run

from mmjsd.data.kinds import celeba
from mmjsd.data.official.celeba_images import read_face
from mmjsd.data.standin.attributes import ATTRIBUTES, sample_attributes
from mmjsd.data.standin.faces import write_faces

DISTINCT = 2000
"""Most images drawn; the others are the same again under other names."""


def write_sources(folder: Path, count: int) -> None:
    """The zip and both lists; every tenth image is of the validation, every tenth of the test split."""
    distinct = min(DISTINCT, count)
    drawn = write_faces(folder / "drawn", train=distinct - 20, val=10, test=10, seed=0)
    contents = [path.read_bytes() for path in sorted(drawn["img_align_celeba/"].iterdir())]
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(f"img_align_celeba/{name}", contents[number % distinct])
    present = np.where(sample_attributes(count, np.random.default_rng(0)), "1", "-1")
    rows = [f"{name} {' '.join(row)}" for name, row in zip(names, present, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(ATTRIBUTES), *rows]) + "\n")
    parts = [f"{name} {max(number % 10 - 7, 0)}" for number, name in enumerate(names)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


def bare(archive: Path, first: int, step: int) -> None:
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist()[first::step]:
            read_face(file.read(name))


def build(folder: Path) -> None:
    celeba.build(folder / "faces.h5", source=str(folder), source_folder=folder, seed=0)


def timed(*processes: multiprocessing.process.BaseProcess) -> tuple[float, float]:
    """Seconds, and the highest sum of memory (MB, shared pages counted once) of the processes and theirs."""
    started, peak = time.perf_counter(), 0.0
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        total = 0
        for process in processes:
            try:
                tree = psutil.Process(process.pid)
                total += sum(p.memory_full_info().pss for p in (tree, *tree.children(recursive=True)))
            except psutil.Error:  # ended meanwhile
                continue
        peak = max(peak, total / 1e6)
        time.sleep(0.25)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.perf_counter() - started, peak


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--count", type=int, default=200_000, help="images")
    options.add_argument("--turns", type=int, default=1)
    options.add_argument("--folder", help="for the temporary files")
    options = parsed(options, count=100)
    spawn, cores = multiprocessing.get_context("spawn"), os.cpu_count() or 1
    alone, whole, peaks = [], [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_sources(folder, options.count)
        for _ in range(options.turns):
            loops = [
                spawn.Process(target=bare, args=(folder / "img_align_celeba.zip", core, cores))
                for core in range(cores)
            ]
            alone.append(timed(*loops)[0])
            seconds, peak = timed(spawn.Process(target=build, args=(folder,)))
            whole.append(seconds)
            peaks.append(peak)
    rows = [
        {"loop": name, "images/s": options.count / median(seconds)}
        for name, seconds in (("bare", alone), ("build", whole))
    ]
    results = {"build / bare": ratio(alone, whole), "build, most MB": max(peaks)}
    report(options, {f"{options.count} images, {cores} cores": rows}, results)


if __name__ == "__main__":
    run(main)
