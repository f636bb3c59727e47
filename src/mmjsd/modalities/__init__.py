"""Kinds of modality: one module each, with all that depends on the kind.

A kind is an entry of the registry with the names of :class:`Kind`, such as a module. Torch and matplotlib are
imported in the functions that need them, for building data needs neither.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mmjsd import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor, nn

__all__ = ["CELL", "RESERVED", "Kind", "Modality", "kind_of"]

CELL = 68 / 180
"""Width and height of a cell of a sheet of samples in inches: two pixels to each of 32 and a rim."""

RESERVED = frozenset({"pairs", "labels", "prior", "mean", "joint", "random"})
"""What else stands where names of modalities do: in a split, among weights, in keys of metrics."""


class Kind(Protocol):
    """What a kind of modality defines.

    A shape is that of one row of the store.
    """

    DTYPE: type[np.generic]
    """Of its rows in the store."""
    AXES: int
    """Number of axes of its rows in the store, the first of which counts them."""
    ALPHABET: str | None
    """The symbols that its rows consist of; inputs are tokens (B, ...) or their probabilities (B, ..., A)."""
    RANGE: tuple[float, float]
    """Least and greatest value of inputs."""
    FROM_FILES: bool
    """Whether people name a file where they give a string."""
    LIKELIHOODS: dict[str, float | None]
    """Those it has, its default first: name -> scale where no other is given, None if it has none. A literal,
    for it is read without importing the module."""
    SCORE_IS_ERROR: bool
    """Whether less of :meth:`score` is better."""

    def prepare(self, item: Any, shape: tuple[int, ...], form: str = "") -> tuple[NDArray[Any], str]:
        """Bring one thing that people have into the form of a row; tell what was changed, if anything.

        A string is what they type on the command line. The form is what the kind of dataset says of how its
        rows were made, by `FORMS`; nothing: in the usual way.

        Raises:
            Unfit: it cannot be shown to a model as it is.
        """

    def as_input(self, rows: "Tensor") -> "Tensor":
        """Turn stored rows (B, ...) into what the networks take."""

    def log_likelihood(
        self, output: "Tensor", x: "Tensor", likelihood: str, scale: "float | Tensor | None"
    ) -> "Tensor":
        """Compute log p(x | decoder output) in nats, summed over all but the batch: -> (B,).

        Args:
            output, x: of the decoder, and inputs.
            likelihood: one of `LIKELIHOODS`.
            scale: its scale, a number or a tensor of one; None: it has none.
        """

    def likelihood_mean(self, output: "Tensor", likelihood: str) -> "Tensor":
        """Compute the mean of the likelihood: a generated sample."""

    def encoder(self, shape: tuple[int, ...], width: float) -> "tuple[nn.Module, int]":
        """Build the default encoder body for any shape: inputs (B, ...) -> (B, F); tell F."""

    def decoder(self, shape: tuple[int, ...], latent: int, width: float) -> "nn.Module":
        """Build the default decoder for any shape: (B, latent) -> parameters of the likelihood (B, ...)."""

    def classifier_body(self, shape: tuple[int, ...]) -> "nn.Module":
        """Build a classifier but for its last layer: inputs or generated samples (B, ...) -> (B, 128)."""

    def vary(self, x: "Tensor") -> "Tensor":
        """Change inputs (B, ...) slightly at random, as a classifier is trained on them.

        Generated samples are not as certain and exact as real ones: the judge must read them too.
        """

    def score(self, predicted: "Tensor", x: "Tensor") -> float:
        """Score predictions of inputs (B, ...), means of generated samples: NaN where it is not defined."""

    def draw(self, axes: "Axes", values: "Tensor", columns: int, *, left: float = 0, top: float = 0) -> None:
        """Fill cells of a sheet row by row, from (left, top) on, each a unit wide and high.

        Args:
            axes: of a sheet, whose vertical axis points down.
            values: inputs or generated samples (N, ...).
            columns: cells of a row.
            left, top: where the first cell begins.
        """


class Modality(NamedTuple):
    """What the model needs to know of a modality."""

    name: str
    kind: str
    """A name of the registry: `image`, `text`, `vector`, ..."""
    shape: tuple[int, ...]
    """Of one row of the store."""
    size: int
    """Data size: values of one sample (characters of a text)."""


_KINDS: dict[str, Kind] = {}


def kind_of(modality: Modality | str) -> Kind:
    """Return the kind of a modality, or the one of that name.

    Raises:
        MmjsdError: there is no such kind.
    """
    name = modality if isinstance(modality, str) else modality.kind
    if name not in _KINDS:  # asked at every step, also by what torch compiles, which cannot import
        _KINDS[name] = registry.resolve("modalities", name)
    return _KINDS[name]
