"""The documentation site: the repository's own pages, as they stand on GitHub, and the reference of the API.

    uv run sphinx-build -W -c docs . site

The source folder is that of the repository, so links between pages are the same in both places. What is
linked and is no page, such as a profile or a module, is copied into the site. Nothing is fetched.
"""

import contextlib
import re
from pathlib import Path
from typing import Any, get_type_hints

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from mmjsd import __version__

ROOT = Path(__file__).parents[1]

# which pages there are, in the order of the sidebar
PAGES = {
    "Use": [
        "docs/your-own-data",
        "docs/sharing",
        "docs/your-own-objective",
        "docs/paper",
        "docs/report",
        "docs/numbers",
        "docs/results",
    ],
    "Run": ["docs/cluster", "docs/distributed", "docs/gpu", "docs/versions", "docs/reliability"],
    "Develop": ["docs/extending", "docs/api", "CONTRIBUTING", "benchmarks/README", "CHANGELOG"],
}

project = "mmjsd"
author = copyright = "The mmjsd authors"
release = __version__
root_doc = "README"
_documents = [root_doc, *(page for pages in PAGES.values() for page in pages)]
include_patterns = [f"{page}.md" for page in _documents]
_folders = {page.partition("/")[0] for page in _documents}
# not even searched: environments and results have very many files
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in _folders]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
highlight_language = "none"
default_role = "code"
myst_heading_anchors = 4  # as GitHub's
autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
napoleon_use_rtype = False
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"mmjsd {release}"
html_copy_source = False


def add_sidebar(app: Sphinx, document: str, source: list[str]) -> None:
    """Hang all pages below the README, which on GitHub has no use for a table of contents."""
    if document == root_doc:
        for caption, pages in PAGES.items():
            listed = "\n".join(f"/{page}" for page in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def quote_formulas(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leave asterisks and bars of docstrings what they are, but for those in code."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # a comment: what is before a colon in the first line would be its type
    lines[:] = [re.sub(r"(`+[^`]*`+)|[*|]", lambda m: m[1] or f"\\{m[0]}", line) for line in lines]


def drop_limits(app: Sphinx, function: Any, bound: bool) -> None:
    """Show types of options without their limits: `Annotated[float, Field(ge=0)]` as `float`."""
    function = getattr(function, "__func__", function)
    # names imported for type checkers alone; functions of others, which cannot be changed
    with contextlib.suppress(NameError, AttributeError, TypeError):
        function.__annotations__ = get_type_hints(function)


def name_arrays(app: Sphinx, *about: Any) -> tuple[str | None, str | None]:
    """Show what NumPy takes for an array by its name, and not by its parts."""
    *_, signature, returns = about
    parts = stringify_annotation(ArrayLike, "smart")
    return signature and signature.replace(parts, "ArrayLike"), returns


def add_index(app: Sphinx, failure: Exception | None) -> None:
    """Let the README be the page that servers show of the folder."""
    if failure is None:
        Path(app.outdir, "index.html").write_bytes(Path(app.outdir, f"{root_doc}.html").read_bytes())


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_sidebar)
    app.connect("autodoc-process-docstring", quote_formulas, priority=400)  # before napoleon
    app.connect("autodoc-before-process-signature", drop_limits)
    app.connect("autodoc-process-signature", name_arrays)
    app.connect("build-finished", add_index)
