import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmjsd.cli import main
from mmjsd.errors import MmjsdError
from mmjsd.reporting.results import Study, _verdicts, write_results
from support.project import REPOSITORY, Outcome, Project

COMMENT = """# yaml-language-server: $schema=../params.schema.json
# Rivals: which is best, and
# by how much.
#   snakemake --configfile study.yaml
seeds: [1, 2, 3]
"""

MADE = {
    "git.commit": "0123456789",
    "git.dirty": "true",
    "machine.processor": "A processor",
    "machine.cores": "2",
}
MADE |= {"version.torch": "2.11"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(COMMENT)
    return tmp_path


def row(run: str, seed: int, metrics: dict[str, Any], dataset: str = "digits") -> dict[str, Any]:
    folder = Path("results") / dataset / run / str(seed)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"meta/train_seconds": 10.0 * seed} | metrics))
    about = {"dataset": dataset, "kind": "polymnist", "source": "files", "objective": "mmjsd", "seed": seed}
    return about | {"run": run, "folder": str(folder), "metrics": str(folder / "metrics.json")}


def coherent(run: str, *values: float, dataset: str = "digits") -> list[dict[str, Any]]:
    return [
        row(run, seed, {"coherence/conditional/mean": value, "coherence/random": 0.5}, dataset)
        for seed, value in enumerate(values, 1)
    ]


def page_of(rows: list[dict[str, Any]], sweeps: Any = None, published: Any = ()) -> str:
    sizes = {name: {"train": 12_000, "test": 300} for name in {row["dataset"] for row in rows}}
    page = Path("docs/results.md")
    page.parent.mkdir(exist_ok=True)
    write_results(Study(Path("study.yaml"), rows, [MADE] * len(rows), sweeps or {}, sizes, published), page)
    return page.read_text()


def cells(page: str, name: str) -> list[str]:
    """Of the first row of a table that begins so."""
    found = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_a_section_says_what_made_it_and_what_its_numbers_settle(folder: Path) -> None:
    rows = [
        *coherent("js", 0.9, 0.91, 0.92),
        *coherent("moe", 0.89, 0.9, 0.94),
        *coherent("poe", 0.5, 0.51, 0.52),
    ]
    page = page_of(rows)
    text = " ".join(page.split())
    assert "## Rivals\n\nWhich is best, and by how much.\n\n    snakemake --configfile study.yaml\n" in page
    assert "    uv run mmjsd results --params study.yaml\n" in page
    assert (
        "Commit `0123456` with changes, PyTorch 2.11, A processor (2 cores). 3 runs of 3 seeds each" in text
    )
    assert "is trained in 10 s to 30 s" in text
    assert (
        "`digits` (polymnist): own files, from the folder `files`. Samples: train 12,000, test 300. Runs are "
        "judged on the split `test`. The files are not in the repository." in text
    )
    # t(2) at 97.5 % is 4.303: 4.303 * 0.01 / sqrt(3)
    assert cells(page, "js") == ["**0.910 ± 0.025**", "0.500 ± 0.000", "20 s"]
    assert cells(page, "moe")[0] == "**0.910 ± 0.066**"
    assert cells(page, "poe")[0] == "0.510 ± 0.025"
    # Welch with equal variances: 4 degrees of freedom, 2.776 * 0.01 * sqrt(2 / 3)
    best = "js is best; moe cannot be told from it; the next, poe, is worse by 0.400 (95 %: 0.377 to 0.423)."
    assert f"- conditional coherence, mean: {best}" in text
    assert "- random coherence: nothing tells the runs apart." in page


def test_runs_that_differ_in_two_keys_are_crossed(folder: Path) -> None:
    runs = {
        f"{name}-{rate}": {"objective": name, "missing": rate, "learn_weights": name == "poe", "beta": 1.0}
        for name in ("js", "poe")
        for rate in (0.0, 0.5)
    }
    rows = [
        row
        for run, value in zip(runs, (0.9, 0.8, 0.2, 0.1), strict=True)
        for row in coherent(run, value, value + 0.01)
    ]
    page = page_of([*rows, *coherent("alone", 0.3)], {"gaps": runs})
    assert "### gaps, by missing\n\n![conditional coherence, mean, random" in page
    assert "](results/study-gaps.png)\n" in page
    assert Path("docs/results/study-gaps.png").read_bytes().startswith(b"\x89PNG")
    assert "| conditional coherence, mean | 0.0 | 0.5 |" in page
    assert [cell[:7] for cell in cells(page, "js")] == ["**0.905", "**0.805"]
    assert [cell[:5] for cell in cells(page, "poe + learn_weights")] == ["0.205", "0.105"]
    assert "\nBest, or not to be told from the best: for every missing js.\n" in page
    assert cells(page, "training time") == ["0.0", "0.5"]
    assert "| js | 15 s | 15 s |\n" in page
    assert "\nFor missing 0.0 and 0.5 nothing tells them apart.\n" in page  # of the random coherence
    assert cells(page.partition("### digits")[2], "alone")[0] == "0.300"


def test_of_what_is_crossed_it_is_said_where_each_is_best() -> None:
    rows, across = ["a", "b", "c", "d"], ["1.0", "2.5", "5.0"]
    among = [[True, True, False, False], [True, False, True, False], [False] * 4]
    assert _verdicts(rows, across, among, "beta") == (
        "Best, or not to be told from the best: for beta 1.0 and 2.5 a; for beta 1.0 b; for beta 2.5 c. "
        "For beta 5.0 nothing tells them apart."
    )


def test_the_number_of_modalities_stands_beside_what_papers_have(folder: Path) -> None:
    measured = {f"coherence/cross/{size}": size / 10 for size in (1, 2, 3)}
    measured |= {f"representation/accuracy/views/{size}": 0.5 for size in (1, 2, 3)}
    measured |= {"representation/raw/a": 0.5, "representation/raw/b": 0.75, "representation/raw/a-b": 0.875}
    rows = [row("js", 1, measured)]
    entry = {
        "dataset": "polymnist",
        "objective": "mvae",
        "metric": "coherence/cross/2",
        "value": 0.42,
        "source": "A. B.",
    }
    page = page_of(rows, published=[entry, entry | {"dataset": "celeba", "objective": "mopoe"}])
    assert cells(page, "`coherence/cross/k`, k =") == ["1", "2", "3"]
    assert page.rindex("| js | 0.100 | 0.200 | 0.300 |") < page.index("| published: mvae |  | 0.42 |  |")
    assert "mopoe" not in page
    assert "published order" not in page  # there are no two to compare
    assert "Published: A. B.\n" in page
    assert cells(page, "regression on the values") == ["0.625", "0.875", ""]


def test_the_order_is_held_against_that_of_papers(folder: Path) -> None:
    ours = {"mmjsd": (0.3, 0.9, 0.5), "mvae": (0.2, 0.8, 0.6), "mopoe": (0.1, 0.7, 0.7)}
    rows = [
        row(name, 1, {f"coherence/cross/{k}": value for k, value in enumerate(values, 1)})
        | {"objective": name}
        for name, values in ours.items()
    ]
    theirs = {"mmjsd": (0.9, 0.5), "mvae": (0.8, 0.5), "mopoe": (0.85, 0.4), "mvtcae": (1.0, 1.0)}
    published = [
        {"dataset": "polymnist", "objective": name, "metric": f"coherence/cross/{k}", "source": "A. B."}
        | {"value": value}
        for name, values in theirs.items()
        for k, value in enumerate(values, 1)
    ]
    page = page_of(rows, published=published)
    # at k = 2 two are equal in the paper
    assert "\nPairs of objectives in the published order: 2 of 3 (k = 1), 2 of 2 (k = 2).\n" in page


def test_a_section_takes_the_place_of_its_own_and_of_no_other(folder: Path) -> None:
    first = page_of(coherent("js", 0.25))
    Path("docs/results.md").write_text(f"{first}\n## Another\n\nof hand\n")
    changed = page_of(coherent("other", 0.75))
    assert changed.startswith("# Results\n")
    assert "| other | 0.750 |" in changed
    assert "| js |" not in changed
    assert changed.endswith("\n## Another\n\nof hand\n")
    Path("docs/results.md").write_text(changed.replace("<!-- end of study.yaml -->", ""))
    with pytest.raises(MmjsdError, match=r"results.md: has no line `<!-- end of study.yaml -->`"):
        page_of(coherent("third", 0.5))


def test_the_parameter_file_says_what_it_asks(folder: Path) -> None:
    Path("study.yaml").write_text("# Rivals: which is best.\nseeds: [1]\n")
    with pytest.raises(MmjsdError, match=r"study.yaml: must begin with a comment .* and the command"):
        page_of(coherent("js", 0.25))


def test_the_command_reads_a_finished_project(
    made: tuple[Project, Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And refuses what was made with other parameters, or not at all."""
    monkeypatch.chdir(made[0].folder)
    study, page = tmp_path / "study.yaml", tmp_path / "results.md"
    content = yaml.safe_load(Path("params.yaml").read_text())
    command = ["results", "--params", str(study), "--page", str(page)]
    study.write_text(COMMENT.partition("seeds")[0] + yaml.safe_dump(content))
    assert main(command) == 0
    assert len(cells(page.read_text(), "js")) > 4
    written = page.read_bytes()
    assert main(command) == 0
    assert page.read_bytes() == written

    for changed, told in (
        (content["training"] | {"beta": 3.0}, "training.record.json: was made with other parameters than"),
        (content["training"], "results/tiny/js/seed-2/training.record.json: not there yet; `snakemake"),
    ):
        seeds = content["seeds"] if "other" in told else [2]
        study.write_text(
            COMMENT.partition("seeds")[0] + yaml.safe_dump(content | {"training": changed, "seeds": seeds})
        )
        capsys.readouterr()
        assert main(command) == 1
        assert told in capsys.readouterr().err
        assert page.read_bytes() == written


def test_the_readme_quotes_the_page() -> None:
    readme, page = ((REPOSITORY / name).read_text() for name in ("README.md", "docs/results.md"))
    columns = [
        "conditional coherence, mean",
        "latent accuracy, mean",
        "R² of predicted vectors, mean",
        "training time",
    ]
    section = page.partition("<!-- configs/mfeat.yaml -->")[2]
    places = [cells(section, "run").index(column) for column in columns]
    for name in ("mmjsd", "mvae", "mmvae", "mopoe", "mvtcae", "mmvm"):
        assert cells(readme, name) == [cells(section, name)[place] for place in places]
