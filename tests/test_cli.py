import argparse
import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mmjsd import cli, registry
from mmjsd.cli import main
from mmjsd.data.standin.digits import write_mnist, write_svhn
from mmjsd.errors import MmjsdError, choice_of
from mmjsd.interruption import Interrupted
from support.training import train_judges_briefly

PARAMS = """
datasets: {tiny: {kind: mnist_svhn_text, options: {standin_train: 20, standin_test: 20, pairs_per_sample: 1}}}
runs: {js: {dataset: tiny, objective: mmjsd, tracking: after}}
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
            "results/tiny/js/seed-1/model.safetensors: not there yet; `mmjsd train js --seed 1` makes it",
        ),
        (
            "compare",
            "results/tiny/js/seed-1/metrics.json: not there yet; `mmjsd evaluate js --seed 1` makes it",
        ),
        (
            "generate results/tiny/js/seed-1 --out a.png --given text=one --given text=two",
            "--given: one modality is given twice; give each once",
        ),
        (
            "train js --params none.yaml",
            "none.yaml: no such parameter file; work in a project (`mmjsd init FOLDER` lays one down)",
        ),
    ],
)
def test_a_fault_is_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, line: str
) -> None:
    assert told(capsys, *arguments.split()) == line
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]


OBJECTIVES = registry.entries("objectives")


def test_all_faults_of_the_parameters_are_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS.replace("mmjsd,", "mmjds, beta: -1,"))
    assert told(capsys, "params", "check").splitlines() == [
        f"params.yaml: runs.js.objective: must be {choice_of(OBJECTIVES)}; did you mean mmjsd? (got mmjds)",
        "params.yaml: runs.js.beta: must be >= 0 (got -1)",
    ]


def test_sound_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", "check"]) == 0
    assert capsys.readouterr().out == "params.yaml: 1 runs, 1 seeds, 1 trainings, no faults\n"


def test_the_runs_of_sweeps_are_listed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    sweep = "sweeps:\n  s: {dataset: tiny, vary: {objective: [mmjsd, mvae], beta: [1]}}\n"
    (folder / "params.yaml").write_text(f"{PARAMS}\n{sweep}")
    assert main(["params", "check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sweeps.s: 2 runs",
        "  s-beta=1.0-objective=mmjsd",
        "  s-beta=1.0-objective=mvae",
        "params.yaml: 3 runs, 1 seeds, 3 trainings, no faults",
    ]


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", "schema"]) == 0
    assert "runs" in json.loads(capsys.readouterr().out)["properties"]


def test_a_step_leaves_its_record(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["data", "build", "tiny"]) == 0
    record = json.loads((folder / "data/tiny.record.json").read_bytes())
    assert list(record["outputs"]) == ["data/tiny.h5"]
    assert {"mmjsd.data.kinds.mnist_svhn_text:build", "mmjsd.data.standin.digits:write_svhn"} <= record[
        "code"
    ].keys()
    assert main(["data", "info", "data/tiny.h5"]) == 0
    assert "mnist_svhn_text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("train", "test", "fault"),
    [
        (30, 10, "its test split has 10 samples with mnist, 20 are needed"),
        (10, 30, "its train split has 10 samples with mnist, 20 are needed"),
        (30, 20, None),
    ],
)
def test_data_too_few_to_be_judged_are_told_by_the_build(
    capsys: pytest.CaptureFixture[str], folder: Path, train: int, test: int, fault: str | None
) -> None:
    """And not by the evaluation, after training."""
    for write in (write_mnist, write_svhn):
        write(folder / "files", train, test, 0)
    (folder / "params.yaml").write_text(
        "datasets: {tiny: {kind: mnist_svhn_text, source: files, options: {pairs_per_sample: 1}}}\n"
        "runs: {js: {dataset: tiny, objective: mmjsd}}\n"
    )
    if fault is None:
        assert main(["data", "build", "tiny"]) == 0
        return
    line = f"data/tiny.h5: {fault}; give datasets.tiny a source that has more"
    assert told(capsys, "data", "build", "tiny") == line
    assert not (folder / "data/tiny.record.json").exists()
    # nor does a step accept a store that was made elsewhere
    assert told(capsys, "classify", "tiny", "text") == line
    assert told(capsys, "train", "js") == line


def test_sample_sizes_beyond_the_data_are_all_of_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training and in every metric: none of these keys asks for more than there is."""
    train_judges_briefly(monkeypatch)
    (folder / "params.yaml").write_text(
        PARAMS + "training: {epochs: 1, batch_size: 60000, threads: 1, device: cpu, network_width: 0.05}\n"
        "evaluation: {train_samples: 1000000, test_samples: 1000000, quality_samples: 1000000, "
        "likelihood_pairs: 1000000, random_samples: 10, importance_samples: 1, classifier_epochs: 1, "
        "threads: 1}\n"
    )
    steps = ["data build tiny", *(f"classify tiny {name}" for name in ("mnist", "svhn", "text"))]
    for step in [*steps, "train js", "evaluate js"]:
        assert main(step.split()) == 0, step


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (MmjsdError("file: is broken"), 1, "file: is broken"),
        (OSError(errno.ENOSPC, "No space left on device", "big.h5"), 1, "big.h5: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), 1, "/a/b: Read-only file system"),
        (OSError("odd"), 1, "odd"),
        (Interrupted(signal.SIGINT, "interrupted"), 130, "interrupted"),
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


def test_a_file_is_named_as_people_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a" / "b"))

    monkeypatch.setattr(cli.params, "load", fail)
    monkeypatch.chdir(tmp_path)
    assert main(["params", "check"]) == 1
    assert capsys.readouterr().err == "a/b: Read-only file system\n"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(1 << 60),
        lambda: np.empty(1 << 56),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")),
        lambda: (_ for _ in ()).throw(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)")),
    ],
    ids=["torch", "numpy", "GPU", "Apple"],
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


def test_every_argument_has_a_help() -> None:
    """Of every command; an option that has a default says it, but for lists and switches, which are empty."""

    def of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from of(command)
            else:
                yield parser.prog, action

    arguments = list(of(cli._parser()))
    assert len({prog for prog, _ in arguments}) > 15
    assert [(prog, action.dest) for prog, action in arguments if not action.help] == []
    with_default = [(prog, a) for prog, a in arguments if a.default not in (None, False, [], "==SUPPRESS==")]
    assert [(prog, a.dest) for prog, a in with_default if "default: " not in str(a.help)] == []
    for prog in {prog for prog, _ in arguments}:  # percent signs would be taken for places of values
        with pytest.raises(SystemExit) as caught:
            main([*prog.split()[1:], "--help"])
        assert caught.value.code == 0


def test_help_is_quick() -> None:
    heavy = ("torch", "mlflow", "h5py", "sklearn")
    code = f"import sys, mmjsd.cli; print([name for name in {heavy} if name in sys.modules])"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert time.perf_counter() - started < 5  # without them far less, with them on a busy machine more
