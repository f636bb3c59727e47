"""From a table of one's own to figures, by the commands a user types: with classes, attributes, nothing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import mmjsd
from mmjsd import params
from mmjsd.cli import main
from mmjsd.data.store import read_store
from mmjsd.data.tables.breast_cancer import write_breast_cancer
from mmjsd.data.tables.reading import TableFile
from support.cohort import MODALITIES, write_cohort
from support.training import train_judges_briefly

ROOT = Path(__file__).parents[1]

OPTIONS: dict[str, dict[str, Any]] = {
    "classes": {"label": "subtype"},
    "attributes": {"labels": ["smoker", "relapse"]},
    "plain": {"split": "split"},
}
NAMES = {
    "classes": ("rna", "scan", "report"),
    "attributes": ("scan", "report"),
    "plain": ("clinical", "scan"),
}
for key, names in NAMES.items():
    OPTIONS[key]["modalities"] = {name: MODALITIES[name] for name in names}

PARAMS: dict[str, Any] = {
    "datasets": {
        key: {"kind": "table", "source": "cohort", "options": options} for key, options in OPTIONS.items()
    },
    "training": {"shared_latent": 4, "network_width": 0.05, "batch_size": 32, "epochs": 1, "threads": 1},
    "evaluation": {
        "train_samples": 50,
        "random_samples": 20,
        "quality_samples": 20,
        "classifier_epochs": 1,
        "likelihood_pairs": 4,
        "importance_samples": 2,
        "threads": 1,
    },
    "runs": {
        f"js-{key}": {"dataset": key, "objective": "mmjsd", "device": "cpu"}
        for key in ("classes", "attributes", "plain")
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which every step was made."""
    folder = tmp_path_factory.mktemp("table")
    write_cohort(folder / "cohort", 240)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_judges_briefly(patch)
        for key in PARAMS["datasets"]:
            judges = [f"classify {key} {name}" for name in OPTIONS[key]["modalities"] if key != "plain"]
            run = [f"{step} js-{key}" for step in ("train", "evaluate", "figures")]
            for step in [f"data build {key}", *judges, *run, f"curves {key}"]:
                assert main(step.split()) == 0, step
        for step in ("compare", "report"):
            assert main([step]) == 0, step
    return folder


def metrics_of(folder: Path, key: str) -> dict[str, Any]:
    content = (folder / f"results/{key}/js-{key}/seed-1/metrics.json").read_bytes()
    return json.loads(content, parse_constant=pytest.fail)


def test_every_subset_of_modalities_is_judged(folder: Path) -> None:
    classes, attributes = metrics_of(folder, "classes"), metrics_of(folder, "attributes")
    for subset in ("rna", "scan", "report", "rna-report", "rna-scan-report"):
        assert 0 <= classes[f"representation/accuracy/{subset}"] <= 1
        assert 0 <= classes[f"coherence/conditional/{subset}/rna"] <= 1
    for subset in ("scan", "report", "scan-report"):
        assert 0 <= attributes[f"representation/average_precision/{subset}"] <= 1
    assert set(name for name in attributes if name.endswith("/frequency")) == {
        "attributes/smoker/frequency",
        "attributes/relapse/frequency",
    }
    assert {"meta/source_sha256/samples.csv", "meta/source_sha256/images/"} <= classes.keys()


def test_without_labels_what_needs_them_is_left_out(folder: Path) -> None:
    metrics = metrics_of(folder, "plain")
    assert metrics["likelihood/clinical-scan/joint"] < 0
    assert metrics["prediction/mean"] == metrics["prediction/scan/clinical"] < 1
    assert metrics["prediction/clinical/scan"] > 0
    assert not any(key.startswith(("representation", "coherence", "classifier")) for key in metrics)
    assert not (folder / "results/plain/classifiers").exists()
    figures = json.loads((folder / "results/plain/js-plain/seed-1/figures/captions.json").read_bytes())
    names = ("random", "conditional-clinical", "prediction", "prediction-by-column", "latents")
    assert {f"{name}.png" for name in names} <= figures.keys()
    assert "in the units of the data" in figures["prediction.png"]
    assert "scores.png" not in figures
    for page in ("comparison.md", "report.html"):
        assert "The data have no labels: representation, coherence" in (folder / "results" / page).read_text()


def test_the_figure_of_changed_words_is_for_texts_that_name_attributes(folder: Path) -> None:
    captions = (folder / "results/attributes/js-attributes/seed-1/figures/captions.json").read_text()
    assert "no text that names the attributes" in json.loads(captions)["manipulation.png"]


def test_what_a_run_came_from_is_followed_to_the_tables(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["provenance", "results/classes/js-classes/seed-1"]) == 0
    told = capsys.readouterr().out
    assert "cohort/samples.csv" in told
    assert "cohort/rna.csv" in told
    assert "every hash holds" in told
    assert "report" in (folder / "results/report.html").read_text()


@pytest.mark.parametrize("name", ["samples.csv", "rna.csv", "scans/0.png"])
def test_a_changed_file_makes_the_store_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(folder)
    path = folder / "cohort" / name
    content = path.read_bytes()
    for change, made in ((b"", False), (b"\n", True), (b"", True)):
        path.write_bytes(content + change)
        assert main(["data", "build", "classes"]) == 0
        assert ("240 samples (192 train, 48 test)" in capsys.readouterr().out) == made


def test_a_trained_model_speaks_in_the_units_of_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its vectors are given and generated so, in Python and on the command line."""
    monkeypatch.chdir(folder)
    run = "results/plain/js-plain/seed-1"
    model, scale = mmjsd.load(run), read_store(Path("data/plain.h5")).splits["train"].modalities["clinical"]
    assert scale.columns == ("log1p(age)", "stage=I", "stage=II", "stage=III")
    assert model.scales["clinical"].columns == ["age", *scale.columns[1:]]

    def in_table(values: Any) -> Any:
        """Values as the table has them, an age and not its logarithm."""
        return np.concatenate([np.expm1(values[..., :1]), values[..., 1:]], -1)

    middle = in_table(scale.mean)
    assert middle[0] > 40
    np.testing.assert_allclose(model.prepare({"clinical": middle})["clinical"], 0, atol=1e-5)
    one_off = model.prepare({"clinical": [middle, in_table(scale.mean + scale.deviation)]})["clinical"]
    np.testing.assert_allclose(one_off, [[0] * 4, [1] * 4], atol=1e-4)
    # the network knows hardly more than the mean, but that it does
    generated = model.generate(n=400)["clinical"].numpy()
    np.testing.assert_allclose(generated[:, 1:].mean(0), middle[1:], atol=2 * scale.deviation[1:].max())
    assert 30 < generated[:, 0].mean() < 70
    picture = tmp_path / "generated.png"
    given = "clinical=" + ",".join(map(str, middle))
    assert main(["generate", run, "--given", given, "--n", "4", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 1000
    assert f"{picture}: has 4 samples of each modality" in capsys.readouterr().out


def test_the_medical_example_is_learnt_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very file of the project, with fewer epochs: the diagnosis from any view."""
    monkeypatch.chdir(tmp_path)
    train_judges_briefly(monkeypatch)
    write_breast_cancer(Path("sources/breast-cancer"))
    medical = yaml.safe_load((ROOT / "configs/medical.yaml").read_text())
    views = list(medical["datasets"]["breast-cancer"]["options"]["modalities"])
    medical["training"]["epochs"] = 15
    medical["training"]["device"] = medical["evaluation"]["device"] = "cpu"
    medical["evaluation"] |= {"classifier_epochs": 1, "random_samples": 20, "importance_samples": 2}
    Path("params.yaml").write_text(yaml.safe_dump(medical))
    judges = [f"classify breast-cancer {view}" for view in views]
    run = "cells-objective=mmjsd"
    for step in ("data build breast-cancer", *judges, f"train {run}", f"evaluate {run}"):
        assert main(step.split()) == 0, step
    store = read_store(Path("data/breast-cancer.h5"))
    assert sum(len(split.pairs) for split in store.splits.values()) == 569
    assert store.classes == ["benign", "malignant"]
    metrics = json.loads(Path(f"results/breast-cancer/{run}/seed-1/metrics.json").read_text())
    frequent = np.bincount(store.splits["test"].labels).max() / len(store.splits["test"].labels)
    for view in views:
        assert metrics[f"representation/accuracy/{view}"] > frequent + 0.1


def test_the_example_of_the_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options, and the rows that it shows."""
    page = (ROOT / "docs/your-own-data.md").read_text()
    block, *_ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("cohort").mkdir()
    Path("params.yaml").write_text(block)
    dataset = params.load("params.yaml").datasets["patients"]
    assert dataset.modalities == ("rna", "clinical", "scan", "report")
    rows = re.findall(r"^    (\S.*)$", page.split("```")[2].split("For a real")[0], re.MULTILINE)
    Path("cohort/samples.csv").write_text("\n".join(rows))
    table = TableFile(Path("cohort/samples.csv"))
    named = ["patient", "age", "stage", "path", "findings", "subtype", "split"]
    assert table.columns == named
    assert table.texts(["findings"])["findings"].to_pylist() == ["Mass in the left lobe, 2 cm", "No findings"]
