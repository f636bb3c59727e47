"""Gaps of tables filled on the command line."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmjsd
from mmjsd.cli import main
from mmjsd.data.kinds.table import build
from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError
from mmjsd.reporting import generate
from mmjsd.training.loop import train
from support.cohort import MODALITIES, write_cohort
from support.samples import make_run

EXTRA = {"kind": "vector", "columns": ["smoker"], "impute": "mean"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a run on a cohort, and of the cohort."""
    base = tmp_path_factory.mktemp("impute")
    cohort = write_cohort(base / "cohort", 120)
    modalities = MODALITIES | {"habits": EXTRA}
    build(
        base / "x.h5", source=str(cohort), source_folder=cohort, seed=1, split="split", modalities=modalities
    )
    run = make_run(epochs=2, shared_latent=3, network_width=0.05)
    train(run, read_store(base / "x.h5"), base / "run", name="x", seed=1)
    return base / "run", cohort


def impute(run: Path, file: Path, out: Path, *more: str) -> int:
    return main(["impute", str(run), str(file), "--out", str(out), *more])


def test_gaps_are_filled_and_all_else_stays(trained, tmp_path, capsys) -> None:
    run, cohort = trained
    file, out = cohort / "samples.csv", tmp_path / "filled.csv"
    before = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert impute(run, file, out) == 0
    told = capsys.readouterr().out
    assert "rna: none of its columns is there: missing, and not filled" in told
    after = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert list(after) == [*before, "age_sd"]
    gaps = before["age"] == ""
    assert 0 < gaps.sum() == (after["age_sd"] != "").sum()
    assert (after["age"] != "").all()
    pd.testing.assert_frame_equal(after[~gaps][list(before)], before[~gaps])
    # in the units of the table, of which the network knows hardly more than the mean
    assert after["age"][gaps].astype(float).between(30, 70).all()
    assert (after["age_sd"][gaps].astype(float) > 0).all()
    assert f"{gaps.sum()} empty cells filled, in {gaps.sum()} of 120 rows" in told
    lines = zip(file.read_bytes().splitlines(), out.read_bytes().splitlines(), strict=True)
    assert all(new.startswith(old) for old, new in lines if b",," not in old)
    again = tmp_path / "again.csv"
    assert impute(run, file, again) == 0
    assert again.read_bytes() == out.read_bytes()
    assert impute(run, file, tmp_path / "other.csv", "--seed", "1") == 0
    assert (tmp_path / "other.csv").read_bytes() != out.read_bytes()


def test_new_rows_in_the_writing_of_other_programs(trained, tmp_path, capsys) -> None:
    """A mark of UTF-8, semicolons, ends of lines of Windows, quotes, empty lines, words that are new."""
    run, _ = trained
    file, out = tmp_path / "new.csv", tmp_path / "out.csv"
    rows = [
        '\ufeff"note; of mine";age;stage;g0;g1;g2;findings;smoker',
        '"a; ""b""\r\nc";;;1.50;2;NA;"type b,";1',
        ";55.10;;;;;;",
        ";;;;;;;",
        "",
        'x;60;"IX";1;2;3;;0',
    ]
    file.write_bytes("\r\n".join(rows).encode())
    assert impute(run, file, out) == 0
    told = capsys.readouterr().out
    assert "nothing that the model can use is known in rows 3, 4: left empty" in told
    assert "in 1 row known cells of rna were not used: a vector with an empty cell counts as missing" in told
    assert "known cells of habits" not in told
    filled = out.read_bytes().decode().split("\r\n")
    added = ["age_sd", "g0_sd", "g1_sd", "g2_sd", "smoker_sd"]
    assert filled[0] == ";".join([rows[0], *added])
    assert filled[1] == '"a; ""b""'
    first = filled[2].split(";")
    assert first[0] == 'c"'
    assert 30 < float(first[1]) < 70
    assert first[2] in ("I", "II", "III")
    assert first[3:5] == ["1.50", "2"]
    assert -5 < float(first[5]) < 5
    assert [bool(cell) for cell in first[8:]] == [True, False, False, True, False]
    # of a vector of which a part is known the rest alone is filled, and that alone is nothing to go by
    assert filled[3] == ";55.10;;;;;;;;;;;"
    assert filled[4] == ";" * 12
    assert filled[5] == ""
    assert filled[6] == 'x;60;"IX";1;2;3;;0;;;;;'


def test_what_is_told_is_so(trained, tmp_path, capsys) -> None:
    """Rows and cells that are filled, cells that are not used, a column that is misspelt."""
    run, cohort = trained
    file = cohort / "new.csv"
    file.write_text(
        "patient,age,stage,pathh,findings,smoker\n"
        "a,,II,scans/0.png,type b,1\n"  # its stage is of a vector with a gap
        "b,,,scans/0.png,,\n"
        "c,50,,,,\n"
        "d,,,,type a,0\n"
    )
    assert impute(run, file, tmp_path / "out.csv") == 0
    told = capsys.readouterr().out.splitlines()
    assert f"{file}: 3 empty cells filled, in 2 of 4 rows" in told
    assert f"{file}: nothing that the model can use is known in rows 3, 4: left empty" in told
    assert f"{file}: scan: no column 'path': missing; did you mean pathh?" in told
    unused = [line for line in told if "were not used" in line]
    assert [line.partition(":")[2].partition(":")[0] for line in unused] == [
        " in 2 rows known cells of clinical were not used"
    ]


def test_with_means_in_gaps_the_other_cells_of_a_vector_are_used(tmp_path, capsys) -> None:
    """`impute: mean`: what is filled depends on them, and on nothing else where there is nothing else."""
    cohort = write_cohort(tmp_path / "cohort", 120)
    clinical = MODALITIES["clinical"] | {"impute": "mean"}
    modalities = {"clinical": clinical, "report": MODALITIES["report"]}
    store = tmp_path / "x.h5"
    build(store, source=str(cohort), source_folder=cohort, seed=1, split="split", modalities=modalities)
    run = make_run(epochs=1, shared_latent=3, network_width=0.05)
    train(run, read_store(store), tmp_path / "run", name="x", seed=1)
    file = tmp_path / "new.csv"
    filled = []
    for stage in ("I", "III"):
        file.write_text(f"patient,age,stage,findings\na,,{stage},\n")
        assert impute(tmp_path / "run", file, tmp_path / f"{stage}.csv") == 0
        assert "were not used" not in capsys.readouterr().out
        filled.append(pd.read_csv(tmp_path / f"{stage}.csv")["age"].item())
    assert filled[0] != filled[1]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.replace("age", "years", 1), "has no column 'age', which `modalities.clinical` names"),
        (lambda t: t.replace("split", "age_sd", 1), "has the column 'age_sd', which is to be written"),
        (lambda t: t.splitlines()[0] + "\n", "has no rows below its header"),
        (lambda t: t.replace("\np1,", "\np1,old", 1), "column age is no number in row 3 ('old"),
        (lambda t: "a,b\n1,2\n", "has no column 'age'"),
    ],
)
def test_tables_that_cannot_be_filled(trained, tmp_path, capsys, change, line) -> None:
    run, cohort = trained
    folder = shutil.copytree(cohort, tmp_path / "cohort")
    file, out = folder / "samples.csv", tmp_path / "out.csv"
    file.write_text(change(file.read_text()))
    assert impute(run, file, out) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{file}: {line}")
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]


def test_the_output_is_a_new_file(trained, tmp_path, capsys) -> None:
    run, cohort = trained
    file = cohort / "samples.csv"
    content = file.read_bytes()
    (tmp_path / "there.csv").write_text("mine")
    for out, line in (
        (file, "is the table itself"),
        (tmp_path / "there.csv", "exists already"),
        (tmp_path / "no/x.csv", "there is no folder"),
    ):
        assert impute(run, file, out) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"{out}: {line}")
        assert told.count("\n") == 1
    assert (file.read_bytes(), (tmp_path / "there.csv").read_text()) == (content, "mine")
    assert not (tmp_path / "no").exists()


def test_runs_on_other_data_fill_no_tables(results, trained, tmp_path, capsys) -> None:
    assert impute(results / "run", trained[1] / "samples.csv", tmp_path / "x.csv") == 1
    assert "is of the dataset kind mnist_svhn_text; only runs on a `table`" in capsys.readouterr().err


def test_a_model_takes_a_table_of_its_columns_as_it_is(trained, tmp_path) -> None:
    """Ages in years, of which the build took the logarithm, and words as zeros and ones."""
    run, cohort = trained
    model = mmjsd.load(run)
    columns = model.scales["clinical"].columns
    table = pd.read_csv(cohort / "samples.csv")[["age", "stage"]].dropna()
    frame = pd.get_dummies(table, prefix_sep="=").reindex(columns=columns, fill_value=0)
    given = model.prepare({"clinical": frame})["clinical"]
    store = read_store(run.parent / "x.h5")
    rows = np.concatenate([split.modalities["clinical"].data for split in store.splits.values()])
    by_age = [values[values[:, 0].argsort()] for values in (given.numpy(), rows)]
    np.testing.assert_allclose(*by_age, atol=1e-4)
    with pytest.raises(
        MmjsdError, match=r"^clinical: has no column 'age'; it needs age, stage=I, stage=II, "
    ):
        model.prepare({"clinical": frame.rename(columns={"age": "log1p(age)"})})
    with pytest.raises(MmjsdError, match=r"^clinical: age must be above -1, for its log\(1 \+ x\) is taken"):
        model.prepare({"clinical": frame.assign(age=-2.0)})
    # as `impute` does
    given = model.prepare({"report": ["type b"]})
    age = model.generate(given, n=100, targets=("clinical",))["clinical"][:, 0]
    file = tmp_path / "new.csv"
    file.write_text("patient,age,stage,findings,smoker\na,,,type b,\n")
    assert impute(run, file, tmp_path / "out.csv") == 0
    assert pd.read_csv(tmp_path / "out.csv")["age"].item() == pytest.approx(age.mean().item(), rel=0.05)


def test_bars_of_a_picture_have_names_and_a_unit(trained, tmp_path, monkeypatch, capsys) -> None:
    """As they fit: none of them overlaps another, nor the line below."""
    figures = []
    monkeypatch.setattr(generate, "save", lambda figure, out: figures.append(figure))
    for n in (1, 9):
        assert main(["generate", str(trained[0]), "--n", str(n), "--out", str(tmp_path / "x.png")]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'x.png'}: has {n} samples of each modality\n"
        figure = figures.pop()
        figure.canvas.draw()
        axes = {ax.get_title(): [text for text in ax.texts] for ax in figure.axes}
        names = [text.get_text() for text in axes["clinical"]]
        assert names == ["log1p(age)", "stage=I", "stage=II", "stage=III"]
        assert [text.get_text() for text in axes["rna"]] == ["g0", "g1", "g2"]
        line = figure.get_supxlabel().replace("\n", " ")
        assert line.startswith("Bars: standard deviations from the mean of the training data")
        boxes = [text.get_window_extent() for text in axes["clinical"]]
        edges = [(left.x1, right.x0) for left, right in itertools.pairwise(boxes)]
        assert all(end < start + 1 for end, start in edges), edges
        assert min(box.y0 for box in boxes) > figure._supxlabel.get_window_extent().y1


def test_a_model_takes_and_gives_data_frames(trained) -> None:
    model = mmjsd.load(trained[0])
    columns = model.scales["rna"].columns
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=columns)
    given: dict[str, Any] = {"rna": frame[columns[::-1]]}  # whatever their order
    np.testing.assert_array_equal(
        model.prepare(given)["rna"], model.prepare({"rna": frame.to_numpy()})["rna"]
    )
    samples = model.generate(model.prepare(given), n=2, targets=("clinical",))
    assert list(samples) == ["clinical"]
    assert pd.DataFrame(samples["clinical"].numpy(), columns=model.scales["clinical"].columns).shape == (8, 4)
    with pytest.raises(MmjsdError, match=r"^rna: has no column 'g1'; it needs g0, g1, g2$"):
        model.prepare({"rna": frame[["g0", "g2"]]})
