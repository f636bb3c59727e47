"""Official files made by hand, and readers that refuse them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from mmjsd.errors import MmjsdError

__all__ = ["idx", "mat", "refused"]


def idx(values: np.ndarray, magic: int | None = None) -> bytes:
    """The content of a file of MNIST: images (N, H, W) or labels (N,)."""
    magic = {1: 2049, 3: 2051}[values.ndim] if magic is None else magic
    return np.array([magic, *values.shape], ">u4").tobytes() + values.astype(np.uint8).tobytes()


def mat(path: Path, **content: Any) -> Path:
    """Write a file of SVHN."""
    scipy.io.savemat(path, content, do_compression=True)
    return path


def refused(call: Callable[..., object], path: Path, *arguments: Any) -> str:
    """The line that a reader refuses a file with, which names it."""
    with pytest.raises(MmjsdError) as caught:
        call(path, *arguments)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message
