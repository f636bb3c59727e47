"""CUDA graphs without CUDA: what is launched in a capture is noted, and computed when it is replayed.

As on a real GPU a capture computes nothing, so that what was there before is as it was; it ends where the
host would have to wait for a value, and then leaves the generator of random numbers unusable. Each replay
computes the same operations on the same tensors, with new random numbers; what Python did is not done again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Graph", "Launching", "refuse_to_wait"]

#: Operations whose result, or its size, the host has to know.
_VALUES = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}
#: Functions that make tensors of numbers of the host's, which must be copied.
_FROM_HOST = {"tensor", "as_tensor", "new_tensor", "from_numpy", "asarray"}


class Graph:
    """What a capture noted, in order."""

    def __init__(self) -> None:
        self.launched: list[tuple[Any, tuple, dict, Any]] = []
        self.replays = 0
        self.gpu: Any = None

    @contextmanager
    def capture(self, gpu: Any) -> Iterator[None]:
        """Note what is launched meanwhile, and have computed nothing in the end."""
        self.gpu, gpu.capturing = gpu, self
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []
        random = gpu.random
        try:
            yield
        except BaseException:
            gpu.is_stuck = True
            raise
        finally:
            gpu.capturing, gpu.random = None, random
            with torch._C.DisableTorchFunction(), torch.no_grad():
                for tensor, content in reversed(self.before):
                    tensor.copy_(content)
            self.before.clear()

    def replay(self) -> None:
        """Compute all of it anew."""
        self.replays += 1
        host = torch.get_rng_state()
        torch.set_rng_state(self.gpu.random)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for func, args, kwargs, results in self.launched:
                if not func.is_view:
                    _overwrite(results, func(*args, **kwargs))
        self.gpu.random = torch.get_rng_state()
        torch.set_rng_state(host)


def _overwrite(results: Any, new: Any) -> None:
    """Put new results where those of the capture are, if they are not there anyway."""
    for there, value in zip(tree_leaves(results), tree_leaves(new), strict=True):
        if isinstance(there, torch.Tensor) and there.data_ptr() != value.data_ptr():
            there.copy_(value)


class Launching(TorchDispatchMode):
    """Of one function: refuse to wait for values, and note the operations in a graph if there is one."""

    def __init__(self, graph: Graph | None, name: str):
        super().__init__()
        self.graph = graph
        # which looks at the values where it is computed on the CPU, and on no GPU
        self.may_look = name == "one_hot"

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = func.name().removeprefix("aten::").partition(".")[0]
        is_mask = name.startswith(("index", "_index_put")) and any(
            isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1:2])
        )
        if (name in _VALUES or is_mask) and not self.may_look:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({name})")
        if self.graph is None:
            return func(*args, **kwargs)
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.graph.before += [(tensor, tensor.clone()) for tensor in tree_leaves(value)]
        results = func(*args, **kwargs)
        self.graph.launched.append((func, args, kwargs, results))
        return results


def refuse_to_wait(name: str, between_devices: bool) -> None:
    """Refuse a function that copies between host and device, which cannot be captured."""
    if between_devices or name in _FROM_HOST:
        raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({name})")
