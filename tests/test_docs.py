"""That the pages name what there is."""

import re
from pathlib import Path

import pytest
import yaml

from mmjsd import params

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


def test_the_sweep_of_the_readme_can_be_added_to_the_demo(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(sweeps:\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + block)
    assert yaml.safe_load(block)["sweeps"].keys() == {"digits"}
    runs = params.load(path).sweeps["digits"]
    assert next(iter(runs)) == "digits-beta=1.0-objective=mmjsd"
    assert len(runs) == 5
