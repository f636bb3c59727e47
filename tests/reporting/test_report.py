import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmjsd.errors import MmjsdError
from mmjsd.pipeline.steps import TEMPLATE
from mmjsd.reporting.report import write_report

METRICS = {
    "representation/accuracy/mean": 0.5,
    "coherence/conditional/mean": 0.25,
    "coherence/random": 0.125,
    "coherence_error/random": 0.01,
    "likelihood/a/joint": -120.5,
    "meta/data_sha256": "0123abcd",
    "meta/embedding": "classifier",
    "meta/device": "cpu",
    "meta/train_seconds": 75.0,
    "meta/train_samples_per_second": 1000.0,
    "meta/evaluation_seconds/total": 20.0,
}
RUN = {"objective": "mmjsd", "shared_latent": 20, "private_latent": 0, "epochs": 2, "weights": {"a": 1.0}}


def figures(folder: Path, **captions: str) -> None:
    folder.mkdir(parents=True)
    for name in captions:
        Image.new("RGB", (64, 32), "red").save(folder / f"{name}.png")
    content = {f"{name}.png": caption for name, caption in captions.items()}
    (folder / "captions.json").write_text(json.dumps(content))


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    rows = []
    for run, coherence in {"js": 0.25, "moe<b>": 0.75}.items():
        folder = tmp_path / run
        figures(folder / "figures", random="At *random* & so on", latents="A `map`")
        (folder / "metrics.json").write_text(json.dumps(METRICS | {"coherence/random": coherence}))
        record = {
            "inputs": {"model.safetensors": "4567ef"},
            "outputs": {},
            "params": {},
            "made": {"git.commit": "89abcd"},
        }
        (folder / "evaluation.record.json").write_text(json.dumps(record))
        rows.append(
            {"dataset": "digits", "kind": "pictures", "source": "standin", "run": run, "seed": 1}
            | {"objective": "mmjsd", "subspaces": False}
            | {"folder": str(folder), "metrics": str(folder / "metrics.json")}
        )
    figures(tmp_path / "figures", training="Curves")
    return {
        "rows": rows,
        "datasets": {
            "digits": {"kind": "pictures", "source": "standin", "figures": str(tmp_path / "figures")}
        },
        "runs": {"js": RUN, "moe<b>": RUN},
        "evaluation": {"train_samples": 500},
        "published": tmp_path / "published.yaml",
        "template": TEMPLATE,
        "out": tmp_path / "report.html",
    }


def test_everything_is_in_one_file(arguments: dict[str, Any]) -> None:
    write_report(**arguments)
    page = arguments["out"].read_text()
    assert page.count("<img ") == 5
    assert all(source.startswith("data:image/") for source in re.findall(r'(?:src|href)="([^#][^"]*)"', page))
    assert "<b>generated stand-in data</b>" in page
    assert "<b>0.750</b>" in page
    for told in (
        "At *random* &amp; so on",
        "A <code>map</code>",
        "0123abcd",
        "4567ef",
        "89abcd",
        "weights.a",
        "0.5",
    ):
        assert told in page
    assert (
        page.index("<b>0.750</b>") < page.index("Curves") < page.index("At *random*") < page.index("0123abcd")
    )


def test_names_are_not_taken_for_html(arguments: dict[str, Any]) -> None:
    write_report(**arguments)
    page = arguments["out"].read_text()
    assert "moe<b>" not in page
    assert "moe&lt;b&gt;" in page


def test_real_data_have_no_caveat(arguments: dict[str, Any]) -> None:
    for about in (*arguments["rows"], arguments["datasets"]["digits"]):
        about["source"] = "download"
    write_report(**arguments)
    page = arguments["out"].read_text()
    assert 'class="caveat"' not in page
    assert "the official files" in page


def test_a_missing_picture_is_named(arguments: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "js/figures/random.png").write_bytes(b"")
    with pytest.raises(MmjsdError, match=r"random\.png: missing or damaged; draw it again"):
        write_report(**arguments)
    assert not arguments["out"].exists()
    (tmp_path / "js/figures/captions.json").unlink()
    with pytest.raises(MmjsdError, match=r"captions\.json: no such file; make it with `mmjsd figures`"):
        write_report(**arguments)
