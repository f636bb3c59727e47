"""Vectors of standardised numbers: float32 in the store, a normal or Laplace likelihood."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.modalities.likelihoods import LOG_DENSITIES, mean_of
from mmjsd.modalities.preparation import Unfit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

__all__ = [
    "ALPHABET",
    "AXES",
    "DTYPE",
    "FROM_FILES",
    "LIKELIHOODS",
    "RANGE",
    "SCORE_IS_ERROR",
    "as_input",
    "classifier_body",
    "decoder",
    "draw",
    "encoder",
    "likelihood_mean",
    "log_likelihood",
    "logarithm_of",
    "prepare",
    "r_squared",
    "score",
    "vary",
]

ALPHABET = None
DTYPE = np.float32
AXES = 2
RANGE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
FROM_FILES = False
LIKELIHOODS = {"normal": 1.0, "laplace": 0.75}
SCORE_IS_ERROR = False

HIDDEN = 256
NOISE = 0.1
"""Standard deviation of what is added to the values that a classifier is trained on."""

Shape = tuple[int, ...]


# --- In the store -----------------------------------------------------------------------------------------


def prepare(item: Any, shape: Shape, form: str = "") -> tuple[NDArray[np.float32], str]:
    """The values (D,) of an array, a list, or a string with commas between them."""
    try:
        with np.errstate(over="ignore"):
            values = np.asarray(item.split(",") if isinstance(item, str) else item, np.float32)
    except (TypeError, ValueError, RuntimeError):  # no numbers, ragged, a tensor of another device
        values = np.full(shape, np.nan, np.float32)
    if values.shape != shape or not np.isfinite(values).all():
        raise Unfit(f"must be {shape[0]} finite numbers")
    return values, ""


# --- In the model -----------------------------------------------------------------------------------------


def as_input(rows: "Tensor") -> "Tensor":
    """The values (B, D) as they are."""
    return rows


def logarithm_of(column: str) -> str:
    """Name what the store has of a column of which log(1 + x) was taken."""
    return f"log1p({column})"


def log_likelihood(
    output: "Tensor", x: "Tensor", likelihood: str, scale: "float | Tensor | None"
) -> "Tensor":
    """log p(x | decoder output) in nats: the mean, (B, D) -> (B,)."""
    return LOG_DENSITIES[likelihood](output, x, scale)


def likelihood_mean(output: "Tensor", likelihood: str) -> "Tensor":
    """The decoder's output (B, D)."""
    return mean_of(output, likelihood)


def encoder(shape: Shape, width: float) -> "tuple[nn.Module, int]":
    """Default encoder: two hidden layers of 256."""
    from torch import nn

    from mmjsd.modalities.layers import scaled

    (hidden,) = scaled(width, HIDDEN)
    layers = (nn.Linear(shape[0], hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
    return nn.Sequential(*layers), hidden


def decoder(shape: Shape, latent: int, width: float) -> "nn.Module":
    """Default decoder: two hidden layers of 256, to means (B, D)."""
    from torch import nn

    from mmjsd.modalities.layers import scaled

    (hidden,) = scaled(width, HIDDEN)
    layers = (nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(hidden, shape[0]))


# --- Judged and drawn -------------------------------------------------------------------------------------


def classifier_body(shape: Shape) -> "nn.Module":
    """Two hidden layers, of 256 and 128."""
    from torch import nn

    return nn.Sequential(nn.Linear(shape[0], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 128), nn.ReLU())


def vary(x: "Tensor") -> "Tensor":
    """Values (B, D) with noise."""
    import torch

    return x + NOISE * torch.randn_like(x)


def score(predicted: "Tensor", x: "Tensor") -> float:
    """Average R² over the columns of vectors (B, D); NaN where each is the same in all of them."""
    columns = r_squared(predicted, x)
    defined = columns[~np.isnan(columns)]
    return float(defined.mean()) if len(defined) else math.nan


def r_squared(predicted: "Tensor", x: "Tensor") -> NDArray[np.float64]:
    """Compute R² of each column of vectors (B, D), (D,): NaN where it is the same in all of them."""
    from sklearn.metrics import r2_score  # slow to import

    found = np.full(x.shape[1], np.nan)
    true, told = (t.cpu().double().numpy() for t in (x, predicted))
    if (varies := np.any(true != true[:1], axis=0)).any():
        found[varies] = r2_score(true[:, varies], told[:, varies], multioutput="raw_values")
    return found


def draw(axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0) -> None:
    """Draw vectors (N, D) as bars, up to 2.25 standard deviations, from the middle of the cell."""
    from matplotlib.collections import PolyCollection

    heights = 0.2 * values.float().clamp(-2.25, 2.25).cpu().numpy()
    # the outline of all bars of a vector, from the left, and back along the middle
    heights = np.pad(heights.repeat(2, axis=1), ((0, 0), (1, 1)))
    across = np.linspace(0.1, 0.9, values.shape[1] + 1).repeat(2)
    cells = np.arange(len(values))[:, None]
    outlines = np.stack([left + cells % columns + across, top + cells // columns + 0.5 - heights], -1)
    axes.add_collection(PolyCollection(list(outlines), color="black", linewidths=0.4), autolim=False)
