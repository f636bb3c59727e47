import json

import pytest

import mmjsd
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics


def test_numbers_of_older_files_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1, "meta/e": "text"}')
    assert read_metrics(path) == {"d": 1, "meta/e": "text"}


def test_the_metrics_of_all_runs_are_a_data_frame(tmp_path) -> None:
    for place, seed, value in (("a/x/seed-10", 10, 0.5), ("a/x/seed-2", 2, 0.25), ("b/y/seed-1", 1, None)):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        metrics = {"meta/objective": "mvae", "meta/seed": seed, **({"m/a": value} if value else {})}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    for place in (".old/x/seed-1", "a/.x/seed-1", "a/x/seed-1.bak", "a/classifiers/mnist"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "metrics.json").write_text("{}")
    (tmp_path / "a/x/seed-3").mkdir()  # not evaluated yet
    found = mmjsd.results(tmp_path)
    assert list(found.columns[:4]) == ["dataset", "run", "seed", "objective"]
    assert found[["dataset", "run", "seed"]].to_numpy().tolist() == [
        ["a", "x", 2],
        ["a", "x", 10],
        ["b", "y", 1],
    ]
    assert found["m/a"].tolist()[:2] == [0.25, 0.5]
    assert found["m/a"].isna().tolist() == [False, False, True]
    (tmp_path / "b/y/seed-1/metrics.json").write_text("{")
    with pytest.raises(MmjsdError, match=r"seed-1/metrics\.json: damaged"):
        mmjsd.results(tmp_path)
    with pytest.raises(MmjsdError, match=r"none: no such folder"):
        mmjsd.results(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert mmjsd.results(tmp_path / "empty").empty
