"""Whether a run is compiled."""

import shutil

import torch

__all__ = ["repays_compilation"]


def repays_compilation(wanted: str, samples: int, device: torch.device) -> bool:
    """Whether to compile a run of so many samples, as its `compile` parameter wants it.

    Measured on two cores: compiling takes 20-40 s and then saves 3-15 % of a step of about 0.4 ms a sample,
    so that it is repaid after one to two million samples. On Apple's GPUs torch can only try it out so far.
    Needs a C++ compiler.
    """
    if wanted == "auto":
        has_compiler = device.type != "cpu" or any(map(shutil.which, ("c++", "g++", "clang++")))
        repaid = samples >= (2_000_000 if device.type == "cpu" else 20_000_000)
        return has_compiler and device.type != "mps" and repaid
    return wanted == "on"
