"""A small table of patients, as people have them: with gaps, words, images of several sizes and modes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["MODALITIES", "write_cohort", "write_csv"]

MODALITIES: dict[str, Any] = {
    "rna": {"kind": "vector", "file": "rna.csv"},
    "clinical": {"kind": "vector", "columns": ["age", "stage"], "categorical": ["stage"], "log1p": ["age"]},
    "scan": {"kind": "image", "column": "path", "size": [1, 16, 12]},
    "report": {"kind": "text", "column": "findings", "length": 24},
}

_MODES = ("L", "RGB", "P", "LA")


def write_csv(path: Path, rows: list[list[Any]], **options: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows(rows)


def write_cohort(folder: Path, count: int = 60, *, gaps: bool = True, seed: int = 0) -> Path:
    """Write samples.csv, rna.csv and scans/ of so many patients, three subtypes in turn.

    With gaps, of every 5 patients one has no scan, of every 7 one no age, of every 9 one no rna, of every 6
    one no report; who has no scan has all else. Each scan is that of two patients.
    """
    rng = np.random.default_rng(seed)
    (folder / "scans").mkdir(parents=True)
    names = ("patient", "age", "stage", "path", "findings", "subtype", "split", "smoker", "relapse")
    samples: list[list[Any]] = [[*names]]
    rna: list[list[Any]] = [["id", "g0", "g1", "g2"]]
    for i in range(count):
        k = i % 3
        missing = {n: gaps and i % n == n - 1 and (n == 5 or i % 5 != 4) for n in (5, 6, 7, 9)}
        scan = f"scans/{i // 6 * 6 + k}.png"
        if not (folder / scan).exists():
            grey = rng.integers(0, 60, (20 + k, 15), dtype=np.uint8) + 80 * k
            Image.fromarray(grey.astype(np.uint8)).convert(_MODES[i // 6 % 4]).save(folder / scan)
        samples.append(
            [
                f"p{i}",
                "" if missing[7] else f"{40 + 5 * k + rng.normal():.3f}",
                ("I", "II", "III")[rng.integers(3)],
                "" if missing[5] else scan,
                "" if missing[6] else f"Type {'abc'[k]},\nno. {i}",
                ("wild", "mild", "9")[k],
                ("train", "train", "test", "val")[i % 4],
                int(rng.random() < 0.5),
                ("false", "true")[int(rng.random() < 0.3)],
            ]
        )
        if not missing[9]:
            rna.append([f"p{i}", *(f"{x:.4f}" for x in rng.normal(k, 1, 3))])
    write_csv(folder / "samples.csv", samples)
    write_csv(folder / "rna.csv", rna)
    return folder
