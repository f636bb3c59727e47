import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmjsd.errors import MmjsdError
from mmjsd.reporting.tables import compare


def metrics(coherence: float) -> dict[str, Any]:
    """With standard errors of the coherence alone."""
    return {
        "coherence_error/conditional/a/b": 0.01,
        "coherence_error/conditional/mean": 0.01,
        "coherence_error/random": 0.01,
        "representation/accuracy/a": 0.5,
        "representation/accuracy/mean": 0.5,
        "coherence/conditional/a/b": coherence,
        "coherence/conditional/mean": coherence,
        "coherence/random": 0.25,
        "classifier/accuracy/a": 0.99,
        "train/loss": 12.0,
        "meta/data_source": "standin",
        "meta/train_seconds": 75.0,
    }


class Comparison:
    """Rows to compare, and the two files made of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.published = folder / "published.yaml"

    def add(self, run: str, measured: Any, **about: Any) -> None:
        path = self.folder / f"{len(self.rows)}.json"
        path.write_text(measured if isinstance(measured, str) else json.dumps(measured))
        row = {"dataset": "digits", "kind": "pictures", "source": "standin", "run": run, "seed": 1}
        row |= {"objective": "mmjsd", "subspaces": False, "metrics": str(path)}
        self.rows.append(row | about)

    def made(self) -> tuple[list[dict[str, str]], str]:
        table, page = self.folder / "out.csv", self.folder / "out.md"
        compare(self.rows, self.published, table, page)
        return list(csv.DictReader(io.StringIO(table.read_text()))), page.read_text()


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return Comparison(tmp_path)


def line(page: str, start: str) -> list[str]:
    """Cells of the last table row that starts so."""
    found = [row for row in page.splitlines() if row.startswith(f"| {start} |")][-1]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_one_csv_row_a_run_and_seed(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5), seed=1)
    comparison.add("js", metrics(0.7), seed=2)
    comparison.add("moe", metrics(0.1) | {"extra": 1}, objective="mmvae")
    rows, _ = comparison.made()
    assert [(row["run"], row["seed"], row["objective"]) for row in rows] == [
        ("js", "1", "mmjsd"),
        ("js", "2", "mmjsd"),
        ("moe", "1", "mmvae"),
    ]
    assert [float(row["coherence/conditional/mean"]) for row in rows] == [0.5, 0.7, 0.1]
    assert [row["extra"] for row in rows] == ["", "", "1"]
    assert {row["data_source"] for row in rows} == {"standin"}


def test_the_best_is_bold_and_the_time_is_given(comparison: Comparison) -> None:
    """And what cannot be told from it; nothing where runs are alike or no standard error is known."""
    comparison.add("js", metrics(0.5))
    comparison.add("poe", metrics(0.48))
    comparison.add("moe", metrics(0.1) | {"meta/train_seconds": 7500})
    page = comparison.made()[1]
    assert line(page, "js") == ["js", "**0.500**", "0.250", "0.500", "75 s"]
    assert line(page, "poe") == ["poe", "**0.480**", "0.250", "0.500", "75 s"]
    assert line(page, "moe") == ["moe", "0.100", "0.250", "0.500", "2 h 05 min"]
    assert line(page, "`coherence/conditional/a/b`")[1:4] == ["**0.500**", "**0.480**", "0.100"]
    assert "One seed does not show how training varies." in page


def test_mean_and_deviation_over_seeds(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5), seed=1)
    comparison.add("js", metrics(0.7), seed=2)
    comparison.add("poe", metrics(0.1), seed=1)
    comparison.add("poe", metrics(0.2), seed=2)
    comparison.add("moe", metrics(-5.0), seed=1)
    comparison.add("moe", metrics(-5.1), seed=2)
    _, page = comparison.made()
    # p = 0.06 and 0.002 (Welch)
    cells = line(page, "`coherence/conditional/a/b`")[1:4]
    assert cells == ["**0.600 ± 0.141**", "**0.150 ± 0.071**", "-5.050 ± 0.071"]
    assert "over 2 seeds" in page
    assert "Welch's t-test on the seeds" in page


def test_a_value_that_is_no_number_is_left_out(comparison: Comparison) -> None:
    comparison.add("js", metrics(float("nan")))
    comparison.add("moe", metrics(0.1))
    _, page = comparison.made()
    assert line(page, "`coherence/conditional/a/b`")[1:3] == ["", "0.100"]  # better than nothing


def test_classifiers_losses_and_circumstances_are_not_compared(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5))
    _, page = comparison.made()
    judges = "ccuracy of the judges on the test split: a 0.990"
    assert f"A{judges}." in page.partition("###")[0]
    assert f"a{judges})" in page.partition("### Coherence")[2].partition("###")[0]  # beside each coherence
    for key in ("`classifier/", "`train/", "`meta/"):
        assert key not in page


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("standin", "stand-in data**. No number here is a result on the real data"),
        ("cohort", "Data: own files, from the folder `cohort`."),
    ],
)
def test_the_source_of_the_data_is_told(comparison: Comparison, source: str, told: str) -> None:
    comparison.add("js", metrics(0.5), source=source)
    assert told in comparison.made()[1]


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"meta/chance": 1 / 3, "meta/classes": 3}, "Chance: 0.333 (3 classes)."),
        (
            {"meta/chance": 0.25, "meta/classes": 2, "attributes/a/frequency": 0.25},
            "Chance: 0.250 (the mean share of samples that have one of 2 attributes).",
        ),
    ],
)
def test_chance_is_told_below_the_name_of_the_data(
    comparison: Comparison, about: dict[str, Any], told: str
) -> None:
    comparison.add("old", metrics(0.5))
    assert "Chance" not in comparison.made()[1].partition("| run")[0]
    comparison.add("js", metrics(0.5) | about)
    assert told in comparison.made()[1].partition("| run")[0]


def test_the_number_of_samples_is_told_and_what_they_lack(comparison: Comparison) -> None:
    comparison.add("old", metrics(0.5))
    assert "Samples" not in comparison.made()[1]
    about: dict[str, Any] = {"meta/samples/train": 1208, "meta/samples/test": 52}
    about |= {"meta/missing/train/a": 0.125, "meta/missing/train/b": 0.0, "meta/missing/train/c-d": 0.5}
    comparison.add("js", metrics(0.5) | about | {"meta/missing/test/a": 0.0})
    line = "Samples: train 1,208 (missing: a 12.5 %, c-d 50.0 %), test 52. Runs are judged"
    assert line in comparison.made()[1].partition("| run")[0]


def test_each_dataset_has_its_own_tables(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5))
    comparison.add("faces-js", metrics(0.1), dataset="faces", source="download")
    _, page = comparison.made()
    first, second = page.split("\n## ")[1:]
    assert "faces-js" not in first
    assert "stand-in" not in second
    assert line(second, "faces-js")[1] == "0.100"


ENTRY = {
    "dataset": "pictures",
    "objective": "mmjsd",
    "subspaces": False,
    "metric": "coherence/random",
    "value": 0.75,
    "std": 0.01,
    "source": "A paper, table 1",
}


def test_published_values_stand_beside_ours_with_their_source(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5))
    comparison.add("js-subspaces", metrics(0.5), subspaces=True)
    comparison.published.write_text(yaml.safe_dump([ENTRY, ENTRY | {"dataset": "sounds"}]))
    rows, page = comparison.made()
    assert [row["published/coherence/random"] for row in rows] == ["0.75", ""]
    assert line(page, "`coherence/random`")[-1] == "mmjsd 0.75 ± 0.01 [1]"
    assert "[1] A paper, table 1" in page
    assert "don't compare" in page  # with those of a stand-in


def test_without_published_values_there_is_no_column(comparison: Comparison) -> None:
    """Nor in the tables of those metrics of which there is none."""
    comparison.add("js", metrics(0.5))
    _, page = comparison.made()
    assert line(page, "`coherence/random`") == ["`coherence/random`", "0.250"]
    assert "published |" not in page
    comparison.published.write_text(yaml.safe_dump([ENTRY]))
    _, page = comparison.made()
    assert page.count("published |") == 1
    assert line(page, "`representation/accuracy/a`") == ["`representation/accuracy/a`", "0.500"]


def test_the_published_values_of_the_repository_can_be_read(comparison: Comparison) -> None:
    comparison.add("js", metrics(0.5))
    comparison.published = Path(__file__).parents[2] / "docs/published.yaml"
    assert comparison.made()


@pytest.mark.parametrize("text", ["a: b: c", "5", "[5]", "- {dataset: pictures}", "\x00"])
def test_faulty_published_values_are_refused(comparison: Comparison, text: str) -> None:
    comparison.add("js", metrics(0.5))
    comparison.published.write_text(text)
    with pytest.raises(MmjsdError, match=r"published\.yaml: [^\n]*$"):
        comparison.made()


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_damaged_metrics_are_refused(comparison: Comparison, text: str) -> None:
    comparison.add("js", text)
    with pytest.raises(MmjsdError, match=r"0\.json: damaged; make it again"):
        comparison.made()
    assert not (comparison.folder / "out.csv").exists()


def test_the_sweep_of_a_run_is_told_where_there_are_sweeps(comparison: Comparison) -> None:
    comparison.add("s-beta=1.0", metrics(0.5), sweep="s")
    comparison.add("js", metrics(0.6), sweep="")
    comparison.add("moe", metrics(0.7), sweep="", dataset="others")
    rows, page = comparison.made()
    assert [row["sweep"] for row in rows] == ["s", "", ""]
    assert list(rows[0])[:6] == ["dataset", "run", "seed", "objective", "sweep", "data_source"]
    first, second = page.split("## others")
    assert line(first.split("###")[0], "run")[:2] == ["run", "sweep"]
    assert line(first.split("###")[0], "s-beta=1.0")[1] == "s"
    assert line(first.split("###")[0], "js")[1] == ""
    assert line(second.split("###")[0], "run")[1] != "sweep"  # it has none


@pytest.mark.parametrize(("about", "split"), [({}, "test"), ({"meta/split": "val"}, "val")])
def test_a_table_says_what_it_is_judged_on(comparison: Comparison, about: dict[str, str], split: str) -> None:
    comparison.add("js", metrics(0.5) | about)
    assert f"Runs are judged on the split `{split}`." in comparison.made()[1]
