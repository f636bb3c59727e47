"""The chain of a run that real steps made, and what becomes of it when a file is touched."""

import json
import shutil
from pathlib import Path

import pytest

from mmjsd.cli import main
from mmjsd.errors import MmjsdError
from mmjsd.provenance.chain import chain, describe

RUN = Path("results/tiny/js/seed-1")


def test_the_chain_leads_from_the_sources_to_the_metrics(evaluated: Path) -> None:
    links = chain(RUN)
    assert [link.record.as_posix() for link in links] == [
        "data/tiny.record.json",
        *(f"results/tiny/classifiers/{modality}/record.json" for modality in ("mnist", "svhn", "text")),
        "results/tiny/js/seed-1/training.record.json",
        "results/tiny/js/seed-1/evaluation.record.json",
    ]
    sources = [file for file in links[0].files if file.role == "source"]
    assert len(sources) == 6
    assert all(file.found == file.recorded for file in sources)
    wrote = {file.name: file.recorded for link in links for file in link.files if file.role == "wrote"}
    metrics = json.loads((RUN / "metrics.json").read_bytes())
    assert wrote["data/tiny.h5"] == metrics["meta/data_sha256"]
    assert links[4].params["seed"] == 1
    assert links[4].made["version.torch"]
    text = describe(links)
    assert wrote[f"{RUN}/model.safetensors"] in text
    assert "sources/standin/tiny/" in text


@pytest.mark.parametrize(
    "name",
    [
        "data/tiny.h5",
        "results/tiny/classifiers/svhn/model.safetensors",
        f"{RUN}/model.safetensors",
        f"{RUN}/metrics.json",
        "sources/standin/tiny/svhn/test_32x32.mat",
    ],
)
def test_a_file_that_is_not_what_it_was_is_named(
    evaluated: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(evaluated.glob(f"**/{Path(name).name}")) if name.startswith("sources") else evaluated / name
    with path.open("ab") as file:
        file.write(b"x")
    assert main(["provenance", str(RUN)]) == 1
    error = capsys.readouterr().err
    assert f"{path.relative_to(evaluated)}: is not what was recorded" in error


def test_a_missing_file_is_named_but_a_source_may_be_gone(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(evaluated / "sources")
    assert main(["provenance", str(RUN)]) == 0
    assert "every hash holds" in capsys.readouterr().out
    (RUN / "history.csv").unlink()
    assert main(["provenance", str(RUN)]) == 1
    assert f"{RUN}/history.csv: is missing" in capsys.readouterr().err


def test_it_may_be_asked_from_anywhere(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not [file.fault for link in chain(evaluated / RUN) for file in link.files if file.fault]


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"inputs": {}}', '{"inputs": 1, "outputs": 1, "params": {}}']
)
def test_a_damaged_record_is_refused(evaluated: Path, text: str) -> None:
    (RUN / "training.record.json").write_text(text)
    with pytest.raises(MmjsdError, match=r"training\.record\.json: damaged or missing"):
        chain(RUN)


@pytest.mark.parametrize("name", ["results/tiny", "nowhere", "."])
def test_other_folders_are_refused(evaluated: Path, name: str) -> None:
    with pytest.raises(MmjsdError, match="no evaluated run"):
        chain(Path(name))
