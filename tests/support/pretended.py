"""A GPU that is not there: its tensors compute on the CPU, and account is kept of where they would lie.

As on a real one, tensors of two places do not mix, NumPy cannot read its memory, and its random numbers come
from a generator of its own; Apple's and some of Intel's have no float64.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.parameter import is_lazy
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from support.graphs import Graph, Launching, refuse_to_wait

CPU = torch.device("cpu")
#: Functions that draw random numbers.
RANDOM = {"rand", "randn", "randperm", "rand_like", "multinomial", "dropout"}
#: Functions that take tensors of two places.
BETWEEN = {"copy_", "to", "__set__", "_has_compatible_shallow_copy_type"}


class PretendedGPU(TorchFunctionMode):
    """One or several GPUs of a kind: `cuda`, `mps` or `xpu`."""

    def __init__(self, kind: str, count: int):
        super().__init__()
        self.kind, self.count = kind, count
        self.places: Any = WeakTensorKeyDictionary()
        """Of the tensors that lie on it."""
        self.random = torch.get_rng_state()
        self.broken: dict[int, str] = {}
        """What creating a tensor on one of them fails with."""
        self.current: int | None = None
        """The one that is torch's current device."""
        self.pinned = 0
        """How many tensors were put into pinned memory."""
        self.waited: set[bool] = set()
        """Whether copies to it were waited for."""
        self.operations: set[str] = set()
        """All that an Apple GPU computed, as `aten` calls it."""
        self.graphs: list[Graph] = []
        """CUDA graphs that were begun."""
        self.capturing: Graph | None = None
        self.may_wait = True
        """Whether the host may wait for values."""
        self.is_stuck = False
        """Whether the generator is left in a capture that failed."""

    def place(self, tensor: torch.Tensor) -> torch.device:
        return self.places.get(tensor, CPU)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name, target = dict(kwargs or {}), func.__name__, None
        attribute = func.__self__.__name__ if name in ("__get__", "__set__") else ""
        if name == "__get__" and attribute == "device":
            return self.place(args[0])
        if name in ("numpy", "__array__") and self.place(args[0]) != CPU:
            raise TypeError(f"can't convert {self.place(args[0])} device type tensor to numpy")
        if name == "to":
            target, args = self._target(args)
        elif name == "cpu":
            target = CPU
        if kwargs.get("device") is not None:
            target, kwargs["device"] = self._device(kwargs["device"]), CPU
        if target is not None and target.index in self.broken:
            raise RuntimeError(self.broken[target.index])
        among = self._place_of_all(name, args, kwargs)
        result_place = target or (self.place(args[1]) if attribute == "data" and len(args) > 1 else among)
        self._check_generator(kwargs, result_place)
        if self.capturing or not self.may_wait:
            moves = name in ("to", "cpu") and target not in (None, self.place(args[0]))
            refuse_to_wait(name, moves or (name == "copy_" and self.place(args[1]) != self.place(args[0])))
        if name in ("to", "cpu") and target not in (None, self.place(args[0])):
            if target != CPU:
                self.waited.add(not kwargs.get("non_blocking", False))
            result = func(*args, **kwargs)
            result = result.clone() if result is args[0] and not is_lazy(result) else result
        elif result_place == CPU:
            result = func(*args, **kwargs)
        else:
            result = self._computed(func, name, args, kwargs)
        for tensor in [args[0]] if name == "__set__" and attribute == "data" else tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._put(tensor, result_place)
        return result

    def _target(self, args: tuple) -> tuple[torch.device | None, tuple]:
        """Where `to` brings a tensor, and its arguments to do so on the CPU."""
        for number, argument in enumerate(args[1:], 1):
            if isinstance(argument, torch.Tensor):
                return self.place(argument), args
            if isinstance(argument, (str, torch.device)):
                return self._device(argument), (*args[:number], CPU, *args[number + 1 :])
        return None, args

    def _device(self, device: Any) -> torch.device:
        device = torch.device(device)
        if device == CPU:
            return CPU
        assert device.type == self.kind, f"{device} of a machine with {self.kind}"
        assert (device.index or 0) < self.count, device
        return torch.device(device.type, device.index or 0)

    def _place_of_all(self, name: str, args: tuple, kwargs: dict) -> torch.device:
        """Where the tensors of a call lie: all at one place, but for numbers on the CPU, and indices."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        places = {self.place(t) for t in tensors if is_lazy(t) or t.dim() or self.place(t) != CPU}
        if name in ("__getitem__", "__setitem__") and self.place(args[0]) != CPU:
            places.discard(CPU)
        if len(places) > 1 and name not in BETWEEN:
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found {places}")
        return next((place for place in places if place != CPU), CPU)

    def _check_generator(self, kwargs: dict, place: torch.device) -> None:
        generator = kwargs.get("generator")
        if generator is not None and getattr(generator, "place", CPU).type != place.type:
            raise RuntimeError(f"Expected a '{place.type}' device type for generator")

    def _computed(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        own_numbers = name in RANDOM and kwargs.get("generator") is None
        if own_numbers:
            if self.is_stuck:
                raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
            before = torch.get_rng_state()
            torch.set_rng_state(self.random)
        try:
            with self._watched(name):
                return func(*args, **kwargs)
        finally:
            if own_numbers:
                self.random = torch.get_rng_state()
                torch.set_rng_state(before)

    def _watched(self, name: str) -> Any:
        if self.kind == "mps":
            return _Noting(self.operations)
        return Launching(self.capturing, name) if self.capturing or not self.may_wait else nullcontext()

    def _put(self, tensor: torch.Tensor, place: torch.device) -> None:
        if place == CPU:
            self.places.pop(tensor, None)
            return
        if self.kind != "cuda" and tensor.dtype == torch.float64:
            raise TypeError(f"{place} does not support float64")
        self.places[tensor] = place


class _Noting(TorchDispatchMode):
    def __init__(self, operations: set[str]):
        super().__init__()
        self.operations = operations

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.operations.add(func.name().removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


@contextmanager
def pretended_gpu(kind: str, free: tuple[int, ...] = (2**34,)) -> Iterator[PretendedGPU]:
    """A machine with GPUs, each with so many bytes free of 32 GiB."""
    gpu = PretendedGPU(kind, len(free))
    real_module, real_seed = torch.get_device_module, torch.manual_seed

    def begun() -> Graph:
        gpu.graphs.append(Graph())
        return gpu.graphs[-1]

    def renew(state: torch.Tensor) -> None:
        gpu.random, gpu.is_stuck = state, False

    class Generator(torch.Generator):
        def __new__(cls, device: Any = "cpu") -> Any:
            generator = super().__new__(cls, "cpu")
            generator.place = gpu._device(device)
            return generator

        def graphsafe_get_state(self) -> Any:
            return self.get_state()

    def manual_seed(seed: int) -> torch.Generator:
        generator = real_seed(seed)
        gpu.random = torch.get_rng_state()
        return generator

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        gpu.pinned += 1
        return tensor.clone()

    module = SimpleNamespace(
        is_available=lambda: True,
        get_rng_state=lambda: gpu.random.clone(),
        set_rng_state=lambda state: setattr(gpu, "random", state.clone()),
    )
    if kind != "mps":
        module.get_device_name = lambda: f"a pretended {kind}"
        module.mem_get_info = lambda device: (free[device.index], 2**35)
        module.device_memory_used = lambda device: 2**35 - free[device.index]
        module.get_device_properties = lambda device: SimpleNamespace(
            name=f"a pretended {kind}", total_memory=2**35, major=9, minor=0, multi_processor_count=1
        )
        module.empty_cache, module.reset_peak_memory_stats = lambda: None, lambda device: None
        module.max_memory_reserved = lambda device: 2**30
    if kind == "cuda":
        module.CUDAGraph = begun
        module.graph = lambda graph, stream=None: graph.capture(gpu)
        module.Stream, module.stream, module.synchronize = object, nullcontext, lambda: None
        module.set_sync_debug_mode = lambda mode: setattr(gpu, "may_wait", mode == "default")
        module.default_generators = [
            SimpleNamespace(get_state=lambda: gpu.random.clone(), graphsafe_set_state=renew) for _ in free
        ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.accelerator, "synchronize", lambda device: None)
        # torch's own code asks whether it is available, and would use its streams
        patch.setattr(
            torch.accelerator,
            "current_accelerator",
            lambda check_available=False: None if check_available else torch.device(kind),
        )
        patch.setattr(torch.accelerator, "is_available", lambda: True)
        patch.setattr(torch.accelerator, "device_count", lambda: len(free))
        patch.setattr(torch.accelerator, "set_device_index", lambda index: setattr(gpu, "current", index))
        patch.setattr(torch.mps, "recommended_max_memory", lambda: 2**33)
        patch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**30)
        patch.setattr(
            torch,
            "get_device_module",
            lambda device: module if torch.device(device).type == kind else real_module(device),
        )
        # told by the tensors below Python, which lie on the CPU
        patch.setattr(
            clip_grad,
            "_group_tensors_by_device_and_dtype",
            lambda lists: {(torch.device(kind, 0), None): (lists, [])},
        )
        patch.setattr(torch.backends.cudnn, "deterministic", False)
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch, "manual_seed", manual_seed)
        patch.setattr(torch.Tensor, "pin_memory", pin_memory)
        with gpu:
            yield gpu
