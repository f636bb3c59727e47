"""What every kind of dataset of the registry must be."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from mmjsd import registry
from mmjsd.data.kinds import kind_of
from mmjsd.data.store import Store, modalities_of, read_store
from mmjsd.params.sources import ORIGINS
from mmjsd.static import options

KINDS = list(registry.entries("datasets"))
WITH_STANDIN = [kind for kind in KINDS if "standin" in getattr(kind_of(kind), "ORIGINS", ORIGINS)]
GIVEN = ("source", "source_folder", "seed")


@pytest.fixture(scope="module", params=WITH_STANDIN)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Store]:
    """The smallest stand-in that the limits of its options allow."""
    folder = tmp_path_factory.mktemp(request.param)
    least = {
        name: TypeAdapter(option.annotation).json_schema()["minimum"]
        for name, option in registry.options_of("datasets", request.param).items()
        if name.startswith("standin_")
    }
    path = folder / "store.h5"
    kind_of(request.param).build(path, source="standin", source_folder=folder / "files", seed=3, **least)
    return request.param, folder / "files", read_store(path)


def test_the_store_is_what_the_kind_says(built: tuple[str, Path, Store]) -> None:
    name, _, store = built
    kind = kind_of(name)
    assert (store.kind, store.modalities, store.seed) == (name, tuple(kind.MODALITIES), 3)
    for split in store.splits.values():
        form = {np.dtype(np.int64): "class", np.dtype(np.uint8): "attributes"}
        assert form[split.labels.dtype] == kind.LABELS
        for modality in modalities_of(split):
            shape = "x".join(map(str, modality.shape))
            # of a shape that is not fixed, the kind alone is said
            assert kind.MODALITIES[modality.name] in (modality.kind, f"{modality.kind} {shape}")
    assert {"train", "test"} <= store.splits.keys()


def test_a_stand_in_has_the_files_that_a_folder_must_have(
    built: tuple[str, Path, Store], tmp_path: Path
) -> None:
    """And gives the same arrays, whether generated or found."""
    name, folder, store = built
    kind = kind_of(name)
    found = kind.find_sources(folder)
    assert set(found) == set(store.sources)
    for path in found.values():
        if path.is_dir():
            count, size = kind.extent(path)
            assert size == sum(file.stat().st_size for file in path.iterdir())
            assert count == len(list(path.iterdir()))
            assert kind.digest_images(path) in store.sources.values()
    kind.build(tmp_path / "x.h5", source=str(folder), source_folder=tmp_path, seed=3)
    again = read_store(tmp_path / "x.h5")
    assert again.params["source"] == "folder"
    assert not any(option.startswith("standin_") for option in again.params)
    assert again.sources == store.sources
    for split in store.splits:
        np.testing.assert_array_equal(again.splits[split].pairs, store.splits[split].pairs)
        for modality, table in again.splits[split].modalities.items():
            np.testing.assert_array_equal(table.data, store.splits[split].modalities[modality].data)


@pytest.mark.parametrize("kind", KINDS)
def test_options_can_be_read_and_are_documented(kind: str) -> None:
    parameters = inspect.signature(kind_of(kind).build).parameters.values()
    keywords = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert tuple(p.name for p in keywords if p.default is p.empty) == GIVEN
    assert [p.name for p in keywords[3:]] == list(registry.options_of("datasets", kind))
    for name, option in registry.options_of("datasets", kind).items():
        assert option.text, name
        TypeAdapter(option.annotation).validate_python(option.default, strict=True)


EXPECTED = {
    "mnist_svhn_text": {
        "max_per_class": (10000, {"type": "integer", "minimum": 2, "maximum": 10**6}),
        "pairs_per_sample": (20, {"type": "integer", "exclusiveMinimum": 0, "maximum": 100}),
        "validation_share": (0.0, {"type": "number", "minimum": 0, "maximum": 0.5}),
        "standin_train": (10000, {"type": "integer", "minimum": 20, "maximum": 500_000}),
        "standin_test": (2000, {"type": "integer", "minimum": 20, "maximum": 500_000}),
    },
    "celeba": {
        "random_offset": (True, {"type": "boolean"}),
        "skip_unreadable": (False, {"type": "boolean"}),
        "standin_train": (10000, {"type": "integer", "minimum": 20, "maximum": 500_000}),
        "standin_val": (1000, {"type": "integer", "minimum": 10, "maximum": 500_000}),
        "standin_test": (2000, {"type": "integer", "minimum": 20, "maximum": 500_000}),
    },
}
TEXTS = {
    "max_per_class": "Rows of a class used per split, at most.",
    "pairs_per_sample": "How often each row is paired.",
    "validation_share": "Share of the rows used of a class that is split off the training split as the split "
    "val, the last ones; 0: there is no such split.",
    "standin_train": "Training images of each stand-in source.",
    "standin_val": "Validation images of the stand-in of CelebA.",
    "standin_test": "Test images of each stand-in source.",
    "random_offset": "CelebA: start each text at a random place, as the paper does; at its first is easier "
    "to learn.",
    "skip_unreadable": "CelebA: leave out images that are missing or damaged rather than stop.",
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_options_defaults_and_limits(kind: str) -> None:
    found = {
        name: (option.default, TypeAdapter(option.annotation).json_schema())
        for name, option in registry.options_of("datasets", kind).items()
    }
    assert found == EXPECTED[kind]
    assert list(found) == list(EXPECTED[kind])
    assert {name: option.text for name, option in registry.options_of("datasets", kind).items()} == {
        n: TEXTS[n] for n in found
    }


def test_values_beyond_the_limits_are_refused() -> None:
    limited = registry.options_of("datasets", "mnist_svhn_text")["pairs_per_sample"].annotation
    for value in (0, 101, "20", 2.5):
        with pytest.raises(ValidationError):
            TypeAdapter(limited).validate_python(value, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_read_and_imported_without_what_is_slow(kind: str) -> None:
    """Its options without importing it, and itself without what only a build needs."""
    place = registry.reference("datasets", kind)
    script = (
        "import json, sys\n"
        "from mmjsd.static import options\n"
        f"options('{place}:build')\n"
        f"read = '{place}' in sys.modules\n"
        f"import {place}\n"
        "slow = ('torch', 'torchvision', 'scipy', 'sklearn', 'matplotlib', 'pyarrow')\n"
        "print(json.dumps([read, [name for name in slow if name in sys.modules]]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [False, []]


def test_the_options_are_those_of_the_function_that_builds() -> None:
    for kind in KINDS:
        place = registry.reference("datasets", kind)
        assert registry.options_of("datasets", kind) == options(f"{place}:build")
