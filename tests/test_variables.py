"""Which variables reach a step; what they would do there: tests/reliability/test_hostile_environment.py."""

import os
import subprocess
import sys

import pytest

from mmjsd.cli import main
from mmjsd.variables import Member, cores, drop_inherited, member, set_threads, usable

DROPPED = """
    MLFLOW_RUN_ID MLFLOW_EXPERIMENT_ID MLFLOW_EXPERIMENT_NAME MLFLOW_RUN_NAME MLFLOW_REGISTRY_URI
    MLFLOW_ENABLE_ASYNC_LOGGING MLFLOW_ACTIVE_MODEL_ID _MLFLOW_ACTIVE_MODEL_ID MPLBACKEND MATPLOTLIBRC
    HDF5_DRIVER TQDM_MININTERVAL TORCH_LOGS TORCHINDUCTOR_MAX_AUTOTUNE PYTORCH_JIT SKLEARN_WORKING_MEMORY
    GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE PYTHONWARNINGS
"""
HONOURED = """
    MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_TOKEN MLFLOW_HTTP_REQUEST_MAX_RETRIES
    MLFLOW_S3_ENDPOINT_URL MLFLOW_WORKSPACE MPLCONFIGDIR HDF5_USE_FILE_LOCKING TQDM_DISABLE
    TORCHELASTIC_RUN_ID TORCHELASTIC_USE_AGENT_STORE TORCHINDUCTOR_CACHE_DIR PYTORCH_CUDA_ALLOC_CONF
    CUDA_VISIBLE_DEVICES AWS_PROFILE HTTPS_PROXY no_proxy
    GIT_CONFIG_COUNT GIT_CONFIG_GLOBAL DVC_EXP_NAME DVC_ROOT OPENBLAS_CORETYPE HOME PATH TMPDIR PYTHONPATH
"""


def test_what_steers_goes_and_what_reaches_stays() -> None:
    variables = dict.fromkeys([*DROPPED.split(), *HONOURED.split()], "x")
    drop_inherited(variables)
    assert set(variables) == set(HONOURED.split())


def test_a_process_that_calls_a_command_keeps_its_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    before = dict(os.environ)
    assert main(["params", "schema"]) == 0
    assert os.environ == before


def test_threads_are_those_of_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    set_threads(1)
    code = (
        "import numpy, sklearn, threadpoolctl, torch\n"
        "assert {pool['num_threads'] for pool in threadpoolctl.threadpool_info()} == {1}\n"
        "assert torch.get_num_threads() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    set_threads(2)
    assert (cores(), usable(1), capsys.readouterr().err) == (2, 1, "")
    set_threads(3)
    assert set(os.environ.values()) == {"2"}
    assert capsys.readouterr().err == (
        "threads: 3 wanted, on as many cores as this process may use: 2; "
        "the last bits of the numbers may differ\n"
    )
    monkeypatch.delattr(os, "sched_getaffinity")  # on a Mac
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert usable(8) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_in_any_encoding(encoding: str) -> None:
    code = "import sys; from mmjsd.cli import main; sys.argv[1:] = ['params', 'check']; main(); print('µ±ü☃')"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_several_processes_are_those_of_torchrun_and_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert member(own) is None  # a cluster's, for whatever it starts
    assert member(own | {"TORCHELASTIC_RUN_ID": "x"}) == Member(3, 4, 1, 2)
    assert member(own | {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1"}) is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable(8) == 8
    for name, value in (own | {"TORCHELASTIC_RUN_ID": "x"}).items():
        monkeypatch.setenv(name, value)
    assert (usable(8), usable(3)) == (4, 3)
