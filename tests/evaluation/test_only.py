"""`mmjsd evaluate --only` on a run that real steps made."""

import json
from pathlib import Path

import pytest
import yaml

from mmjsd import registry
from mmjsd.cli import main
from support.project import SMALLEST

METRICS = Path("results/tiny/js/seed-1/metrics.json")


def write(**evaluation: int | str) -> None:
    params = SMALLEST | {"evaluation": {**SMALLEST["evaluation"], **evaluation}}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails prints."""
    assert main(["evaluate", "js", *arguments]) == 1
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    return line


def test_one_metric_follows_its_changed_option(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads(METRICS.read_bytes())
    write(importance_samples=3)
    assert main(["evaluate", "js", "--only", "likelihood"]) == 0
    found = json.loads(METRICS.read_bytes())
    changed = {key.partition("/")[0] for key in found if "seconds" not in key and found[key] != before[key]}
    assert changed == {"likelihood", "likelihood_error"}
    assert found["meta/evaluation_seconds/quality"] == before["meta/evaluation_seconds/quality"]
    capsys.readouterr()
    assert main(["evaluate", "js"]) == 0
    assert "is up to date" in capsys.readouterr().out  # the record is of all of it
    assert main(["evaluate", "js", "--force"]) == 0
    again = json.loads(METRICS.read_bytes())
    assert {k: v for k, v in found.items() if "seconds" not in k} == {
        k: v for k, v in again.items() if "seconds" not in k
    }


def test_the_files_of_a_metric_are_its_own(evaluated: Path) -> None:
    """A lost one is made by the metric it is of, and the others cannot be kept without it."""
    METRICS.with_name("prd.csv").unlink()
    assert main(["evaluate", "js", "--only", "likelihood"]) == 1
    assert main(["evaluate", "js", "--only", "quality"]) == 0
    assert METRICS.with_name("prd.csv").exists()
    assert main(["evaluate", "js", "--only", "likelihood", "--only", "coherence"]) == 0


@pytest.mark.parametrize("evaluation", [{"quality_samples": 21}, {"threads": 2}])
def test_metrics_of_other_parameters_are_not_kept(
    evaluated: Path, evaluation: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = METRICS.read_bytes()
    write(**evaluation)
    (option,) = evaluation
    others = ", ".join(name for name in registry.entries("metrics") if name != "likelihood")
    line = f"{METRICS}: {others} cannot be kept (other params: {option})"
    assert told(capsys, "--only", "likelihood") == f"{line}; evaluate without --only"
    assert METRICS.read_bytes() == before


def test_metrics_of_another_model_are_not_kept(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with METRICS.with_name("model.safetensors").open("ab") as file:
        file.write(b" ")
    assert "cannot be kept (other inputs: results/tiny/js/seed-1/model.safetensors)" in told(
        capsys, "--only", "likelihood"
    )


def test_metrics_that_were_edited_or_lost_are_not_kept(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    METRICS.write_bytes(METRICS.read_bytes() + b" ")
    assert f"cannot be kept (other outputs: {METRICS})" in told(capsys, "--only", "likelihood")
    METRICS.unlink()
    assert f"cannot be kept ({METRICS} is missing)" in told(capsys, "--only", "likelihood")


def test_a_metric_that_there_is_not_is_told(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = told(capsys, "--only", "likelyhood")
    assert line == "likelyhood: not one of the metrics; did you mean likelihood?"


def test_a_split_that_the_data_lack_is_told(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = METRICS.read_bytes()
    write(split="val")
    line = "data/tiny.h5: has no split val to judge on; give it one by datasets.tiny.options.validation_share"
    assert f"{line}, or set evaluation.split: test" in told(capsys)
    assert METRICS.read_bytes() == before
