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


def gpus(device: str) -> int:
    """Count the GPUs that a step with this `device` parameter uses: one where there is any."""
    return int(device != "cpu" and any(Path("/dev").glob("nvidia[0-9]*")))
