"""Angles in radians, as a researcher might add them: a von Mises distribution of each."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.modalities.preparation import Unfit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

ALPHABET = None
DTYPE = np.float32
AXES = 2
RANGE = (-math.pi, math.pi)
FROM_FILES = False
LIKELIHOODS = {"von_mises": None}
SCORE_IS_ERROR = True


def prepare(item: Any, shape: tuple[int, ...], form: str = "") -> tuple[NDArray[np.float32], str]:
    """Degrees, as a list, or typed as `90°,-45°`."""
    try:
        parts = item.replace("°", "").split(",") if isinstance(item, str) else item
        degrees = np.asarray(parts, np.float32)
    except (TypeError, ValueError):
        raise Unfit("is no list of degrees") from None
    if degrees.shape != shape:
        raise Unfit(f"must be {shape[0]} degrees")
    return np.radians((degrees + 180) % 360 - 180), ""


def as_input(rows: "Tensor") -> "Tensor":
    return rows


def parameters(output: "Tensor") -> "tuple[Tensor, Tensor]":
    """Mean and concentration of points (..., 2) of the plane: their direction and distance."""
    x, y = output.float().unbind(-1)
    return y.atan2(x), (x**2 + y**2 + 1e-6).sqrt()


def log_likelihood(
    output: "Tensor", x: "Tensor", likelihood: str, scale: "float | Tensor | None"
) -> "Tensor":
    import torch

    mean, concentration = parameters(output)
    bessel = torch.special.i0e(concentration).log() + concentration
    return (concentration * (x - mean).cos() - math.log(2 * math.pi) - bessel).sum(1)


def likelihood_mean(output: "Tensor", likelihood: str) -> "Tensor":
    return parameters(output)[0]


def encoder(shape: tuple[int, ...], width: float) -> "tuple[nn.Module, int]":
    from torch import nn

    return nn.Sequential(nn.Linear(shape[0], 64), nn.ReLU()), 64


def decoder(shape: tuple[int, ...], latent: int, width: float) -> "nn.Module":
    from torch import nn

    layers = (nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 2 * shape[0]), nn.Unflatten(1, (shape[0], 2)))
    return nn.Sequential(*layers)


def classifier_body(shape: tuple[int, ...]) -> "nn.Module":
    from torch import nn

    return nn.Sequential(nn.Linear(shape[0], 128), nn.ReLU())


def vary(x: "Tensor") -> "Tensor":
    import torch

    return x + 0.1 * torch.randn_like(x)


def score(predicted: "Tensor", x: "Tensor") -> float:
    return float((1 - (predicted - x).cos()).mean())


def draw(axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0) -> None:
    for cell, angles in enumerate(values.cpu().numpy()):
        x, y = left + cell % columns + 0.5, top + cell // columns + 0.5
        for radians in angles:
            axes.plot([x, x + 0.4 * math.cos(radians)], [y, y - 0.4 * math.sin(radians)], "k", lw=1)
