import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmjsd import devices
from mmjsd.devices import (
    as_float64,
    autocast,
    image_layout,
    memory_budget,
    own_device,
    pick_device,
    pick_precision,
    pins_memory,
    widest_float,
)
from mmjsd.errors import MmjsdError
from mmjsd.variables import Member
from support.pretended import pretended_gpu

GIB = 2**30
KINDS = ("cuda", "mps", "xpu")
CPU = torch.device("cpu")


# --- Which device -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_the_accelerator_there_is(kind, capsys):
    with pretended_gpu(kind) as gpu:
        assert pick_device("auto") == pick_device(kind) == torch.device(kind, 0)
        assert gpu.current == 0
        assert torch.backends.cudnn.deterministic  # the same numbers each time
        assert pick_device("cpu") == CPU
    assert capsys.readouterr().err == ""


def test_auto_is_the_cpu_where_there_is_none(monkeypatch, capsys):
    for kind in (None, torch.device("cuda")):  # torch built for none, or for one that is not there
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda kind=kind: kind)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
        assert pick_device("auto") == CPU
    # one that nothing here is made for
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("hpu"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert pick_device("auto") == CPU
    assert capsys.readouterr().err == ""


def test_auto_is_the_gpu_with_most_free_memory():
    with pretended_gpu("cuda", free=(3 * GIB, 20 * GIB, 9 * GIB)) as gpu:
        assert {pick_device("auto") for _ in range(20)} == {torch.device("cuda", 1)}
        assert gpu.current == 1
        assert pick_device("cuda") == torch.device("cuda", 0)
        assert pick_device("cuda:2") == torch.device("cuda", 2)
        assert gpu.current == 2


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_runs_that_start_together_spread(kind):
    """Over those about as free; what a display takes of one of them does not count."""
    with pretended_gpu(kind, free=(20 * GIB, 20 * GIB - 2**20, 20 * GIB - 2**26, 4 * GIB)):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        times = Counter(pick_device("auto").index for _ in range(300))
        assert torch.equal(torch.get_rng_state(), before)  # the numbers of a run are not touched
    assert set(times) == {0, 1, 2}
    assert min(times.values()) > 50  # 100 is expected


def test_free_memory_that_nobody_tells(monkeypatch):
    """The tools of the driver are missing, or not permitted."""
    with pretended_gpu("cuda", free=(GIB, GIB)):
        monkeypatch.delattr(torch.get_device_module("cuda"), "device_memory_used")
        assert {pick_device("auto").index for _ in range(50)} == {0, 1}


def test_auto_takes_the_next_gpu_where_one_does_not_work(capsys):
    with pretended_gpu("cuda", free=(9 * GIB, 20 * GIB)) as gpu:
        gpu.broken[1] = "CUDA error: out of memory\nCUDA kernel errors might be reported later."
        assert pick_device("auto") == torch.device("cuda", 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_that_does_not_work(kind, capsys):
    with pretended_gpu(kind) as gpu:
        gpu.broken[0] = "CUDA error: all CUDA-capable devices are busy or unavailable\nCompile with ..."
        assert pick_device("auto") == CPU
        assert capsys.readouterr().err == (
            "device: no GPU works (CUDA error: all CUDA-capable devices are busy or unavailable); "
            "computing on the CPU\n"
        )
        with pytest.raises(MmjsdError, match=rf"^device: {kind} does not work \(CUDA error.*\); use auto or"):
            pick_device(kind)


def test_a_driver_that_is_too_old(monkeypatch, capsys):
    """Torch finds no GPU then, and warns."""

    def is_available():
        warnings.warn("CUDA initialization: The NVIDIA driver is too old (found 11040). Please", stacklevel=2)
        return False

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", is_available)
    with warnings.catch_warnings(action="error"):
        assert pick_device("auto") == CPU
        said = "CUDA initialization: The NVIDIA driver is too old (found 11040)"
        assert capsys.readouterr().err == f"device: no GPU works ({said}); computing on the CPU\n"
        with pytest.raises(MmjsdError) as refused:
            pick_device("cuda")
    assert str(refused.value) == f"device: cuda is not there (found: {said}); use auto or cpu"


@pytest.mark.parametrize("wanted", ["cuda:2", "mps", "xpu", "xpu:1"])
def test_a_device_that_is_not_there(monkeypatch, wanted):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(MmjsdError, match=rf"^device: {wanted} is not there \(found: no accelerator\); use"):
        pick_device(wanted)
    with (
        pretended_gpu("cuda", free=(GIB, GIB)),
        pytest.raises(MmjsdError, match=rf"^device: {wanted} is not there \(found: cuda:0, cuda:1\); use"),
    ):
        pick_device(wanted)


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch, wanted):
    monkeypatch.setattr(devices, "member", lambda: Member(5, 6, 1, 2))
    with pretended_gpu("cuda", free=(GIB, GIB)) as gpu:
        assert pick_device(wanted) == torch.device("cuda", 1)
        assert gpu.current == 1
        assert pick_device("cpu") == CPU
        with pytest.raises(
            MmjsdError, match=r"^processes: 3 on this machine, .* \(there: cuda:0, cuda:1\); set it to 2, or"
        ):
            own_device(wanted, 0, 3)


def test_several_processes_share_the_memory_of_the_machine(monkeypatch):
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    monkeypatch.setattr(devices, "_left_in_control_groups", lambda: [])
    assert memory_budget(CPU) == 4 * GIB
    monkeypatch.setattr(devices, "member", lambda: Member(0, 2, 0, 2))
    assert memory_budget(CPU) == 2 * GIB


# --- What it can do ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_limited(monkeypatch):
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("flags", ["", "avx2 avx512_bf16", "amx_bf16"])
def test_precision_auto(monkeypatch, flags):
    monkeypatch.setattr(Path, "read_text", lambda *_: f"flags : fpu {flags}")
    assert pick_precision("auto", CPU) == ("bfloat16" if flags else "float32")
    for kind in KINDS:
        assert pick_precision("auto", torch.device(kind)) == "float32"


@pytest.mark.parametrize(
    ("variable", "value", "precision"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core", "float32"),
        ("DNNL_MAX_CPU_ISA", "AVX512_CORE_VNNI", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "nonsense", "bfloat16"),  # oneDNN takes it for none
    ],
)
def test_precision_auto_where_the_processor_may_not_be_used_whole(monkeypatch, variable, value, precision):
    monkeypatch.setattr(Path, "read_text", lambda *_: "flags : fpu avx512_bf16 amx_bf16")
    monkeypatch.setenv(variable, value)
    assert pick_precision("auto", CPU) == precision


def test_precision_auto_where_the_processor_is_not_told(monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)  # on a Mac
    assert pick_precision("auto", CPU) == "float32"


def test_autocast_computes_in_the_precision():
    ones = torch.ones(2, 2)
    for precision in ("float32", "bfloat16"):
        with autocast(pick_precision(precision, CPU), CPU):
            assert (ones @ ones).dtype == getattr(torch, precision)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_where_the_device_has_none(monkeypatch, kind):
    """Torch refuses it on some GPUs, and on others warns and computes in float32."""

    def refusing(*_):
        raise RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype to float16.")

    def warning(*_):
        warnings.warn("In MPS autocast, but the target dtype is not supported. Disabling", stacklevel=2)
        return torch.no_grad()

    for without, said in ((refusing, "Current CUDA Device does not"), (warning, "In MPS autocast, but the")):
        monkeypatch.setattr(torch, "autocast", without)
        with (
            pretended_gpu(kind),
            pytest.raises(MmjsdError, match=rf"^precision: bfloat16 does not work on {kind}:0 \({said}.*use"),
        ):
            pick_precision("bfloat16", torch.device(kind, 0))
        assert pick_precision("float32", torch.device(kind, 0)) == "float32"


@pytest.mark.parametrize(
    ("kind", "wide", "layout", "pins"),
    [
        ("cpu", torch.float64, torch.channels_last, False),
        ("cuda", torch.float64, torch.channels_last, True),
        ("mps", torch.float32, torch.contiguous_format, False),
        ("xpu", torch.float32, torch.channels_last, True),
    ],
)
def test_what_a_device_has(kind, wide, layout, pins):
    device = torch.device(kind)
    assert (widest_float(device), image_layout(device), pins_memory(device)) == (wide, layout, pins)


@pytest.mark.parametrize("kind", KINDS)
def test_double_precision_wherever_values_lie(kind):
    with pretended_gpu(kind) as gpu:
        values = torch.tensor([1, 0, 1], device=torch.device(kind))
        double = as_float64(values)
        assert (double.dtype, double.sum().item()) == (torch.float64, 2.0)
        assert double.device.type == ("cuda" if kind == "cuda" else "cpu")
        assert gpu.place(values) == torch.device(kind, 0)


# --- Memory -----------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 10 GiB free, and control groups in a folder."""
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * GIB))
    monkeypatch.setattr(devices, "_CONTROL_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(devices, "_OWN_GROUPS", tmp_path / "self")
    return tmp_path


def test_half_of_what_the_machine_has_free(machine):
    assert memory_budget(CPU) == 5 * GIB  # no control groups: on a Mac


def limit(group: Path, names: tuple[str, str, str], limit: str, used: int, cached: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / names[0]).write_text(f"{limit}\n")
    (group / names[1]).write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\nslab 3\n")


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_what_a_batch_job_may_use(machine):
    """The limit may be that of any group around the process; what is cached of files can be had."""
    (machine / "self").write_text("0::/jobs/job_7/step_0\n")
    limit(machine / "cgroup/jobs/job_7/step_0", V2, "max", GIB, 0)
    limit(machine / "cgroup/jobs/job_7", V2, str(6 * GIB), 3 * GIB, GIB)
    limit(machine / "cgroup/jobs", V2, str(60 * GIB), 3 * GIB, GIB)
    assert memory_budget(CPU) == 2 * GIB


def test_what_a_container_may_use(machine):
    """Its path is that outside of it, and only the top can be seen."""
    (machine / "self").write_text("5:devices:/docker/f00\n4:memory,hugetlb:/docker/f00\n0::/\n")
    limit(machine / "cgroup/memory", V1, str(4 * GIB), 3 * GIB, 2 * GIB)
    assert memory_budget(CPU) == 1.5 * GIB
    limit(machine / "cgroup/memory", V1, str(4 * GIB), 5 * GIB, 0)  # more than allowed, for a moment
    assert memory_budget(CPU) == 0


def test_memory_of_a_gpu(machine, monkeypatch):
    for kind in ("cuda", "xpu"):
        with pretended_gpu(kind, free=(GIB, 8 * GIB)):
            assert memory_budget(torch.device(kind, 1)) == 4 * GIB

            def silent(device):
                raise RuntimeError("The device doesn't support querying the available free memory")

            monkeypatch.setattr(torch.get_device_module(kind), "mem_get_info", silent)
            assert memory_budget(torch.device(kind, 1)) == 0
    with pretended_gpu("mps"):  # 7 GiB of those that the machine has free
        assert memory_budget(torch.device("mps", 0)) == 3.5 * GIB
    (machine / "self").write_text("0::/\n")
    limit(machine / "cgroup", V2, str(2 * GIB), 0, 0)
    with pretended_gpu("mps"):
        assert memory_budget(torch.device("mps", 0)) == GIB
