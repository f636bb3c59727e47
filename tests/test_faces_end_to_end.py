"""From stand-in faces to figures, with the commands a user types."""

import json
import math
import re

import pytest
import yaml

from mmjsd.cli import main
from mmjsd.data.store import read_store
from mmjsd.evaluation.trained import load_trained
from mmjsd.reporting.attributes import manipulation
from mmjsd.reporting.shown import Shown, ShownAttributes
from support.training import train_judges_briefly

PARAMS = {
    "datasets": {
        "faces": {
            "kind": "celeba",
            "options": {"standin_train": 120, "standin_val": 10, "standin_test": 60},
        }
    },
    "evaluation": {
        "train_samples": 100,
        "random_samples": 60,
        "quality_samples": 60,
        "classifier_epochs": 1,
        "likelihood_pairs": 4,
        "importance_samples": 2,
        "threads": 1,
    },
    "runs": {
        "js": {
            "dataset": "faces",
            "objective": "mmjsd",
            "private_latent": 2,
            "shared_latent": 4,
            "network_width": 0.05,
            "batch_size": 30,
            "epochs": 1,
            "threads": 1,
            "device": "cpu",
            "tracking": "after",
        }
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory in which every step was made."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    steps = ["data build faces", "classify faces image", "classify faces text", "train js", "evaluate js"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_judges_briefly(patch)
        for step in [*steps, "figures js", "curves faces", "compare", "report"]:
            assert main(step.split()) == 0, step
    return folder


def test_attributes_are_judged_by_average_precision(folder):
    content = (folder / "results/faces/js/seed-1/metrics.json").read_bytes()
    metrics = json.loads(content, parse_constant=pytest.fail)  # no NaN, though random samples hardly vary
    for subset in ("image", "text", "image-text", "mean"):
        assert 0 < metrics[f"representation/average_precision/{subset}"] < 1
    assert [key for key in metrics if any(other.startswith(f"{key}/") for other in metrics)] == []
    for key in ("coherence/conditional/text/image", "classifier/average_precision/image"):
        assert 0 < metrics[key] < 1
    assert "representation/accuracy/image" not in metrics
    each = [
        v for k, v in metrics.items() if k.startswith("attributes/") and k.endswith("/representation/text")
    ]
    assert 30 < len(each) <= 40
    assert math.isclose(sum(each) / len(each), metrics["representation/average_precision/text"], rel_tol=1e-6)
    assert 0 < metrics["attributes/Smiling/frequency"] < 1
    assert {"quality/fid/text/image", "likelihood/image/joint"} <= metrics.keys()
    assert not any(key.startswith("quality/") and key.endswith("/text") for key in metrics)


def test_the_figures_of_attributes_are_drawn(folder):
    captions = json.loads((folder / "results/faces/js/seed-1/figures/captions.json").read_bytes())
    assert {"attributes.png", "manipulation.png", "swapping.png"} <= captions.keys()
    assert "one attribute is added" in captions["manipulation.png"]
    assert "Underlined: words that the text" in captions["conditional-image.png"]


def test_tables_leave_single_attributes_to_the_metrics_file(folder):
    page = (folder / "results/comparison.md").read_text()
    assert "latent average precision, mean" in page
    assert "attributes/" not in page
    assert "Average precision of the judges" in page
    assert "manipulation" in (folder / "results/report.html").read_text()


def test_the_best_and_the_worst_attributes_are_manipulated(folder):
    run = folder / "results/faces/js/seed-1"
    trained = load_trained(run, read_store(folder / "data/faces.h5"))
    metrics = json.loads((run / "metrics.json").read_bytes())
    shown = Shown(trained, metrics, ShownAttributes())
    figure, _ = manipulation(shown)
    (ax,) = figure.axes
    written = [text.get_text() for text in ax.texts]
    heads = [match.groups() for text in written if (match := re.match(r"(.+) (-?\d\.\d\d)$", text))]
    assert len(heads) == 12
    gains = {}
    for name in trained.classes:
        frequency = metrics.get(f"attributes/{name}/frequency", 0)
        if 0.05 <= frequency <= 0.95:
            precision = metrics[f"attributes/{name}/coherence/text/image"]
            gains[name.replace("_", " ").lower()] = (precision - frequency) / (1 - frequency)
    ranked = sorted(gains.values(), reverse=True)
    assert [float(gain) for _, gain in heads] == pytest.approx([*ranked[:6], *ranked[-6:]], abs=0.006)
    assert all(float(gain) == pytest.approx(gains[name], abs=0.006) for name, gain in heads)
    assert sum(text in "+−" for text in written) == 12 * 8
    assert manipulation(shown._replace(metrics={})).caption.startswith("Not drawn: how well image shows")
