"""A step as one launch: small networks compute for less time than it takes to launch their kernels.

A CUDA graph holds the kernels of a whole step, gathering, random numbers and optimiser included, and is
replayed on new inputs. The graphs that `torch.compile` makes hold less: not the optimiser, nor what is around
a permutation. But compiled code, which has fewer kernels, can be part of a graph.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmjsd.errors import in_short
from mmjsd.training.step import Outcome, Step

__all__ = ["captured"]

#: Steps before the capture: in the first, libraries choose algorithms and allocate, which none can hold.
_WARM_UP = 3


def captured(step: Step, inputs: Sequence[Any]) -> tuple[Callable[..., Outcome], str | None]:
    """Capture a step on a GPU of NVIDIA, or of AMD by ROCm, and leave everything as it was.

    Args:
        step: launches its kernels and waits for none of them.
        inputs: of a step: tensors, which have other values in each but the same shapes, and numbers, which
            have not.

    Returns:
        What makes the step by one launch, and None; or the step, and why it cannot be captured. Weights and
        what the optimiser keeps must be changed in place from now on; the values of an outcome are
        overwritten by the next.
    """
    try:
        with step.rehearsed():
            return _Replayed(step, inputs), None
    except Exception as error:  # whatever torch, drivers, and the code of an objective fail with
        _renew_generator(step.model.device)
        return step, in_short(error)


class _Replayed:
    def __init__(self, step: Step, inputs: Sequence[Any]):
        gpu = torch.get_device_module(step.model.device)
        self.inputs = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
        self.graph, side = gpu.CUDAGraph(), gpu.Stream()
        gpu.synchronize()
        try:
            with gpu.stream(side), warnings.catch_warnings(action="ignore"):
                for _ in range(_WARM_UP):
                    step(*self.inputs)
                # what waits for the GPU is refused before a capture, which it would leave half done
                gpu.set_sync_debug_mode("error")
                step(*self.inputs)
        finally:
            gpu.set_sync_debug_mode("default")
            gpu.synchronize()
        groups = step.optimiser.param_groups
        for group in groups:
            group["capturable"] = True  # as fused optimisers are, whatever this says
        try:
            with gpu.graph(self.graph, stream=side):
                self.outcome = step(*self.inputs)
        finally:
            for group in groups:
                group["capturable"] = False

    def __call__(self, *inputs: Any) -> Outcome:
        for own, given in zip(self.inputs, inputs, strict=True):
            if isinstance(own, Tensor):
                own.copy_(given)
        self.graph.replay()
        return self.outcome


def _renew_generator(device: torch.device) -> None:
    """Have a device draw on from a new generator: a failed capture may leave the one it had unusable."""
    own = torch.get_device_module(device).default_generators[device.index]
    new = torch.Generator(device)
    new.set_state(own.get_state())
    own.graphsafe_set_state(new.graphsafe_get_state())
