"""Tables of people's own become stores, and each fault of one is a line."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from mmjsd.data.kinds import table
from mmjsd.data.store import Store, read_store
from mmjsd.errors import MmjsdError
from mmjsd.modalities.text import decode
from support.cohort import MODALITIES, write_cohort, write_csv


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "cohort")


def build(folder: Path, *, seed: int = 0, **options: Any) -> Store:
    path = folder.parent / "store.h5"
    table.build(
        path, source=str(folder), source_folder=folder, seed=seed, **({"modalities": MODALITIES} | options)
    )
    return read_store(path)


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def vectors(*rows: tuple[Any, ...], columns: str = "x y", **extra: Any) -> dict[str, Any]:
    """Options of a table with one modality of numbers."""
    return {"modalities": {"v": {"kind": "vector", "columns": columns.split(), **extra}}}


def simple(folder: Path, x: list[Any], **columns: list[Any]) -> Path:
    """Write samples.csv with ids, x and more columns."""
    folder.mkdir(exist_ok=True)
    names = ["id", "x", *columns]
    rows = [[f"s{i}", *values] for i, values in enumerate(zip(x, *columns.values(), strict=True))]
    write_csv(folder / "samples.csv", [names, *rows])
    return folder


def value_of(store: Store, split: str, modality: str, sample: int) -> Any:
    row = store.splits[split].pairs[sample, store.modalities.index(modality)]
    return None if row < 0 else store.splits[split].modalities[modality].data[row]


# --- what becomes of it -----------------------------------------------------------------------------------


def test_samples_are_paired_by_id_and_gaps_are_missing(folder: Path) -> None:
    store = build(folder, label="subtype", split="split")
    assert (store.kind, store.modalities, store.classes) == (
        "table",
        tuple(MODALITIES),
        ["9", "mild", "wild"],
    )
    assert {name: len(split.pairs) for name, split in store.splits.items()} == {
        "train": 30,
        "val": 15,
        "test": 15,
    }
    header, *samples = read(folder / "samples.csv")
    rna = {row[0]: np.array(row[1:], float) for row in read(folder / "rna.csv")[1:]}
    for split in store.splits:
        rows = [dict(zip(header, row, strict=True)) for row in samples]
        for number, row in enumerate([row for row in rows if row["split"] == split]):
            assert store.classes[store.splits[split].labels[number]] == row["subtype"]
            vector = store.splits[split].modalities["rna"]
            if (found := value_of(store, split, "rna", number)) is None:
                assert row["patient"] not in rna
            else:
                units = found * vector.deviation + vector.mean
                np.testing.assert_allclose(units, rna[row["patient"]], atol=1e-5)
            assert (value_of(store, split, "scan", number) is None) == (row["path"] == "")
            assert (value_of(store, split, "clinical", number) is None) == (row["age"] == "")
            words = value_of(store, split, "report", number)
            assert (
                row["findings"] == ""
                if words is None
                else decode(words[None]) == [row["findings"].lower().ljust(24)]
            )


def test_vectors_are_standardised_by_the_training_split(folder: Path) -> None:
    store = build(folder, label="subtype", split="split")
    for name in ("rna", "clinical"):
        data = store.splits["train"].modalities[name].data
        np.testing.assert_allclose(data.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(data.std(0), 1, atol=1e-5)
        assert abs(store.splits["test"].modalities[name].data.mean(0)).max() > 1e-3
    clinical = store.splits["train"].modalities["clinical"]
    assert clinical.columns == ("log1p(age)", "stage=I", "stage=II", "stage=III")
    units = clinical.data * clinical.deviation + clinical.mean
    assert 35 < np.expm1(units[:, 0]).mean() < 55
    np.testing.assert_allclose(np.sort(units[:, 1:], axis=1), [[0, 0, 1]] * len(units), atol=1e-5)


def test_what_samples_share_is_stored_once(folder: Path) -> None:
    """Once for each label, for an item has that of its samples."""
    one = build(folder, split="split")
    paths = {row[3] for row in read(folder / "samples.csv")[1:] if row[6] == "train" and row[3]}
    assert len(one.splits["train"].modalities["scan"].data) == len(paths)
    rows = read(folder / "samples.csv")
    for row in rows[1:]:
        row[3] = "scans/0.png"
    write_csv(folder / "samples.csv", rows)
    scans = build(folder, label="subtype", split="split").splits["train"].modalities["scan"]
    assert len(scans.data) == 3
    assert sorted(scans.labels) == [0, 1, 2]


def test_several_samples_name_a_row_of_another_file(folder: Path) -> None:
    rows = read(folder / "samples.csv")
    write_csv(
        folder / "samples.csv",
        [[*rows[0], "donor"], *([*row, f"p{i % 3}"] for i, row in enumerate(rows[1:]))],
    )
    rna = {"rna": {"kind": "vector", "file": "rna.csv", "column": "donor"}}
    split = build(folder, modalities=rna, split="split").splits["train"]
    assert split.modalities["rna"].data.shape == (3, 3)
    assert len(split.pairs) == 30


def test_images_are_cut_to_size_and_hashed(folder: Path) -> None:
    """Whatever their modes; the digest is that of `sha256sum`."""
    store = build(folder, split="split")
    assert store.splits["train"].modalities["scan"].data.shape[1:] == (1, 16, 12)
    names = sorted({row[3] for row in read(folder / "samples.csv")[1:] if row[3]})
    lines = "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    assert store.sources["images/"] == hashlib.sha256(lines.encode()).hexdigest()
    described = table.of({"manifest": "samples.csv", "modalities": MODALITIES})
    assert described.digest_images(folder) == store.sources["images/"]
    assert described.extent(folder) == [len(names), sum((folder / n).stat().st_size for n in names)]
    assert set(described.find_sources(folder)) == set(store.sources) == {"samples.csv", "rna.csv", "images/"}


def test_symbols_that_texts_cannot_have_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read(folder / "samples.csv")
    rows[1][4] = "Größe €, " + "x" * 30
    write_csv(folder / "samples.csv", rows)
    store = build(folder, split="split")
    (text,) = decode(value_of(store, "train", "report", 0)[None])
    assert text == "grosse  , " + "x" * 14
    told = capsys.readouterr().out
    assert "column findings: 3 symbols outside of the alphabet written without accent or as blanks" in told
    assert "'€' 1" in told
    assert "1 of 52 texts cut to 24 symbols" in told


def test_a_vector_with_an_empty_cell_is_missing_or_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = ["train"] * 4 + ["test"] * 2
    folder = simple(tmp_path / "t", [1, "", 3, "NA", 5, 6], y=[1, 2, 4, "", 5, 6], split=split)
    with pytest.raises(MmjsdError, match=r"samples.csv: all modalities are missing in rows 3, 5; delete"):
        build(folder, split="split", **vectors())
    assert (
        "v: 1 of 6 vectors have empty cells: missing, as a whole (`impute` fills)" in capsys.readouterr().out
    )
    with pytest.raises(MmjsdError, match=r"all modalities are missing in row 5; delete"):
        build(folder, split="split", **vectors(impute="mean"))
    folder = simple(folder, [1, "", 3, 4, 5, 6], y=[1, 2, 4, 8, 5, 6], split=split)
    filled = build(folder, split="split", **vectors(impute="mean")).splits["train"].modalities["v"]
    assert filled.mean[0] == pytest.approx((1 + 3 + 4) / 3)
    assert filled.data[1, 0] == 0
    assert "filled by the means of columns" in capsys.readouterr().out


def test_words_that_none_trains_on_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = simple(tmp_path / "t", ["a", "b", "a", "c"], split=["train", "train", "test", "test"])
    store = build(folder, split="split", **vectors(columns="x", categorical=["x"]))
    values = store.splits["test"].modalities["v"]
    np.testing.assert_allclose(values.data * values.deviation + values.mean, [[1, 0], [0, 0]], atol=1e-6)
    assert "column x: c in no training sample: zeros in all of its columns" in capsys.readouterr().out


def test_the_split_is_drawn_by_the_seed_from_each_class(folder: Path) -> None:
    splits = [build(folder, label="subtype", test_share=0.25, seed=seed).splits for seed in (3, 3, 4)]
    for split in splits:
        assert np.bincount(split["train"].labels).tolist() == [15] * 3
        assert np.bincount(split["test"].labels).tolist() == [5] * 3
    images = [split["test"].modalities["report"].data for split in splits]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_attributes_are_zeros_and_ones(folder: Path) -> None:
    store = build(folder, labels=["smoker", "relapse"], split="split")
    rows = [row for row in read(folder / "samples.csv")[1:] if row[6] == "test"]
    assert store.classes == ["smoker", "relapse"]
    np.testing.assert_array_equal(
        store.splits["test"].labels, [[int(row[7]), int(row[8] == "true")] for row in rows]
    )


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    folder = simple(tmp_path / "t", list(range(8)), grade=[10, 9, 2, 10, 9, 2, 10, 2])
    assert build(folder, label="grade", **vectors(columns="x")).classes == ["2", "9", "10"]


def test_the_bytes_are_the_same_each_time(folder: Path) -> None:
    hashes = []
    for _ in range(2):
        store = build(folder, label="subtype", seed=5)
        hashes.append(hashlib.sha256(store.path.read_bytes()).hexdigest())
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("form", ["bom", "crlf", "semicolons", "tabs", "parquet", "blank lines"])
def test_the_same_table_in_another_form_is_the_same(folder: Path, form: str) -> None:
    """Findings have new lines and commas in quotes."""
    expected = build(folder, label="subtype", split="split")
    arrays = {
        (split, name): (np.array(data.data), np.array(expected.splits[split].pairs))
        for split in expected.splits
        for name, data in expected.splits[split].modalities.items()
    }
    for name in ("samples", "rna"):
        path = folder / f"{name}.csv"
        rows = read(path)
        match form:
            case "bom":
                path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
            case "crlf":
                write_csv(path, rows, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
            case "blank lines":
                write_csv(path, [*rows, [], []])
            case "semicolons":
                write_csv(
                    path,
                    [
                        [f"{c},x" if i == 0 and j == 0 else c for j, c in enumerate(r)]
                        for i, r in enumerate(rows)
                    ],
                    delimiter=";",
                )
            case "tabs":
                write_csv(path, rows, delimiter="\t")
            case "parquet":
                cells = {n: [r[i] or None for r in rows[1:]] for i, n in enumerate(rows[0])}
                for number in set(cells) & {"age", "g0", "g1", "g2"}:
                    cells[number] = [None if c is None else float(c) for c in cells[number]]
                pa.parquet.write_table(pa.table(cells), folder / f"{name}.parquet")
    options: dict[str, Any] = {}
    if form == "parquet":
        options = {"manifest": "samples.parquet"}
        options["modalities"] = MODALITIES | {"rna": {"kind": "vector", "file": "rna.parquet"}}
    store = build(folder, label="subtype", split="split", **options)
    for (split, name), (data, pairs) in arrays.items():
        np.testing.assert_array_equal(store.splits[split].modalities[name].data, data)
        np.testing.assert_array_equal(store.splits[split].pairs, pairs)


# --- what is refused --------------------------------------------------------------------------------------


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(MmjsdError) as caught:
        build(folder, **options)
    assert "\n" not in str(caught.value)
    assert not (folder.parent / "store.h5").exists()
    return str(caught.value).replace(f"{folder}", "cohort")


def changed(folder: Path, row: int, column: str, cell: str, file: str = "samples.csv") -> Path:
    rows = read(folder / file)
    rows[row - 1][rows[0].index(column)] = cell
    write_csv(folder / file, rows)
    return folder


def test_no_manifest_or_no_file_of_vectors(folder: Path) -> None:
    (folder / "rna.csv").unlink()
    assert refusal(folder, manifest="sample.csv") == (
        "cohort: no sample.csv, no rna.csv; put it there, or correct the options "
        "(there is samples.csv, scans)"
    )


def test_duplicated_ids(folder: Path) -> None:
    assert refusal(changed(folder, 5, "patient", "p0")) == (
        "cohort/samples.csv: the id 'p0' is given twice, in rows 2, 5; each row must have its own in "
        "the column 'patient'"
    )
    changed(folder, 5, "patient", "p3")
    assert "cohort/rna.csv: the id 'p1' is given twice, in rows 3, 4;" in refusal(
        changed(folder, 4, "id", "p1", "rna.csv")
    )
    assert "samples.csv: column patient is empty in row 5" in refusal(changed(folder, 5, "patient", ""))


def test_ids_that_do_not_meet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read(folder / "rna.csv")
    write_csv(folder / "rna.csv", [rows[0], *([f"patient {row[0]}", *row[1:]] for row in rows[1:])])
    assert refusal(folder) == (
        "cohort/rna.csv: none of its ids (column 'id': 'patient p0', ...) is one of "
        "cohort/samples.csv ('p0', ...); write them alike"
    )
    write_csv(folder / "rna.csv", [*rows, ["stranger", 1, 2, 3]])
    build(folder)
    assert "rna.csv: 1 of 56 rows are of no sample, and left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"id": "patients"}, "'patients', which `id` names; did you mean patient?"),
        ({"label": "subtyp"}, "'subtyp', which `label` names; did you mean subtype?"),
        ({"labels": ["smokes"]}, "'smokes', which `labels` names; did you mean smoker?"),
        ({"split": "part"}, "'part', which `split` names; "),
        (
            {"modalities": {"scan": {"kind": "image", "column": "file", "size": [1, 8, 8]}}},
            "'file', which `modalities.scan.column` names; ",
        ),
        (vectors(columns="age weight"), "'weight', which `modalities.v.columns` names; "),
    ],
)
def test_a_column_that_is_not_there(folder: Path, options: dict[str, Any], named: str) -> None:
    assert f"cohort/samples.csv: has no column {named}" in refusal(folder, **options)


def test_text_in_a_column_of_numbers(folder: Path) -> None:
    changed(folder, 3, "g1", "high", "rna.csv")
    assert refusal(changed(folder, 9, "g1", "low", "rna.csv")) == (
        "cohort/rna.csv: column g1 is no number in rows 3, 9 ('high'); correct it, empty the cell, or name "
        "the column in `categorical`"
    )


@pytest.mark.parametrize("cell", ["1 2", "+-1", "１２", "1e", "0x1f", "1_000", "2024-01-01"])
def test_what_only_looks_like_a_number(folder: Path, cell: str) -> None:
    told = refusal(changed(folder, 3, "g1", cell, "rna.csv"))
    assert told.startswith(f"cohort/rna.csv: column g1 is no number in row 3 ({cell!r});")


def test_decimal_commas(folder: Path) -> None:
    assert refusal(changed(folder, 3, "g1", "1,5", "rna.csv")) == (
        "cohort/rna.csv: column g1 has a decimal comma in row 3 ('1,5'); write decimal points"
    )
    (folder / "rna.csv").write_text("id,g0\np0,1,5\n")
    assert "cohort/rna.csv: row 2 has 3 cells, the header 2 (separated by commas); quote" in refusal(folder)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinite_values(folder: Path, cell: str) -> None:
    assert "cohort/rna.csv: column g2 is infinite in row 4;" in refusal(
        changed(folder, 4, "g2", cell, "rna.csv")
    )


def test_a_constant_column(tmp_path: Path) -> None:
    folder = simple(tmp_path / "cohort", [1, 2, 3, 4], y=[7, 7, 7, 8], split=["train"] * 3 + ["test"])
    assert refusal(folder, split="split", **vectors()) == (
        "cohort/samples.csv: column y (7) of v: the same in all training samples; leave out what tells "
        "nothing (`columns` names the others)"
    )
    large = [1e16 + 2 * i for i in range(4)]  # differences that are rounding
    folder = simple(folder, [1, 2, 3, 4], y=large, split=["train"] * 3 + ["test"])
    assert "column y (1e+16) of v" in refusal(folder, split="split", **vectors())


def test_a_logarithm_that_is_not_there(folder: Path) -> None:
    assert "samples.csv: column age has no log(1 + x) in row 4 (-1);" in refusal(
        changed(folder, 4, "age", "-1")
    )


def test_an_image_that_is_missing_or_broken(folder: Path) -> None:
    changed(folder, 2, "path", "scans/none.png")
    assert refusal(folder) == (
        "cohort/samples.csv: row 2: path is 'scans/none.png', and cohort/scans/none.png is no file; put it "
        "there, or empty the cell"
    )
    (folder / "scans/none.png").write_bytes(b"no image")
    assert refusal(folder) == (
        "cohort/scans/none.png (row 2 of the manifest): is no image of a known format; save it as PNG or "
        "JPEG; replace it, or empty the cell"
    )
    whole = (folder / "scans/0.png").read_bytes()
    (folder / "scans/none.png").write_bytes(whole[: len(whole) // 2])
    assert "scans/none.png (row 2 of the manifest): is cut short, damaged" in refusal(folder)
    Image.new("CMYK", (9, 9)).save(folder / "scans/none.png", "TIFF")
    assert "scans/none.png (row 2 of the manifest): has the colours of print (CMYK)" in refusal(folder)


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "scans/../../x.png", "C:\\x.png", "..\\x.png"]
)
def test_a_path_that_leaves_the_folder(folder: Path, path: str) -> None:
    assert f"row 2: path is {path!r}, but has to name a file below cohort" in refusal(
        changed(folder, 2, "path", path)
    )


def test_a_label_that_occurs_once_or_is_not_learnt(folder: Path) -> None:
    changed(folder, 4, "subtype", "rare")
    assert refusal(folder, label="subtype").startswith(
        "cohort/samples.csv: the class 'rare' occurs once, in row 4; a class needs samples to train "
        "and to test"
    )
    assert refusal(folder, label="subtype", split="split").startswith(
        "cohort/samples.csv: the class rare is in the test split (row 4), and in no training sample"
    )
    assert "the label subtype is empty in row 4;" in refusal(
        changed(folder, 4, "subtype", ""), label="subtype"
    )


def test_labels_that_tell_nothing(folder: Path) -> None:
    rows = read(folder / "samples.csv")
    write_csv(
        folder / "samples.csv", [rows[0], *([*row[:5], "all", *row[6:7], 1, "maybe"] for row in rows[1:])]
    )
    assert "the label subtype is 'all' in all rows;" in refusal(folder, label="subtype")
    assert "the attribute smoker is 1 in all training samples" in refusal(folder, labels=["smoker"])
    assert (
        "the attribute relapse must be 0 or 1, and is 'maybe' in rows 2, 3, 4, 5, 6 and 55 more"
        in refusal(folder, labels=["relapse"])
    )


def test_an_unknown_split(folder: Path) -> None:
    assert refusal(changed(folder, 7, "split", "holdout"), split="split") == (
        "cohort/samples.csv: the split split must be train, val or test, and is 'holdout' in row 7; "
        "correct it"
    )
    rows = read(folder / "samples.csv")
    write_csv(folder / "samples.csv", [rows[0], *([*row[:6], "train", *row[7:]] for row in rows[1:])])
    assert "the split split is test in no row" in refusal(folder, split="split")


def test_a_modality_that_is_missing_everywhere(folder: Path) -> None:
    rows = read(folder / "samples.csv")
    write_csv(folder / "samples.csv", [rows[0], *([*row[:4], "", *row[5:]] for row in rows[1:])])
    assert "samples.csv: report is missing in all samples of the train split;" in refusal(folder)
    write_csv(folder / "samples.csv", [rows[0], *([row[0], "", *row[2:]] for row in rows[1:])])
    assert "samples.csv: no training sample has the modality clinical; `impute: mean` fills gaps" in refusal(
        folder
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be"])
def test_other_encodings(folder: Path, encoding: str) -> None:
    changed(folder, 4, "findings", "Ödem")
    text = (folder / "samples.csv").read_text(encoding="utf-8")
    (folder / "samples.csv").write_bytes(text.encode(encoding))
    told = refusal(folder)
    expected = {
        "latin-1": "line 6 is not UTF-8 (byte 0xd6); save the file as UTF-8",
        "utf-16": "is not UTF-8 but UTF-16; save it as UTF-8",
        "utf-16-be": "is no text; save it as a CSV file (UTF-8)",
    }
    assert told == f"cohort/samples.csv: {expected[encoding]}"


def test_files_that_are_no_table(folder: Path) -> None:
    samples = folder / "samples.csv"
    for content, told in {
        b"": "has no header",
        b"\n\n": "has no header",
        b"id,age\n": "has no rows below its header",
        b"id,age,age\np0,1,2\n": "has the column 'age' twice",
        b"id,,age\np0,1,2\n": "its column 2 has no name",
        b'id,age,stage,path,findings\np0,1,"open\n': "row 2 has 3 cells, the header 5",
    }.items():
        samples.write_bytes(content)
        assert f"cohort/samples.csv: {told}" in refusal(folder, **vectors(columns="age"))
    samples.rename(folder / "samples.xlsx")
    assert "samples.xlsx: must be a CSV, TSV or Parquet file" in refusal(folder, manifest="samples.xlsx")
    (folder / "samples.parquet").write_bytes(b"PAR1 nothing")
    assert "samples.parquet: is no intact Parquet file" in refusal(folder, manifest="samples.parquet")


def test_nested_columns(folder: Path) -> None:
    pa.parquet.write_table(pa.table({"id": ["a", "b"], "x": [[1.0], [2.0]]}), folder / "n.parquet")
    assert "n.parquet: column x is nested (list<element: double>); write each" in refusal(
        folder, manifest="n.parquet", **vectors(columns="x")
    )
