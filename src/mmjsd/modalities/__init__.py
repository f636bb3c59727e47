"""Kinds of modality: one module each, with all that depends on the kind.

A kind is a module of :data:`mmjsd.registry.BUILT_IN` with the names of :class:`Kind`. Torch and matplotlib are
imported in the functions that need them, for building data needs neither.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mmjsd import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

__all__ = ["Kind", "Modality", "kind_of"]


class Kind(Protocol):
    """What a kind of modality defines."""

    DTYPE: type[np.generic]
    """Of its rows in the store."""
    AXES: int
    """Number of axes of its rows in the store, the first of which counts them."""

    def as_input(self, rows: "Tensor") -> "Tensor":
        """Stored rows (B, ...) as the networks take them."""

    def prepare(self, name: str, shape: tuple[int, ...], items: list[Any]) -> NDArray[Any]:
        """What people have, as rows of the store: B things -> (B, ...)."""

    def log_likelihood(self, output: "Tensor", x: "Tensor", scale: float) -> "Tensor":
        """log p(x | decoder output) in nats: -> (B,)."""

    def likelihood_mean(self, output: "Tensor") -> "Tensor":
        """The mean of the likelihood: a generated sample."""

    def networks(
        self, shape: tuple[int, ...], latent: int, width: float
    ) -> "tuple[nn.Module, int, nn.Module]":
        """Default networks for any shape: encoder body, its number of features, decoder."""

    def classifier_body(self, shape: tuple[int, ...]) -> "nn.Module":
        """The classifier but for its last layer: inputs or generated samples (B, ...) -> (B, 128)."""

    def vary(self, x: "Tensor") -> "Tensor":
        """Inputs (B, ...) as a classifier is trained on them: slightly changed at random."""

    def draw(
        self, axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0
    ) -> None:
        """Fill cells of a sheet row by row with inputs or generated samples (N, ...)."""


class Modality(NamedTuple):
    """What the model needs to know of a modality."""

    name: str
    kind: str
    """A name of the registry: `image`, `text`, `vector`, ..."""
    shape: tuple[int, ...]
    """Of one row of the store."""
    size: int
    """Data size: values of one sample (characters of a text)."""


def kind_of(modality: Modality | str) -> Kind:
    """The kind of a modality, or of that name.

    Raises:
        MmjsdError: there is no such kind.
    """
    return registry.resolve("modalities", modality if isinstance(modality, str) else modality.kind)
