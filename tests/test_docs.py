"""That the pages name what there is, and that the site is built of them."""

import importlib.util
import io
import pkgutil
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dvc.cli
import pytest
import snakemake.cli
import torch
import yaml
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

import mmjsd.objectives
from mmjsd import cli, params
from mmjsd.data.batches import Batch
from mmjsd.modalities import Modality
from mmjsd.models.vae import MultimodalVAE
from support.project import Project

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(page: str, language: str, start: str = "") -> str:
    """The one block of code of a page that is of a language and begins so."""
    (text,) = re.findall(rf"```{language}\n((?:{start}).*?)```", (ROOT / page).read_text(), re.DOTALL)
    return text


def added(text: str, base: Path) -> str:
    """Parameters with the keys of a block in place of theirs."""
    return yaml.safe_dump(yaml.safe_load(base.read_text()) | yaml.safe_load(text))


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@each_page
def test_lines_fit_on_a_screen(page: Path) -> None:
    generated = ("|", "![") if page.name == "results.md" else ()
    lines = (line for line in page.read_text().splitlines() if not line.startswith(generated))
    assert [line for line in lines if len(line) > 120] == []


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
    # at the root, or of the reader
    theirs = re.compile(r"params\.yaml|dvc\.yaml|.*<.*|(my_package|src/study).*")
    missing = [
        name
        for name in names
        if not theirs.fullmatch(name) and not any(f"/{p}".endswith(f"/{name}") for p in here)
    ]
    assert missing == []


def commands(page: Path) -> list[list[str]]:
    """What people type after `uv run` and its options, in words."""
    typed = re.findall(r"^ {4,}(.*uv run .*)$|`(uv run [^`]+)`", page.read_text(), re.MULTILINE)
    each = [
        part
        for line in typed
        for part in re.split(r"&&|\s# ", "".join(line))
        if part.lstrip().startswith("uv run ")
    ]
    return [shlex.split(re.sub(r"^\s*uv run (--\w+ \w+ )?", "", part).partition(" > ")[0]) for part in each]


@each_page
def test_commands_can_be_typed(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is read by its own program, which need not do it; the files of this repository in it are there."""
    parsers: dict[str, Callable[[list[str]], Any]] = {
        "mmjsd": cli._parser().parse_args,
        "snakemake": snakemake.cli.get_argument_parser().parse_args,
        "dvc": dvc.cli.parse_args,
    }
    for program, *rest in commands(page):
        if program in parsers:
            try:
                parsers[program](rest)
            except (SystemExit, dvc.cli.DvcParserError):
                if rest != ["--help"]:
                    pytest.fail(f"{program} {rest}: {capsys.readouterr().err}")
        elif (program, *rest[:1]) == ("python", "-m"):
            assert importlib.util.find_spec(rest[1]), rest
        else:
            assert (ROOT / program).is_file() or (Path(sys.executable).parent / program).is_file(), program
        ours = [word for word in rest if re.match("(tests|benchmarks|configs|profiles|docs)/[a-z]", word)]
        assert [word for word in ours if not (ROOT / word).exists()] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert mmjsd.__version__ == project["version"] == citation["version"]
    assert f"## {mmjsd.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
    wheels = {wheel for page in PAGES for wheel in re.findall(r"mmjsd-([\w.]+)-py3", page.read_text())}
    assert wheels == {mmjsd.__version__}


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


@pytest.mark.parametrize(
    ("page", "first", "runs"),
    [
        ("README.md", "digits-beta=1.0-objective=mmjsd", 5),
        ("docs/cluster.md", "strength-beta=0.5-objective=mmjsd", 9),
    ],
)
def test_a_sweep_can_be_added_to_the_demo(page: str, first: str, runs: int, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(added(block(page, "yaml", "(?:seeds.*\n)?sweeps:"), ROOT / "params.yaml"))
    (sweep,) = params.load(path).sweeps.values()
    assert (next(iter(sweep)), len(sweep)) == (first, runs)


def test_an_objective_of_ones_own_is_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "docs/your-own-objective.md"
    package = tmp_path / "site/study"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "objectives.py").write_text(block(page, "python"))
    about = tmp_path / "site/study-0.1.dist-info"  # as an installer leaves it
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: study\nVersion: 0.1\n")
    ((group, entries),) = tomllib.loads(block(page, "toml"))["project"]["entry-points"].items()
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    (tmp_path / "study").mkdir()
    project = Project(tmp_path / "study")
    project.write(yaml.safe_load(added(block(page, "yaml"), ROOT / "src/mmjsd/starter/params.yaml")))
    project.environment["PYTHONPATH"] = str(package.parent)
    checked = project.call(sys.executable, "-m", "mmjsd", "params", "check")
    assert checked.code == 0, checked.output
    (compared,) = (words[3:] for words in commands(ROOT / page) if words[1] == "compare")
    assert len(compared) == 2
    assert all(run in checked.output for run in compared)

    monkeypatch.syspath_prepend(package.parent)
    objective = pkgutil.resolve_name(entries["joint_elbo"])
    few, many = (
        objective(
            MultimodalVAE([Modality("x", "vector", (2,), 2)], shared_latent=2, private_latent=0),
            free_bits=bits,
        )(Batch({"x": torch.zeros(3, 2)}, None)).terms["divergence/content"]
        for bits in (0.0, 50.0)
    )
    assert few < many == 50


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of Sphinx, for its extensions
def test_the_site_is_built_of_the_pages_and_needs_no_network(tmp_path: Path) -> None:
    """Each link to a page, heading or file is checked, as any other warning of Sphinx would fail this."""
    site, warnings = tmp_path / "site", io.StringIO()
    with docutils_namespace(), patch_docutils(ROOT / "docs"):
        Sphinx(ROOT, ROOT / "docs", site, tmp_path / "trees", "html", status=None, warning=warnings).build()
    assert warnings.getvalue() == ""
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert pages.keys() >= {
        "index.html",
        *(page.relative_to(ROOT).with_suffix(".html").as_posix() for page in PAGES),
    }
    assert "Sutter, Daunhawer &amp; Vogt 2020, Eq. 7" in pages["docs/api.html"]
    styles = {path.name: path.read_text() for path in site.rglob("*.css")}
    elsewhere = r"""(src=|<link[^>]*href=|url\(|@import )["']?(https?:)?//"""
    assert [name for name, text in (pages | styles).items() if re.search(elsewhere, text)] == []
