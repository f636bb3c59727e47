"""The pipeline: its steps, and all products of a parameter file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmjsd.params import Params
from mmjsd.pipeline.step import Step
from mmjsd.pipeline.steps import PUBLISHED, STEPS

__all__ = ["PUBLISHED", "STEPS", "Step", "gpus", "steps"]


def steps(params: Params, options: Mapping[str, Any] | None = None) -> list[Step]:
    """List all steps that the parameters ask for, each after those whose files it reads."""
    return [step(params, options, **keys) for step in STEPS for keys in step.choices(params)]


def gpus(device: str, *, elsewhere: bool = False) -> int:
    """Count the GPUs that a step with this `device` parameter asks for.

    Args:
        device: the parameter.
        elsewhere: jobs run on other machines, of which this one knows nothing: a GPU is asked for by name,
            and `auto` takes what its job is given. Here, it is one where there is any.
    """
    if elsewhere:
        return int(device not in ("auto", "cpu"))
    return int(device != "cpu" and any(Path("/dev").glob("nvidia[0-9]*")))
