"""Environment variables that steer a library: which of them reach a step, and how many threads it has.

Notebooks, launchers, hooks and other projects leave variables behind. A step is steered by its parameters; of
the variables it honours those that say what there is on this machine and how to reach what is elsewhere. The
table in docs/reliability.md lists them.
"""

import os
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from fnmatch import fnmatchcase
from typing import NamedTuple

__all__ = ["Member", "cores", "drop_inherited", "member", "set_threads", "usable"]

#: Patterns of names that no step sees, each but for those of _HONOURED.
_DROPPED = (
    *("MLFLOW_*", "_MLFLOW_*", "OTEL_*"),  # MLFLOW_RUN_ID: log into that run
    *("MPLBACKEND", "MATPLOTLIBRC"),  # figures are drawn without a backend, and look the same for everybody
    *("TORCH*", "PYTORCH_*", "TRITON_*", "NVIDIA_TF32_OVERRIDE"),
    *("NUMPY_*", "NPY_PROMOTION_STATE", "SCIPY_*", "SKLEARN_*", "JOBLIB_*", "LOKY_*", "PANDAS_*"),
    *("HDF5_*", "TQDM_*"),
    # set in hooks: another repository than that of the working directory
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("PYTHONWARNINGS", "SOURCE_DATE_EPOCH"),  # error: a library's warning ends a step
)

_HONOURED = (
    *("MLFLOW_TRACKING_*", "MLFLOW_WORKSPACE", "MLFLOW_HTTP_*", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT"),
    *("MLFLOW_S3_*", "MLFLOW_GCS_*", "MLFLOW_BOTO_*", "MLFLOW_KERBEROS_*", "MLFLOW_*MULTIPART_UPLOAD*"),
    *("TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
    *("TORCHELASTIC_*", "TORCH_NCCL_*"),  # of torchrun: how its processes reach each other
    *("PYTORCH_*ALLOC_CONF", "PYTORCH_MPS_*", "PYTORCH_ENABLE_MPS_FALLBACK"),
    *("JOBLIB_TEMP_FOLDER", "HDF5_USE_FILE_LOCKING", "TQDM_DISABLE"),
)

_THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)


def drop_inherited(variables: MutableMapping[str, str] = os.environ) -> None:
    """Remove what steers a library behind the parameters' back; before the libraries are imported.

    A user without a home, as in a container, gets one that is not there: MLflow wants to know it.
    """
    for name in list(variables):
        if _is_any(name, _DROPPED) and not _is_any(name, _HONOURED):
            del variables[name]
    if os.path.expanduser("~") == "~":
        variables["HOME"] = os.devnull
    if any(option.startswith("error") for option in sys.warnoptions):  # Python has read it already
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)


class Member(NamedTuple):
    """Which of several processes this is, that a launcher such as torchrun has started to train one model."""

    rank: int
    processes: int
    local_rank: int
    local_processes: int
    """Those on the same machine."""


def member(variables: Mapping[str, str] = os.environ) -> Member | None:
    """Tell which of several processes this is; None: it is alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    # clusters set some of these for programs of all kinds
    if not {*names, "TORCHELASTIC_RUN_ID"} <= variables.keys() or variables["WORLD_SIZE"] == "1":
        return None
    return Member(*(int(variables[name]) for name in names))


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable(threads: int) -> int:
    """Give so many threads, or as many as there are cores, which several processes share.

    More than those wait for each other at full speed: two on one core took 190 times as long as one.
    """
    among = member()
    return min(threads, max(1, cores() // (among.local_processes if among else 1)))


def set_threads(number: int) -> None:
    """Have numpy and its kin compute with so many threads, as Snakemake does; before they are imported.

    The number is a parameter, for sums are split by it. A line says so where there are fewer cores.
    """
    if usable(number) < number:
        told = f"threads: {number} wanted, on as many cores as this process may use: {usable(number)}"
        print(f"{told}; the last bits of the numbers may differ", file=sys.stderr, flush=True)
    os.environ |= dict.fromkeys(_THREADS, str(usable(number)))


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
