import csv
import json
from pathlib import Path

import pytest

from mmjsd.errors import MmjsdError
from mmjsd.reporting.summary import summarise

METRICS = {
    "coherence/conditional/mean": 0.5,
    "coherence/conditional/a/b": 0.5,
    "coherence/random": 0.25,
    "likelihood/a/joint": -3.0,
    "likelihood/a-b/joint": -2.0,
    "meta/train_seconds": 75.0,
}
HISTORY = "epoch,loss,reconstruction/a,samples_per_second,seconds\n1,3.5,nan,9,9\n2,1.0,0.25,8,8\n"


def rows(folder: Path, *seeds: int) -> list[dict]:
    found = []
    for seed in seeds:
        (folder / str(seed)).mkdir()
        (folder / str(seed) / "metrics.json").write_text(json.dumps(METRICS))
        (folder / str(seed) / "history.csv").write_text(HISTORY)
        row = {"dataset": "digits", "run": "js", "seed": seed, "folder": str(folder / str(seed))}
        found.append(row | {"metrics": str(folder / str(seed) / "metrics.json")})
    return found


def test_headlines_are_the_few_most_telling_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "headlines"
    out = folder / "digits/js.json"
    summarise(rows(tmp_path, 1), folder, [out], tmp_path / "curves.csv")
    assert json.loads(out.read_text()) == {
        "coherence/conditional/mean": 0.5,
        "coherence/random": 0.25,
        "likelihood/joint": -2.0,
        "meta/train_seconds": 75.0,
    }


def test_curves_have_a_line_for_each_finite_value(tmp_path: Path) -> None:
    curves = tmp_path / "curves.csv"
    summarise(
        rows(tmp_path, 1, 2), tmp_path / "headlines", [tmp_path / "1.json", tmp_path / "2.json"], curves
    )
    with curves.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["curve", "run", "epoch", "value"]
    assert lines[1:4] == [
        ["digits: loss", "js 1", "1", "3.5"],
        ["digits: loss", "js 1", "2", "1.0"],
        ["digits: reconstruction/a", "js 1", "2", "0.25"],
    ]
    assert len(lines) == 7


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    given = rows(tmp_path, 1)
    (tmp_path / "1/history.csv").write_text("epoch\n")
    with pytest.raises(MmjsdError, match=r"history\.csv: damaged"):
        summarise(given, tmp_path / "headlines", [tmp_path / "1.json"], tmp_path / "curves.csv")
    assert not (tmp_path / "curves.csv").exists()


def test_headlines_of_runs_that_are_gone_go(tmp_path: Path) -> None:
    folder, both = tmp_path / "headlines", rows(tmp_path, 1, 2)
    paths = [folder / f"digits/js/seed-{seed}.json" for seed in (1, 2)]
    summarise(both, folder, paths, tmp_path / "curves.csv")
    summarise(both[:1], folder, paths[:1], tmp_path / "curves.csv")
    assert list(folder.rglob("*.json")) == paths[:1]
