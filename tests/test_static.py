"""Options read from the source."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from mmjsd.static import Option, options, source_of

SOURCE = '''
"""A module that cannot be imported."""
from typing import Annotated
from pydantic import Field
from mmjsd.params.types import Weight
raise RuntimeError("imported")
Share = Annotated[float, Field(ge=0, le=1)]

class Base:
    """A base.

    Args:
        model: not an option.
        beta: Weight of all
            divergences.
    """
    def __init__(self, model, *, beta: Weight = 2.5):
        pass

class Mine(Base):
    """Mine.

    Args:
        share: A share.

    Raises:
        ValueError: never.
    """
    def __init__(self, model, *, share: Share = 5 / 6, names: dict[str, Weight] = {}, **shared):
        pass

class Heir(Mine):
    """Has no options of its own."""

def function(judged, *, count: int | None = None):
    """Compute.

    Args:
        judged: what is judged.
        count: How many; null: all.
    """
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"module_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "options.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}.options"


def test_those_of_a_class_and_its_bases(module: str) -> None:
    found = options(f"{module}:Mine")
    weight = Annotated[float, Field(ge=0, le=1e4)]
    expected = {
        "beta": Option(weight, 2.5, "Weight of all divergences."),
        "share": Option(Annotated[float, Field(ge=0, le=1)], 5 / 6, "A share."),
        "names": Option(dict[str, weight], {}, ""),
    }
    assert repr(found) == repr(expected)
    assert options(f"{module}:Heir") == found


def test_those_of_a_function(module: str) -> None:
    assert options(f"{module}:function") == {"count": Option(int | None, None, "How many; null: all.")}


def test_what_is_not_there_is_told(module: str) -> None:
    with pytest.raises(AttributeError, match="has no Nobody"):
        options(f"{module}:Nobody")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        options("mmjsd.nowhere:Nobody")


def test_built_in_modules_have_no_source() -> None:
    assert source_of("sys") is None
    assert source_of("mmjsd.static") == Path(sys.modules["mmjsd.static"].__file__ or "")
    assert source_of("mmjsd.provenance.code").name == "code.py"  # type: ignore[union-attr]


def test_parameters_are_checked_without_torch(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "datasets: {d: {kind: mnist_svhn_text}, f: {kind: celeba}}\n"
        "runs: {a: {dataset: d, objective: mmjsd}, b: {dataset: f, objective: mvae}}\n"
    )
    program = (
        "import sys\nfrom mmjsd import params, pipeline\n"
        "[step.product for step in pipeline.steps(params.load())]\n"
        "slow = ('torch', 'matplotlib', 'sklearn', 'mlflow', 'torchvision')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
