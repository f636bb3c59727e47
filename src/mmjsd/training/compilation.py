"""Whether a run is compiled: if that repays the time it takes, and if it works here."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["compiled", "repays_compilation"]


def repays_compilation(wanted: str, samples: int, device: torch.device) -> bool:
    """Whether to compile a run of so many samples, as its `compile` parameter wants it.

    Measured on two cores: compiling takes 20-40 s and then saves 3-8 % of a step of about 0.2 ms a sample,
    so that three to four million samples repay it. On Apple's GPUs torch can only try it out so far.
    """
    if wanted == "auto":
        return device.type != "mps" and samples >= (4_000_000 if device.type == "cpu" else 20_000_000)
    return wanted == "on"


def compiled(function: Any, rehearse: Callable[[Any], None]) -> tuple[Any, str | None]:
    """Compile a function and try it, for what torch needs for that shows when it is first called.

    Args:
        function: the function.
        rehearse: calls it as it will be called, and leaves no trace of that.

    Returns:
        The compiled function and None, or the function as it is and what compiling it failed with.
    """
    attempt = torch.compile(function)
    try:
        rehearse(attempt)
    except Exception as error:  # whatever compilers, drivers and torch fail with
        return function, _cause(error)
    return attempt, None


def _cause(error: Exception) -> str:
    """The compiler's own error, if it is one of those, else the first sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    by_compiler = [line for line in lines if "error: " in line]
    return (by_compiler or lines or [type(error).__name__])[0].split(". ")[0][:200]
