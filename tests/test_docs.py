"""That the pages name what there is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import mmjsd.objectives
from mmjsd import params
from mmjsd.modalities import Modality
from mmjsd.models.vae import MultimodalVAE

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@each_page
def test_lines_fit_on_a_screen(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if len(line) > 120] == []


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@each_page
def test_files_that_are_named_are_there(page: Path) -> None:
    here = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "tests", "benchmarks", "workflow", "configs", "docs")
        for path in (ROOT / folder).rglob("*")
    }
    names = re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|smk|yaml))`", page.read_text())
    theirs = re.compile(r"params\.yaml|dvc\.yaml|.*<.*|my_package.*")  # at the root, or of the reader
    missing = [
        name
        for name in names
        if not theirs.fullmatch(name) and not any(f"/{p}".endswith(f"/{name}") for p in here)
    ]
    assert missing == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert mmjsd.__version__ == project["version"] == citation["version"]
    assert f"## {mmjsd.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_objective_of_the_example_is_all_that_it_takes() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    written, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = vars(mmjsd.objectives).copy()
    exec(written, names)
    name, place = re.fullmatch(r'"(\w+)": "mmjsd\.objectives:(\w+)",\n', line).groups()  # type: ignore[union-attr]
    assert name in page.partition("That is all")[2]
    objective = names[place](
        MultimodalVAE([Modality("x", "vector", (2,), 2)], shared_latent=2, private_latent=0), beta=2.0
    )
    assert objective.divergences(torch.tensor(3.0), 0.0, 1.0) == 3.0


def test_the_sweep_of_the_readme_can_be_added_to_the_demo(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(sweeps:\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + block)
    assert yaml.safe_load(block)["sweeps"].keys() == {"digits"}
    runs = params.load(path).sweeps["digits"]
    assert next(iter(runs)) == "digits-beta=1.0-objective=mmjsd"
    assert len(runs) == 5
