"""Digests of code: what a definition reaches counts, and nothing else."""

from pathlib import Path

import pytest

from mmjsd.provenance import code
from mmjsd.provenance.code import code_digests

FILES = {
    "__init__.py": "from .unrelated import thing\n",
    "unrelated.py": "thing = 1\n",
    "step.py": '"""A."""\nfrom . import helper\nfrom .inner import name\n\n\n'
    'def run():\n    "Runs."\n    from .late import used\n    return helper.value + name + used\n\n\n'
    "def other():\n    return 3\n",
    "helper.py": "# a comment\nvalue = 1\nunused = 2\n",
    "late.py": "used = 1\nunused = 2\n",
    "inner/__init__.py": "from .leaf import name\n",
    "inner/leaf.py": "from ..deep import *\nname = depth\n",
    "deep.py": "depth = 1\n",
    "kind.py": "DTYPE = 'uint8'\n\n\ndef draw():\n    return 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A package of its own, importable, whose name no other test uses."""
    folder = tmp_path / "library" / f"package_{abs(hash(request.node.nodeid))}"
    (folder / "inner").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def digests(package: Path, *roots: str) -> dict[str, str]:
    """Of the function `run` of the module `step`, keys without the name of the package."""
    found = code_digests([f"{package.name}.{root}" for root in roots or ("step:run",)])
    return {name.removeprefix(f"{package.name}."): digest for name, digest in found.items()}


def changed(package: Path, file: str, old: str, new: str, *roots: str) -> set[str]:
    """The definitions whose digests differ after an edit."""
    before = digests(package, *roots)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    after = digests(package, *roots)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_what_is_named_is_followed_everywhere(package: Path) -> None:
    assert set(digests(package)) == {
        *("step:run", "helper:value", "inner.leaf:name", "late:used", "deep:depth"),
    }
    assert set(digests(package, "step:other")) == {"step:other"}


@pytest.mark.parametrize(
    ("file", "old", "new", "definitions"),
    [
        ("helper.py", "value = 1", "value = 2", {"helper:value"}),
        ("late.py", "used = 1", "used = 3", {"late:used"}),
        ("deep.py", "depth = 1", "depth = 2", {"deep:depth"}),
        ("step.py", "+ used", "- used", {"step:run"}),
        (
            "step.py",
            "return helper.value + name + used",
            "return (\n        helper.value + name + used\n    )",
            set(),
        ),
        ("helper.py", "unused = 2", "unused = 3", set()),
        ("late.py", "unused = 2", "unused = 3", set()),
        ("step.py", "return 3", "return 4", set()),
        ("step.py", '"Runs."', '"Runs it."', set()),
        ("step.py", '"""A."""', "# comment\n", set()),
        ("step.py", "def run():", "def run():  # comment\n", set()),
        ("unrelated.py", "thing = 1", "thing = 2", set()),
        ("kind.py", "return 1", "return 2", set()),
    ],
)
def test_only_what_is_reached_counts(
    package: Path, file: str, old: str, new: str, definitions: set[str]
) -> None:
    assert changed(package, file, old, new) == definitions


def test_what_is_printed_and_what_errors_say_does_not_count(package: Path) -> None:
    (package / "step.py").write_text(
        "class MmjsdError(Exception):\n    pass\n\n\ndef run(x):\n    print('now')\n"
        "    if x:\n        raise MmjsdError('this is wrong')\n    return 1\n"
    )
    assert changed(package, "step.py", "print('now')", "print('later', 3)") == set()
    assert changed(package, "step.py", "'this is wrong'", "f'{x}: wrong'") == set()
    assert changed(package, "step.py", "return 1", "return 2") == {"step:run"}


def test_statements_of_a_reached_module_count(package: Path) -> None:
    assert changed(package, "helper.py", "value = 1", "value = 1\nassert 1\n") == {"helper"}
    assert changed(package, "unrelated.py", "thing = 1", "thing = 1\nassert 1\n") == set()


def test_of_a_module_chosen_as_the_program_runs_the_used_attributes_count(package: Path) -> None:
    (package / "step.py").write_text("def run(kind):\n    return kind.DTYPE\n")
    roots = ("step:run", "kind:*")
    assert set(digests(package, *roots)) == {"step:run", "kind:DTYPE"}
    assert changed(package, "kind.py", "return 1", "return 2", *roots) == set()
    assert changed(package, "kind.py", "uint8", "int64", *roots) == {"kind:DTYPE"}


def test_a_whole_module(package: Path) -> None:
    assert changed(package, "helper.py", "unused = 2", "unused = 3", "helper") == {"helper:unused"}


def test_what_is_not_there_is_told(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        code_digests([f"{package.name}.nowhere:run"])
    with pytest.raises(AttributeError, match="step has no walk"):
        code_digests([f"{package.name}.step:walk"])


def test_names_that_lead_in_a_circle(package: Path) -> None:
    (package / "helper.py").write_text("from . import step\n\n\ndef value():\n    return step.run()\n")
    assert {"step:run", "helper:value"} <= set(digests(package))


def test_parameters_and_records_are_no_code_of_a_step() -> None:
    found = code_digests(["mmjsd.training.loop:train"])
    assert not any(name.startswith(("mmjsd.params", "mmjsd.provenance", "mmjsd.errors")) for name in found)
    assert not any(name.startswith("mmjsd.training.progress") for name in found)


def test_the_same_roots_are_not_followed_twice(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of products have the same: 2 ms each."""
    before = digests(package)
    monkeypatch.setattr(code, "_read", lambda module: pytest.fail(f"{module} was read again"))
    assert digests(package) == before
