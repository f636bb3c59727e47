"""Where and with what something is made: the commit, the versions of the libraries, the machine."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import metadata, version
from pathlib import Path

__all__ = ["describe", "numbers_page"]

#: Libraries whose version may show in what is made.
_PACKAGES = ("mmjsd", "torch", "numpy", "scipy", "scikit-learn", "h5py", "pillow", "snakemake", "mlflow")


def describe() -> dict[str, str]:
    """Everything of it, as names and values: `git.commit`, `version.torch`, `machine.processor`, ..."""
    return {
        **_git_state(),
        "version.python": platform.python_version(),
        **{f"version.{package}": version(package) for package in _PACKAGES},
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.processor": _processor(),
        "machine.cores": str(os.cpu_count()),
        **({"machine.gpu": gpu} if (gpu := _gpu()) else {}),
    }


def numbers_page() -> str:
    """Tell where the numbers are defined: the address, if the package has one of its repository."""
    page = "docs/numbers.md"
    urls = dict(entry.split(", ", 1) for entry in metadata("mmjsd").get_all("Project-URL") or [])
    repository = urls.get("Repository", "").rstrip("/")
    return f"[{page}]({repository}/blob/main/{page})" if repository else f"`{page}` of mmjsd"


def _git_state() -> dict[str, str]:
    """Commit of the working directory, `git.commit`, and whether tracked files differ from it, `git.dirty`.

    In an experiment of DVC also its name, `dvc.experiment`. Nothing outside of git or before the first
    commit; where git fails, a line says so.
    """
    state = {}
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "HEAD")
        state = {"git.commit": commit, "git.dirty": str(bool(_git("status", "--porcelain", "-uno"))).lower()}
    except OSError:
        pass  # no git
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())[:200]  # git has none where there is no commit yet
        if reason and any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
            print(f"{Path.cwd()}: its commit is not noted, for git fails ({reason})", file=sys.stderr)
    experiment = os.environ.get("DVC_EXP_NAME")
    return state | ({"dvc.experiment": experiment} if experiment else {})


def _git(*arguments: str) -> str:
    # in containers the folder often belongs to somebody else, which does not matter to who runs its code
    trusting = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")
    command = ["git", *trusting, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpu() -> str | None:
    """The GPU that torch's current device is, or would be if one were used."""
    torch = sys.modules.get("torch")  # a step that has not imported it has not used a GPU
    try:
        if torch is None or not torch.accelerator.is_available():
            return None
        kind = torch.accelerator.current_accelerator().type
        module = torch.get_device_module(kind)
        return module.get_device_name() if hasattr(module, "get_device_name") else kind
    except Exception:  # one that is there and cannot be used fails with whatever its driver says
        return None
