"""`mmjsd compare --test`, on files as evaluations leave them."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from mmjsd.cli import main

PARAMS = """
seeds: [{seeds}]
datasets: {{tiny: {{kind: mnist_svhn_text}}, others: {{kind: mnist_svhn_text}}}}
runs:
  js: {{dataset: tiny, objective: mmjsd}}
  moe: {{dataset: tiny, objective: mmvae}}
  far: {{dataset: others, objective: mmvae}}
"""
HEADLINE = {
    "coherence/conditional/mean": 0.5,
    "coherence_error/conditional/mean": 0.01,
    "coherence/random": 0.25,
    "coherence_error/random": 0.02,
    "quality/prd_mean/random/svhn": 0.75,
    "quality/fid/random/svhn": 30.0,
    "likelihood/mnist-svhn/joint": -2000.0,
    "likelihood_error/mnist-svhn/joint": 15.0,
    "meta/seed": 1,
}
RECORD: dict[str, Any] = {
    "params": {"random_samples": 10, "threads": 1},
    "inputs": {"results/tiny/classifiers/svhn/model.safetensors": "12", "data/tiny.h5": "34"},
    "outputs": {},
    "made": {},
}


class Runs:
    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, run: str, seed: int = 1, record: dict[str, Any] = RECORD, **changed: Any) -> None:
        folder = self.folder / f"results/tiny/{run}/seed-{seed}"
        folder.mkdir(parents=True)
        named = {key.replace("__", "/"): value for key, value in changed.items()}
        metrics = {key: value for key, value in {**HEADLINE, **named}.items() if value is not None}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "evaluation.record.json").write_text(json.dumps(record))

    def seeds(self, *seeds: int) -> None:
        (self.folder / "params.yaml").write_text(PARAMS.format(seeds=", ".join(map(str, seeds))))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    made = Runs(tmp_path)
    made.seeds(1)
    return made


def cells(text: str) -> dict[str, list[str]]:
    """By the first cell of each line, the others."""
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) > 1}


def compared(capsys: pytest.CaptureFixture[str], *arguments: str, a: str = "js", b: str = "moe") -> str:
    assert main(["compare", "--test", a, b, *arguments]) == 0
    return capsys.readouterr().out


def test_runs_of_one_seed(capsys: pytest.CaptureFixture[str], runs: Runs) -> None:
    runs.add("js", coherence__conditional__mean=0.6, likelihood__x=None)
    runs.add("moe", **{"likelihood/mnist-svhn/joint": -1900.0})
    text = compared(capsys)
    found = cells(text)
    assert found["metric"] == ["js", "moe", "difference", "95% interval", "by", "p", "better"]
    assert found["conditional coherence, mean"] == [
        *("0.600", "0.500", "+0.100", "+0.072 to +0.128", "test samples"),
        *(f"{3 * 2 * stats.norm.sf(0.1 / (0.01 * 2**0.5)):.2g}", "js"),
    ]
    assert found["log-likelihood, joint"][-1] == "moe"
    assert found["random coherence"][-3:] == ["test samples", "1", "not settled"]
    assert found["random images, PRD mean"] == [
        "0.750",
        "0.750",
        "+0.000",
        "unknown",
        "nothing",
        "not settled",
    ]
    assert "adjusted for 3 metrics (Holm)" in text  # the fourth has no p
    assert text.endswith("One seed does not show how training varies.\n")
    assert not (runs.folder / "results/comparison.csv").exists()


def test_runs_of_several_seeds(capsys: pytest.CaptureFixture[str], runs: Runs) -> None:
    runs.seeds(1, 2, 3)
    values = {"js": [30.0, 31.0, 29.5], "moe": [40.0, 38.0, 41.0]}
    for run, of_run in values.items():
        for seed, value in enumerate(of_run, 1):
            runs.add(run, seed, quality__fid__random__svhn=value)
    text = compared(capsys, "--metric", "quality/fid/random/svhn")
    expected = stats.ttest_ind(values["js"], values["moe"], equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert cells(text)["quality/fid/random/svhn"] == [
        *("30.167 ± 0.764", "39.667 ± 1.528", "-9.500", f"{low:+.3f} to {high:+.3f}", "seeds"),
        *(f"{expected.pvalue:.2g}", "js"),  # less is better
    ]
    assert "Holm" not in text
    assert "One seed" not in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--test js moee", "moee: no such run; did you mean moe?"),
        ("--test js js", "js: would be compared with itself; name two runs"),
        (
            "--test js far",
            "js and far: are of different datasets, tiny and others; compare runs of one dataset",
        ),
        ("--metric coherence/random", "--metric: has no effect without --test RUN_A RUN_B"),
        (
            "--test js moe --metric likelihood_error/joint",
            "likelihood_error/joint: no such metric of these runs; did you mean likelihood/joint?",
        ),
        (
            "--test js moe --metric coherence/randm",
            "coherence/randm: no such metric of these runs; did you mean coherence/random?",
        ),
        (
            "--test js moe --metric quality/fid/random/svhn",
            "results/tiny/moe/seed-1/metrics.json: has no quality/fid/random/svhn, which others have; "
            "evaluate it again, or name the metrics to compare with --metric",
        ),
    ],
)
def test_what_cannot_be_compared(
    capsys: pytest.CaptureFixture[str], runs: Runs, arguments: str, line: str
) -> None:
    runs.add("js")
    runs.add("moe", quality__fid__random__svhn=None)
    assert main(["compare", *arguments.split()]) == 1
    assert capsys.readouterr().err.strip() == line


def test_a_run_that_is_not_evaluated(capsys: pytest.CaptureFixture[str], runs: Runs) -> None:
    runs.add("js")
    assert main(["compare", "--test", "js", "moe"]) == 1
    assert capsys.readouterr().err.strip() == (
        "results/tiny/moe/seed-1/metrics.json: not there yet; `mmjsd evaluate moe --seed 1` makes it"
    )


@pytest.mark.parametrize(
    ("part", "changed", "told"),
    [
        ("params", {"random_samples": 20}, "random_samples"),
        ("inputs", {"data/tiny.h5": "56"}, "data/tiny.h5"),
        (
            "inputs",
            {"results/tiny/classifiers/svhn/model.safetensors": "0"},
            "results/tiny/classifiers/svhn/mod",
        ),
        ("params", {"threads": 4}, None),
        ("inputs", {"results/tiny/moe/seed-1/model.safetensors": "1"}, None),
    ],
)
def test_evaluations_must_be_alike(
    capsys: pytest.CaptureFixture[str], runs: Runs, part: str, changed: dict[str, Any], told: str | None
) -> None:
    runs.add("js")
    runs.add("moe", record={**RECORD, part: RECORD[part] | changed})
    code = main(["compare", "--test", "js", "moe"])
    error = capsys.readouterr().err
    if told is None:
        assert (code, error) == (0, "")
        return
    assert code == 1
    assert error.startswith(
        "results/tiny/moe/seed-1/evaluation.record.json: was not evaluated as "
        f"results/tiny/js/seed-1/evaluation.record.json was (other {told}"
    )
    assert error.count("\n") == 1
