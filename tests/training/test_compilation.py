"""Compiling where it does not work. That it changes nothing where it works is in `test_checkpoint.py`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmjsd import devices
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from mmjsd.training import loop, model_file
from mmjsd.training.compilation import repays_compilation
from support.training import assert_same_weights, begun_again_and_again, train

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


@pytest.mark.parametrize(
    ("flags", "limit", "repays"),
    [
        ("avx512_bf16 amx_bf16 amx_tile", None, True),
        ("avx512_bf16 amx_bf16 amx_tile", "avx512_core_amx", True),
        ("avx512_bf16 amx_bf16 amx_tile", "AVX512_CORE_BF16", False),
        ("avx512_bf16", None, False),
        (None, None, False),  # not on Linux
    ],
)
def test_what_repays_compilation_on_processors(monkeypatch, tmp_path, flags, limit, repays):
    monkeypatch.setattr(devices, "_PROCESSOR", tmp_path / "cpuinfo")
    if flags:
        (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n")
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert [repays_compilation("auto", n, CPU) for n in (3_999_999, 4_000_000)] == [False, repays]
    assert repays_compilation("on", 1, CPU)


def test_what_repays_compilation_on_gpus():
    assert [repays_compilation("auto", n, CUDA) for n in (19_999_999, 20_000_000)] == [False, True]
    assert not repays_compilation("auto", 10**12, MPS)
    assert [repays_compilation(wanted, 1, MPS) for wanted in ("on", "off")] == [True, False]


BROKEN = """#!/bin/sh
case "$*" in *--version*) echo "g++ 12.2.0"; exit;; esac
echo "header.hpp:1:
/torch/python_headers.h:12:10: fatal error: Python.h: No such file or directory
   12 | #include <Python.h>" >&2
exit 1
"""
SCRIPT = """
import sys
from pathlib import Path
from support.samples import make_run
from mmjsd.training import loop
from mmjsd.data.store import read_store
from mmjsd.errors import MmjsdError

store, folder = read_store(sys.argv[1]), Path(sys.argv[2])
try:
    loop.train(make_run(epochs=1, compile="on"), store, folder / "on", name="tiny", seed=1)
except MmjsdError as error:
    print(error, file=sys.stderr)
loop.repays_compilation = lambda *_: True  # as for a long run
loop.train(make_run(epochs=1), store, folder / "auto", name="tiny", seed=1)
"""


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("compiler", "cause"),
    [
        (BROKEN, "/torch/python_headers.h:12:10: fatal error: Python.h: No such file or directory"),
        (None, "InvalidCxxCompiler: No working C++ compiler found in "),
    ],
    ids=["broken", "none"],
)
def test_a_compiler_that_does_not_work(store, tmp_path, compiler, cause):
    """A line each, and `auto` trains to the model of `off`; `on` stops, for it would be another model."""
    (tmp_path / "bin").mkdir()
    if compiler:
        for name in ("g++", "c++", "clang++"):
            (tmp_path / "bin" / name).write_text(compiler)
            (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("CXX", "CC")},
        "PATH": str(tmp_path / "bin"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    outcome = subprocess.run(
        [sys.executable, "-c", SCRIPT, store.path, tmp_path], env=environment, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr
    told = [line for line in outcome.stderr.splitlines() if "No CUDA runtime" not in line]
    stopped, continued = told
    assert stopped.startswith(f"runs.tiny.compile: on, but torch.compile fails here ({cause}")
    assert stopped.endswith("headers of Python, or set it to auto or off")
    assert continued.startswith(f"tiny: training without torch.compile, which fails here ({cause}")
    assert not list((tmp_path / "on").iterdir())
    train(store, tmp_path / "off", run_options={"epochs": 1, "compile": "off"})
    assert_same_weights(tmp_path / "off", tmp_path / "auto")


class Compiler:
    """What takes the place of `torch.compile`: it works, or fails when the compiled code is first called."""

    def __init__(self):
        self.works, self.calls = True, 0

    def __call__(self, function):
        def compiled(*arguments):
            self.calls += 1
            loss = function(*arguments)
            if not self.works:
                raise RuntimeError(
                    "CppCompileError: C++ compile error\n\nOutput:\ng++: error: no input files"
                )
            return loss

        return compiled


@pytest.fixture
def compiler(monkeypatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    monkeypatch.setattr(loop, "repays_compilation", lambda wanted, *_: wanted != "off")
    return compiler


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["resident", "streamed"])
def test_trying_leaves_no_trace(store, tmp_path, compiler, works, resident_bytes):
    """It draws random numbers, and computes gradients and, in some networks, statistics of the batch."""
    options = {"resident_bytes": resident_bytes, "private_latent": 2, "kl_warmup_epochs": 1}
    train(store, tmp_path / "off", run_options={"compile": "off", **options})
    compiler.works = works
    train(store, tmp_path / "auto", run_options=options)
    assert compiler.calls == (1 + 3 * 3 if works else 1)
    assert_same_weights(tmp_path / "off", tmp_path / "auto")
    if works:
        begun_again_and_again(store, tmp_path / "broken", 1, run_options=options)
        assert_same_weights(tmp_path / "off", tmp_path / "broken")


def test_statistics_of_batches_are_as_before(compiler, store, tmp_path, monkeypatch):
    class Normalising(model_file.MultimodalVAE):
        """With batch normalisation, which nothing in the networks of digits has."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.encoders["mnist"].append(torch.nn.BatchNorm1d(400))

    monkeypatch.setattr(model_file, "MultimodalVAE", Normalising)
    for wanted in ("off", "auto"):
        train(store, tmp_path / wanted, run_options={"compile": wanted})
    assert_same_weights(tmp_path / "off", tmp_path / "auto")


def test_a_compiler_that_is_gone_when_training_goes_on(store, tmp_path, compiler, capsys):
    options = {"run_options": {"precision": "float32"}}
    with pytest.raises(Interrupted):
        train(store, tmp_path, asked_to_end=lambda: signal.SIGTERM, **options)
    until, on = (f"on cpu in float32, {compiled}, threads: 1" for compiled in ("compiled", "not compiled"))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["how"] == until
    compiler.works = False
    train(store, tmp_path, **options)
    assert capsys.readouterr().err.splitlines() == [
        "tiny: training without torch.compile, which fails here (g++: error: no input files)",
        f"{tmp_path / 'checkpoint.pt'}: computed {until} until here, and {on} from here on: the numbers are "
        "not exactly those of training without interruption",
    ]


def test_a_compiler_that_is_asked_for(store, tmp_path, compiler):
    compiler.works = False
    with pytest.raises(
        MmjsdError, match=r"^runs\.tiny\.compile: on, but torch.compile fails .*no input files"
    ):
        train(store, tmp_path, run_options={"compile": "on"})
    assert list(tmp_path.iterdir()) == []
