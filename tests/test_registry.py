"""What can be chosen by name."""

import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from mmjsd import registry
from mmjsd.errors import MmjsdError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Makes an installed package out of an entry point."""

    def forget() -> None:
        registry.entries.cache_clear()
        registry._installed.cache_clear()

    def install(group: str, name: str, value: str) -> None:
        points = EntryPoints([EntryPoint(name, value, f"mmjsd.{group}")])
        monkeypatch.setattr(registry, "entry_points", lambda: points)
        forget()

    yield install
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, names in registry.BUILT_IN.items() for name in names]
)
def test_everything_that_is_built_in_is_there(group: str, name: str) -> None:
    module, _, attribute = registry.reference(group, name).partition(":")
    found = importlib.import_module(module)
    assert registry.resolve(group, name) is (getattr(found, attribute) if attribute else found)


def test_a_near_name_is_named() -> None:
    with pytest.raises(MmjsdError, match=r"^mmjds: not one of the objectives; did you mean mmjsd\?$"):
        registry.reference("objectives", "mmjds")
    with pytest.raises(MmjsdError, match=r"^xyz: not one of the means; known are geometric, arithmetic"):
        registry.resolve("means", "xyz")


def test_an_entry_of_another_package(installed) -> None:
    installed("means", "mine", "math:fsum")
    assert registry.resolve("means", "mine")([0.5, 0.5]) == 1.0
    assert list(registry.entries("means"))[-1] == "mine"


def test_a_name_that_is_taken(installed) -> None:
    installed("means", "geometric", "math:fsum")
    with pytest.raises(
        MmjsdError, match=r"^mmjsd\.means: geometric is .* by an installed package, math:fsum"
    ):
        registry.entries("means")


@pytest.mark.parametrize("value", ["nowhere.at.all:f", "math:nothing"])
def test_an_entry_that_cannot_be_imported(installed, value: str) -> None:
    installed("means", "mine", value)
    with pytest.raises(MmjsdError, match=rf"^mmjsd\.means: mine is {value}, which cannot be imported"):
        registry.resolve("means", "mine")
