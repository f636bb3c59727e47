import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmjsd import cli
from mmjsd.cli import main
from mmjsd.errors import MmjsdError

PARAMS = """
datasets: {tiny: {kind: mnist_svhn_text, options: {standin_train: 20, standin_test: 20, pairs_per_sample: 1}}}
runs: {js: {dataset: tiny, objective: mmjsd}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails prints."""
    assert main(arguments) == 1
    return capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train jss", "jss: no such run; did you mean js?"),
        ("data build faces", "faces: no such dataset; there is tiny"),
        ("classify tiny sound", "sound: no such modality of tiny; there is mnist, svhn, text"),
        ("train js", "data/tiny.h5: not there yet; `mmjsd data build tiny` makes it"),
        ("classify tiny mnist", "data/tiny.h5: not there yet; `mmjsd data build tiny` makes it"),
        (
            "evaluate js",
            "results/tiny/js/seed-1/model.pt: not there yet; `mmjsd train js --seed 1` makes it",
        ),
        (
            "compare",
            "results/tiny/js/seed-1/metrics.json: not there yet; `mmjsd evaluate js --seed 1` makes it",
        ),
        (
            "generate results/tiny/js/seed-1 --out a.png --given text=one --given text=two",
            "--given: one modality is given twice; give each once",
        ),
        ("train js --params none.yaml", "none.yaml: no such parameter file"),
    ],
)
def test_a_fault_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, line: str
) -> None:
    assert told(capsys, *arguments.split()) == line
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]


def test_all_faults_of_the_parameters_are_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS.replace("mmjsd}", "mmjds, beta: -1}"))
    assert told(capsys, "params", "check").splitlines() == [
        "params.yaml: runs.js.beta: must be >= 0 (got -1)",
        "params.yaml: runs.js.objective: must be 'mmjsd', 'mvae' or 'mmvae'; did you mean mmjsd? (got mmjds)",
    ]


def test_sound_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", "check"]) == 0
    assert capsys.readouterr().out == "params.yaml: 1 runs, 1 seeds, no faults\n"


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", "schema"]) == 0
    assert "runs" in json.loads(capsys.readouterr().out)["properties"]


def test_a_step_leaves_its_record(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["data", "build", "tiny"]) == 0
    record = json.loads((folder / "data/tiny.record.json").read_bytes())
    assert list(record["outputs"]) == ["data/tiny.h5"]
    assert "mmjsd.data.standin" in record["code"]
    assert main(["data", "info", "data/tiny.h5"]) == 0
    assert "mnist_svhn_text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (MmjsdError("file: is broken"), 1, "file: is broken"),
        (OSError(errno.ENOSPC, "No space left on device", "big.h5"), 1, "big.h5: No space left on device"),
        (OSError("odd"), 1, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_goes_wrong_has_its_exit_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    line: str,
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(cli.params, "load", fail)
    assert main(["params", "check"]) == code
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(1 << 60),
        lambda: np.empty(1 << 56),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")),
    ],
    ids=["torch", "numpy", "GPU"],
)
def test_too_little_memory_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setattr(cli.params, "load", lambda _: ask())
    assert told(capsys, "train", "js").startswith("train js: not enough memory; lower batch_size, ")


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(cli.params, "load", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["params", "check"])


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "tain js",
        "train",
        "train js --seed -1",
        "train js --seed 1.5",
        "train js --seed 99999999999",
        "generate folder",
        "generate folder --out a.png --n 0",
        "generate folder --out a.png --given text",
    ],
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert "usage: mmjsd" in capsys.readouterr().err


def test_help_is_quick() -> None:
    heavy = ("torch", "mlflow", "h5py", "sklearn")
    code = f"import sys, mmjsd.cli; print([name for name in {heavy} if name in sys.modules])"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert time.perf_counter() - started < 5  # without them far less, with them on a busy machine more
