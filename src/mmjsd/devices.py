"""Where a run computes, and what that device can do: precision, memory, layout of images."""

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from mmjsd.errors import MmjsdError, in_short
from mmjsd.variables import member

__all__ = [
    "as_float64",
    "autocast",
    "image_layout",
    "memory_budget",
    "own_device",
    "pick_device",
    "pick_precision",
    "pins_memory",
    "widest_float",
]

#: Accelerators: GPUs of NVIDIA and, by ROCm, of AMD; of Apple; of Intel.
_KINDS = ("cuda", "mps", "xpu")
#: Values of ONEDNN_MAX_CPU_ISA with which bfloat16 is emulated, 1.4 to 11 times slower than float32.
_WITHOUT_BFLOAT16 = {
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_MIC", "AVX512_MIC_4OPS"),
    *("AVX512_CORE", "AVX512_CORE_VNNI"),
}
_PROCESSOR = Path("/proc/cpuinfo")
#: Bytes that a process takes of a GPU before it computes anything; differences below that say nothing.
_CONTEXT = 2**27


# --- Which device -----------------------------------------------------------------------------------------


def pick_device(wanted: str) -> torch.device:
    """Choose the device of a `device` parameter and make it torch's current one.

    `auto` takes an accelerator that works, else the CPU; if one is there and none works, a line says why.
    Of several GPUs it takes the one with the most free memory at the moment, and of those about as free any:
    runs that start together spread by chance, and later ones see the memory that earlier ones take. GPUs are
    kept from it by the driver's own variables, such as CUDA_VISIBLE_DEVICES. Of several processes each takes
    the GPU of its number on the machine.

    Raises:
        MmjsdError: the device asked for is not there, or does not work, or there are fewer than processes.
    """
    if among := member():
        wanted = own_device(wanted, among.local_rank, among.local_processes)
    if wanted == "cpu":
        return torch.device("cpu")
    there, problem = _accelerators()
    if wanted != "auto":
        asked = torch.device(wanted)
        device = torch.device(asked.type, asked.index or 0)
        if device not in there:
            found = ", ".join(map(str, there)) or problem or "no accelerator"
            raise MmjsdError(f"device: {wanted} is not there (found: {found}); use auto or cpu")
        if problem := _problem(device):
            raise MmjsdError(f"device: {wanted} does not work ({problem}); use auto or cpu")
        return _made_current(device)
    for device in _most_free_first(there):
        problem = _problem(device)
        if problem is None:
            return _made_current(device)
    if problem:
        print(f"device: no GPU works ({problem}); computing on the CPU", file=sys.stderr, flush=True)
    return torch.device("cpu")


def own_device(wanted: str, number: int, processes: int) -> str:
    """Name the device of one of several processes on this machine.

    Args:
        wanted: a `device` parameter.
        number: of the process, from 0 on.
        processes: on this machine.

    Raises:
        MmjsdError: there are GPUs, but fewer than processes.
    """
    there, _ = _accelerators() if wanted != "cpu" else ([], None)
    if not there:
        return wanted
    if len(there) < processes:
        raise MmjsdError(
            f"processes: {processes} on this machine, and each needs a GPU (there: "
            f"{', '.join(map(str, there))}); set it to {len(there)}, or device to cpu"
        )
    return str(there[number])


def _accelerators() -> tuple[list[torch.device], str | None]:
    """The accelerators that torch can use, or none and what it says of that."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")  # a driver that is too old is told by a warning
        kind = torch.accelerator.current_accelerator()
        if kind is not None and kind.type in _KINDS and torch.accelerator.is_available():
            count = torch.accelerator.device_count()
            return [torch.device(kind.type, index) for index in range(count)], None
    return [], in_short(told[-1].message) if told else None


def _most_free_first(devices: list[torch.device]) -> list[torch.device]:
    if len(devices) < 2:
        return devices
    free = {device: _free_memory(device) for device in devices}
    most = max(free.values())
    # a generator of its own: the order must not change the numbers of a run
    shuffled = random.Random().sample(devices, len(devices))
    return sorted(shuffled, key=lambda device: (most - free[device]) // _CONTEXT)


def _free_memory(device: torch.device) -> int:
    """Bytes of a GPU that no process uses; 0 where the driver's tools do not tell.

    Asked of these tools, for asking the GPU itself would occupy some of each: of one in exclusive mode, all.
    """
    module = torch.get_device_module(device)
    try:
        return module.get_device_properties(device).total_memory - module.device_memory_used(device)
    except Exception:  # whatever they raise where they are missing, or not permitted
        return 0


def _problem(device: torch.device) -> str | None:
    """Why a device cannot compute, if so: it is full, another process has it, its driver is too old, ..."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what then fails
            ones = torch.ones(8, 8, device=device)
            (ones @ ones).sum().item()
    except Exception as error:  # whatever a driver's failure is raised as
        return in_short(error)
    return None


def _made_current(device: torch.device) -> torch.device:
    torch.accelerator.set_device_index(device.index)
    # else gradients of convolutions may be added in another order each time
    torch.backends.cudnn.deterministic = True
    return device


# --- What it can do ---------------------------------------------------------------------------------------


def pick_precision(wanted: str, device: torch.device) -> str:
    """Choose what networks compute in, `float32` or `bfloat16`, of a `precision` parameter.

    `auto` is bfloat16 on processors that compute in it natively.

    Raises:
        MmjsdError: bfloat16 is asked for, and the device does not have it.
    """
    if wanted == "auto":
        return "bfloat16" if device.type == "cpu" and _processor_has_bfloat16() else "float32"
    if wanted == "bfloat16":
        try:
            with warnings.catch_warnings(action="error", category=UserWarning), autocast(wanted, device):
                ones = torch.ones(8, 8, device=device)
                (ones @ ones).sum().item()
        except Exception as error:  # whatever a driver's failure is raised as
            raise MmjsdError(
                f"precision: bfloat16 does not work on {device} ({in_short(error)}); use auto or float32"
            ) from None
    return wanted


def autocast(precision: str, device: torch.device) -> Any:
    """Context in which networks compute in a precision that `pick_precision` chose."""
    return contextlib.nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)


def has_matrix_unit() -> bool:
    """Tell whether the processor multiplies matrices of bfloat16 by a unit of its own: AMX."""
    limit = _onednn_limit()
    return _processor_has("amx_bf16") and (limit in ("", "DEFAULT", "ALL") or "AMX" in limit)


def _processor_has_bfloat16() -> bool:
    return _onednn_limit() not in _WITHOUT_BFLOAT16 and _processor_has("avx512_bf16", "amx_bf16")


def _onednn_limit() -> str:
    """What oneDNN, which computes in bfloat16, is told to use at most of the processor; empty: all."""
    return (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()


def _processor_has(*flags: str) -> bool:
    with contextlib.suppress(OSError):
        processor = _PROCESSOR.read_text()
        return any(flag in processor for flag in flags)
    return False


def widest_float(device: torch.device) -> torch.dtype:
    """float64 on devices all of which have it; Apple's GPUs have none, and not all of Intel's do."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def as_float64(values: Tensor) -> Tensor:
    """Values in double precision, on the CPU if their device may not have it."""
    return (values if widest_float(values.device) == torch.float64 else values.cpu()).double()


def image_layout(device: torch.device) -> torch.memory_format:
    """The layout that convolutions are fastest in.

    Channels last but on Apple's GPUs, where it is slower, and fails in some versions of torch (its issues
    188371 and 193349).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def pins_memory(device: torch.device) -> bool:
    """Whether data come to the device faster from pinned memory, and while it computes.

    On others such a copy must be waited for: on MPS it may read memory that is already in use for
    something else (torch's issue 189690).
    """
    return device.type in ("cuda", "xpu")


# --- Memory -----------------------------------------------------------------------------------------------

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def memory_budget(device: torch.device) -> int:
    """Bytes of data to keep on the device: half of what is free now, for several runs may share it.

    Several processes share the memory of the machine, and each has its GPU's.
    """
    if device.type in ("cpu", "mps"):
        free = min([psutil.virtual_memory().available, *_left_in_control_groups()])
        if device.type == "mps":  # has a part of the machine's memory
            free = min(free, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
        among = member()
        return max(0, free) // 2 // (among.local_processes if among else 1)
    try:
        return torch.get_device_module(device).mem_get_info(device)[0] // 2
    except RuntimeError:  # drivers of some of Intel's GPUs don't tell
        return 0


def _left_in_control_groups() -> Iterator[int]:
    """Bytes left to each control group of this process that has a limit: a container, a batch job (Linux)."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used, cached = _CONTROL_GROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):  # version 1
            top, limit, used = _CONTROL_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        group = top / path.lstrip("/")
        # up to the top, for in a container the path may be that outside of it
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            with contextlib.suppress(OSError, ValueError, KeyError):  # not there, or no limit ("max")
                parts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(parts[cached])
                yield int((folder / limit).read_text()) - taken
