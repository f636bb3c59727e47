"""An environment that steers every library it can, as notebooks, launchers, hooks and other projects do.

As a program it runs tests there, without a home, in a copy of the repository that has an odd path:
`uv run python tests/hostile.py tests --ignore=tests/reliability`, with any arguments of pytest.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from mmjsd.variables import drop_inherited

NOWHERE = "/proc/nowhere"

#: What a variable is set to that is left out here: nonsense.
VALUES = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MPLCONFIGDIR": NOWHERE,
    "TMPDIR": NOWHERE,
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "PYTHONSTARTUP": NOWHERE,
    "LC_ALL": "C",
    "LANG": "C",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "OMP_NUM_THREADS": "7",
    "GIT_DIR": NOWHERE,
    "GIT_WORK_TREE": NOWHERE,
    "GIT_INDEX_FILE": NOWHERE,
    "DVC_ROOT": NOWHERE,
    "XDG_CONFIG_HOME": NOWHERE,
    "XDG_DATA_HOME": NOWHERE,
    "BASH_ENV": NOWHERE,
    "WORLD_SIZE": "8",
    "RANK": "7",
    "LOCAL_RANK": "7",
}

NAMES = re.findall(
    r"\w+",
    """
    MATPLOTLIBRC SOURCE_DATE_EPOCH TORCH_LOGS TORCH_COMPILE_DEBUG TORCH_TRACE TORCH_CPP_LOG_LEVEL
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCHINDUCTOR_COMPILE_THREADS TORCHINDUCTOR_MAX_AUTOTUNE
    TORCHDYNAMO_VERBOSE TORCHDYNAMO_DISABLE PYTORCH_JIT PYTORCH_NVML_BASED_CUDA_CHECK TRITON_INTERPRET
    NVIDIA_TF32_OVERRIDE CUDA_VISIBLE_DEVICES CUDA_LAUNCH_BLOCKING MKL_NUM_THREADS MKL_DYNAMIC
    GOTO_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS VECLIB_MAXIMUM_THREADS OMP_SCHEDULE
    OMP_DYNAMIC OMP_PROC_BIND KMP_AFFINITY KMP_BLOCKTIME NUMPY_MADVISE_HUGEPAGE NPY_PROMOTION_STATE
    SKLEARN_WORKING_MEMORY SKLEARN_ASSUME_FINITE SKLEARN_PAIRWISE_DIST_CHUNK_SIZE SCIPY_ARRAY_API
    JOBLIB_START_METHOD JOBLIB_MULTIPROCESSING LOKY_MAX_CPU_COUNT LOKY_PICKLER PANDAS_COPY_ON_WRITE
    HDF5_DRIVER HDF5_DRIVER_CONFIG HDF5_VOL_CONNECTOR HDF5_PLUGIN_PATH HDF5_PLUGIN_PRELOAD HDF5_DEBUG
    HDF5_DISABLE_VERSION_CHECK HDF5_USE_FILE_LOCKING TQDM_DISABLE TQDM_MININTERVAL TQDM_NCOLS
    TQDM_POSITION PILLOW_ALIGNMENT PILLOW_BLOCK_SIZE PILLOW_BLOCKS_MAX GIT_COMMON_DIR GIT_NAMESPACE
    GIT_PREFIX GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CEILING_DIRECTORIES
    GIT_PYTHON_TRACE DVC_STAGE DVC_EXP_BASELINE_REV DVC_STUDIO_URL SNAKEMAKE_OUTPUT_CACHE
    OTEL_TRACES_SAMPLER OTEL_PYTHON_CONTEXT OTEL_PYTHON_ID_GENERATOR OTEL_EXPORTER_OTLP_ENDPOINT
    OTEL_RESOURCE_ATTRIBUTES OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT OTEL_BSP_SCHEDULE_DELAY OTEL_SDK_DISABLED
    PYDANTIC_DISABLE_PLUGINS PYDANTIC_VALIDATE_CORE_SCHEMAS PYDANTIC_ERRORS_INCLUDE_URL
    DISABLE_SQLALCHEMY_CEXT_RUNTIME ALEMBIC_CONFIG COLUMNS LINES TERM TZ CI DATABRICKS_RUNTIME_VERSION
    SLURM_JOB_ID MASTER_ADDR MASTER_PORT CDPATH
    """,
)

#: With these Snakemake, or what it imports, does not start, or complains.
NOT_FOR_SNAKEMAKE = (
    *("PYTHONWARNINGS", "NUMPY_MADVISE_HUGEPAGE", "NPY_PROMOTION_STATE"),
    *("PYTHONIOENCODING", "LC_ALL", "PILLOW_ALIGNMENT", "PILLOW_BLOCK_SIZE", "PILLOW_BLOCKS_MAX"),
)

#: Gone, as in a container with any user.
MISSING = ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")


def hostile(environment: dict[str, str]) -> dict[str, str]:
    """An environment with all of that set, and nothing that makes a home."""
    spec = find_spec("mlflow")
    assert spec
    assert spec.origin
    source = (Path(spec.origin).parent / "environment_variables.py").read_text("utf-8")
    of_mlflow = set(re.findall(r'"(_?MLFLOW_[A-Z0-9_]+)"', source))
    assert {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_ENABLE_ASYNC_LOGGING"} <= of_mlflow
    honoured = dict.fromkeys(of_mlflow, "")  # nonsense there is told
    drop_inherited(honoured)
    names = [*NAMES, *(of_mlflow - honoured.keys())]
    kept = {name: value for name, value in environment.items() if name not in MISSING}
    return kept | dict.fromkeys(names, "nonsense") | VALUES | {"MLFLOW_TRACKING_URI": ""}


#: Has all commands that the tests start see a hostile environment.
SWITCH = "MMJSD_HOSTILE"


def main(arguments: list[str]) -> int:
    repository = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix='what\'s #1, 100% "ü" ') as folder:
        copy = Path(folder) / "repository"
        listed = [
            "git",
            "-C",
            str(repository),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        for name in subprocess.run(listed, check=True, capture_output=True).stdout.decode().split("\0"):
            if name and (repository / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repository / name, copy / name)
        environment = hostile(dict(os.environ))
        # for pytest, and tests that call functions; the commands that tests start get them back
        drop_inherited(environment)
        for name in ("PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "LC_ALL"):
            del environment[name]
        environment |= {SWITCH: "1", "PYTHONPATH": str(copy / "src")}
        command = [sys.executable, "-m", "pytest", f"--basetemp={Path(folder) / 'temporary'}", *arguments]
        return subprocess.run(command, cwd=copy, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
