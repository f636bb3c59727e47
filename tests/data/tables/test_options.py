"""What is wrong with the options of a table is told when parameters are read, by the key that it is of."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mmjsd import params

SOUND = "modalities: {v: {kind: vector, columns: [x]}}"


def lines_of(folder: Path, options: str, source: str = "") -> list[str]:
    path = folder / "params.yaml"
    path.write_text(
        f"datasets:\n  t: {{kind: table, source: {source or folder}, options: {{{options}}}}}\n"
        "runs: {js: {dataset: t, objective: mmjsd, reconstruction_weights: {v: 1.0}}}\n"
    )
    try:
        params.load(path)
    except params.ParameterError as error:
        return [line.removeprefix(f"{path}: datasets.t.") for line in str(error).splitlines()]
    return []


def modality(**values: Any) -> str:
    return f"modalities: {{v: {json.dumps(values)}}}"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", "options.modalities: is needed: the name of each, and where it is"),
        ("modalities: {}", "options.modalities: must not be empty (got {})"),
        ("modalities: {v: [x]}", 'options.modalities.v: must be a mapping (got ["x"])'),
        ("modalities: {v: {columns: [x]}}", "options.modalities.v.kind: is needed"),
        (
            "modalities: {v: {kind: vectr}}",
            "options.modalities.v.kind: must be 'vector', 'image' or 'text'; did you mean vector? "
            "(got vectr)",
        ),
        (modality(kind="image", column="p"), "options.modalities.v.size: is needed"),
        (
            modality(kind="image", column="p", size=[64, 64]),
            "options.modalities.v.size: must be [channels, height, width]: 1 or 3 channels, 1 to 1024 pixels "
            "(got [64, 64])",
        ),
        (
            modality(kind="image", column="p", size=[1, 8, 8], lenght=3),
            "options.modalities.v.lenght: unknown key; known are kind, column, size",
        ),
        (
            modality(kind="text", column="p", lenght=3, length=4),
            "options.modalities.v.lenght: unknown key; did you mean length?",
        ),
        (
            modality(kind="text", column="p", length="8"),
            'options.modalities.v.length: must be a whole number (got "8")',
        ),
        (modality(kind="text", column="p", length=0), "options.modalities.v.length: must be >= 1 (got 0)"),
        (
            modality(kind="vector"),
            'options.modalities.v: needs a `file`, or `columns` of the manifest (got {"kind": "vector"})',
        ),
        (
            modality(kind="vector", file="../rna.csv"),
            "options.modalities.v.file: must be a file below the source, named from there (got ../rna.csv)",
        ),
        (
            modality(kind="vector", columns=["x", "x"]),
            "options.modalities.v: the column x is named twice (got "
            '{"kind": "vector", "columns": ["x", "x"]})',
        ),
        (
            modality(kind="vector", columns=["x"], impute="median"),
            "options.modalities.v.impute: must be 'mean'; did you mean mean? (got median)",
        ),
        (
            f"split: s, test_share: 0.3, {SOUND}",
            "options.test_share: has no effect with `split`, a column that has the splits; leave out one of "
            "the two",
        ),
        (f"manifest: /data/x.csv, {SOUND}", "options.manifest: must be a file below the source, named from"),
        (f"test_share: 1.0, {SOUND}", "options.test_share: must be <= 0.9 (got 1.0)"),
        (f"lable: x, {SOUND}", "options.lable: unknown key; did you mean label?"),
        (
            f"label: x, labels: [y], {SOUND}",
            "options.labels: leave out either these attributes or `label`, the classes",
        ),
        (f"labels: [y, y], {SOUND}", "options.labels: a column is named twice"),
    ],
)
def test_a_fault_is_a_line(tmp_path: Path, options: str, line: str) -> None:
    """And nothing else is told, of the runs either."""
    (told,) = lines_of(tmp_path, options)
    assert told.startswith(line)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a-b", "a modality names a folder: letters, digits, '_' and '.' only (got a-b)"),
        ("joint", "choose another name, none of joint, labels, mean, pairs, prior, random (got joint)"),
    ],
)
def test_names_of_modalities(tmp_path: Path, name: str, told: str) -> None:
    options = SOUND.replace("v:", f"{name}:")
    assert lines_of(tmp_path, options) == [f"options.modalities.{name}: {told}"]


@pytest.mark.parametrize("source", ["standin", "download", "nowhere"])
def test_the_source_is_a_folder(tmp_path: Path, source: str) -> None:
    told = lines_of(tmp_path, SOUND, source)
    assert told == [f"source: must be an existing folder (got '{source}')"]


def test_weights_are_of_the_modalities_that_the_options_name(tmp_path: Path) -> None:
    assert lines_of(tmp_path, SOUND) == []
    (told,) = lines_of(tmp_path, SOUND.replace("v:", "rna:"))
    assert told.endswith("runs.js.reconstruction_weights.v: no such modality; the dataset has rna")


def test_the_schema_knows_the_options() -> None:
    schema = json.loads(params.schema())
    dataset = {"$ref": "#/$defs/Dataset", "$defs": schema["$defs"]}
    options = {"modalities": {"v": {"kind": "text", "column": "c", "length": 8}}}
    jsonschema.validate({"kind": "table", "source": "cohort", "options": options}, dataset)
    options["modalities"]["v"]["length"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "table", "source": "cohort", "options": options}, dataset)
