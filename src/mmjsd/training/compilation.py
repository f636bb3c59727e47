"""Whether a run is compiled: if that repays the time it takes, and if it works here."""

from collections.abc import Sequence
from typing import Any

import torch

from mmjsd import distributed
from mmjsd.devices import has_matrix_unit
from mmjsd.errors import in_short
from mmjsd.training.step import Step

__all__ = ["compiled", "repays_compilation"]


def repays_compilation(wanted: str, samples: int, device: torch.device) -> bool:
    """Whether to compile a run of so many samples, as its `compile` parameter wants it.

    Compiling takes 20-40 s. Measured on two cores, it then saves 13-20 % of a step of 0.2 ms a sample where
    the processor has a matrix unit, so that four million samples repay it with certainty; where it has none,
    a compiled step takes 0.98 to 1.07 times as long. On Apple's GPUs torch can only try it out so far.
    """
    if wanted == "auto" and device.type == "cpu":
        return has_matrix_unit() and samples >= 4_000_000
    if wanted == "auto":
        return device.type != "mps" and samples >= 20_000_000
    return wanted == "on"


def compiled(step: Step, inputs: Sequence[Any]) -> str | None:
    """Compile the objective of a step, and try it: what torch needs for that shows when it is first called.

    Args:
        step: computes its loss by the compiled objective from then on, if that works.
        inputs: of a step.

    Returns:
        None, or what compiling it failed with.
    """
    step.loss = torch.compile(step.objective)
    try:
        with step.rehearsed():
            step(*inputs)
        fault = None
    except Exception as error:  # whatever compilers, drivers and torch fail with
        by_compiler = [line.strip() for line in str(error).splitlines() if "error: " in line]
        fault = in_short(by_compiler[0] if by_compiler else error)
    # if it works in one process and not in another, none does
    if fault := next(filter(None, distributed.all_told(fault)), None):
        step.loss = step.objective
    return fault
