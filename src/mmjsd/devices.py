"""Where a run computes, and how fast it may: device, threads, precision, compilation."""

import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from mmjsd.errors import MmjsdError

__all__ = ["autocast", "memory_budget", "pick_device", "repays_compilation"]

_held: list[FileLock] = []


def pick_device(wanted: str) -> torch.device:
    """The device of a `device` parameter; `auto` takes the GPU with the fewest runs, else the CPU.

    Raises:
        MmjsdError: a GPU is asked for and there is none, or not that one.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return torch.device("cpu")
    device = torch.device(wanted if wanted != "auto" else _free_gpu(gpus))
    if (device.index or 0) >= gpus:
        raise MmjsdError(f"device: {wanted} is asked for, but {gpus} GPU(s) found; use auto or cpu")
    torch.cuda.set_device(device.index or 0)
    return torch.device("cuda", device.index or 0)


def _free_gpu(gpus: int) -> str:
    """Runs that start at the same time spread over the GPUs: each holds the lock of a place until it ends."""
    for place, gpu in itertools.product(itertools.count(), range(gpus)):
        lock = FileLock(Path(tempfile.gettempdir()) / f"mmjsd-gpu{gpu}-place{place}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            _held.append(lock)
            return f"cuda:{gpu}"
    raise AssertionError("unreachable")


def memory_budget(device: torch.device) -> int:
    """Bytes of data to keep on the device: half of what is free now, for several runs may share it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def autocast(precision: str, device: torch.device) -> Any:
    """Context of the networks' precision; `auto` is bfloat16 on processors that compute in it natively."""
    if precision == "auto":
        precision = "bfloat16" if device.type == "cpu" and _processor_has_bfloat16() else "float32"
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _processor_has_bfloat16() -> bool:
    with contextlib.suppress(OSError):
        return any(flag in Path("/proc/cpuinfo").read_text() for flag in ("avx512_bf16", "amx_bf16"))
    return False


def repays_compilation(wanted: str, samples: int, device: torch.device) -> bool:
    """Whether to compile a run of so many samples.

    Measured on two cores: compiling takes 20-40 s and then saves 3-15 % of a step of about 0.4 ms a sample,
    so that it is repaid after one to two million samples. Needs a C++ compiler.
    """
    if wanted == "auto":
        has_compiler = device.type == "cuda" or any(map(shutil.which, ("c++", "g++", "clang++")))
        return has_compiler and samples >= (2_000_000 if device.type == "cpu" else 20_000_000)
    return wanted == "on"
