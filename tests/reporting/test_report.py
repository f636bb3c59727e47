import json
import re
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from PIL import Image, features

from mmjsd.errors import MmjsdError
from mmjsd.pipeline.steps import TEMPLATE
from mmjsd.reporting import report
from mmjsd.reporting.explorer import explore
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
    "meta/source_sha256/samples.csv": "5678",
    "meta/source_sha256/images/": "9abc",
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


def without_scripts(out: Path) -> str:
    return re.sub(r"<script.*?</script>", "", out.read_text(), flags=re.S)


def test_everything_is_in_one_file(arguments: dict[str, Any]) -> None:
    write_report(**arguments)
    page = without_scripts(arguments["out"])
    assert page.count("<img ") == 5
    assert all(source.startswith("data:image/") for source in re.findall(r'(?:src|href)="([^#][^"]*)"', page))
    assert "<b>stand-in data</b>" in page
    assert "<b>0.750</b>" in page
    for told in (
        "At *random* &amp; so on",
        "A <code>map</code>",
        "0123abcd",
        "4567ef",
        "89abcd",
        "weights.a",
        '<th scope="row">meta/source_sha256/samples.csv</th><td><code>5678',
        '<th scope="row">sha256 of all files that the store calls images/</th><td><code>9abc',
        "0.5",
    ):
        assert told in page
    assert (
        page.index("<b>0.750</b>") < page.index("Curves") < page.index("At *random*") < page.index("0123abcd")
    )


def test_names_are_not_taken_for_html(arguments: dict[str, Any]) -> None:
    write_report(**arguments)
    assert "moe<b>" not in arguments["out"].read_text()
    page = without_scripts(arguments["out"])
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


def test_readers_choose_two_metrics(arguments: dict[str, Any]) -> None:
    write_report(**arguments)
    page = arguments["out"].read_text()
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    chart = json.loads(content)
    js, moe = chart["data"]["values"]
    assert (js["run"], moe["run"]) == ("js", "moe<b>")
    assert moe["of"]["coherence/random"] == [0.75, 0.01]
    assert js["of"]["likelihood/a/joint"] == [-120.5]  # nothing is known of how it varies
    assert "meta/train_samples_per_second" not in js["of"]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for controlled in chart["params"][1:]:
        assert controlled["bind"]["element"].removeprefix("#") in ids
    assert js["anchor"] == "#js-1"
    assert "js-1" in ids
    for metric in js["of"]:
        assert page.count(f'<option value="{metric}"') == 2


def test_how_numbers_are_read_is_in_the_page(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file with their definitions is named only where there is one."""
    monkeypatch.chdir(tmp_path)
    write_report(**arguments)
    page = without_scripts(arguments["out"])
    assert "docs/numbers.md" not in page
    assert '<a href="#digits-metrics">' in page
    reading = page.partition('id="digits-metrics"')[2]
    assert "how often modality j" in reading
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/numbers.md").write_text("# How the numbers are defined")
    write_report(**arguments)
    assert "<code>docs/numbers.md</code>" in arguments["out"].read_text()


def test_the_chart_is_valid_and_shows_each_run() -> None:
    """As Vega-Lite draws it, with the bars of the metrics whose spread is known."""
    metrics = {"js": [METRICS], "moe": [METRICS | {"coherence/random": 0.75}], "none": [{}]}
    explorer = explore(metrics, {run: run for run in metrics}, "")
    assert explorer
    drawn = vl_convert.vegalite_to_svg(dict(explorer.specification) | {"width": 300})
    assert drawn.count('aria-roledescription="circle"') == 2
    assert "random coherence" in drawn
    assert ">moe</text>" in drawn


def test_what_runs_lack_is_said_in_a_line_each(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Of an older version, or of another kind of data."""
    (tmp_path / "js/metrics.json").write_text(json.dumps({"coherence/random": 0.25}))
    write_report(**arguments)
    page = without_scripts(arguments["out"])
    assert page.count("which others have") == 1
    line = re.findall(r"<p[^>]*>(.*?)</p>", page)
    assert (
        "js, seed 1 lacks conditional coherence, mean, latent accuracy, mean, log-likelihood, joint "
        "and 1 more, which others have."
    ) in line
    assert "mmjsd, shared latent 20; 2 epochs." in line
    for run in ("js", "moe<b>"):
        (tmp_path / run / "metrics.json").write_text("{}")
    write_report(**arguments)
    page = arguments["out"].read_text()
    assert 'id="library"' not in page  # nothing to choose from
    assert page.count("<img ") == 5


def test_of_many_runs_the_best_are_shown_and_the_others_linked(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "EMBEDDED", 1)
    (tmp_path / "moe<b>/metrics.json").write_text(json.dumps(METRICS | {"coherence/conditional/mean": 0.5}))
    write_report(**arguments)
    page = without_scripts(arguments["out"])
    assert re.findall(r'alt="(\w+) of (\S+),', page)[:3] == [
        ("random", "moe&lt;b&gt;"),
        ("latents", "moe&lt;b&gt;"),
    ]
    linked = re.findall(r'href="([^#][^"]*)"', page)
    assert linked == ["js/figures/random.png", "js/figures/latents.png"]
    assert all((tmp_path / link).is_file() for link in linked)


def test_pictures_are_of_another_format_where_pillow_has_no_avif(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "check", lambda feature: False)
    write_report(**arguments)
    page = without_scripts(arguments["out"])
    assert page.count("data:image/webp;base64,") == page.count("<img ") == 5
