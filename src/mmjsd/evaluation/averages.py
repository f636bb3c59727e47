"""Averages of scores of the same samples, with the standard errors that the number of samples leaves."""

import torch
from torch import Tensor

from mmjsd.evaluation.keys import error_key
from mmjsd.models.scorers import Score

__all__ = ["Average", "deviations"]


def deviations(score: Score, samples: Tensor, count: int) -> Tensor | None:
    """Tell how far each sample moves a score; the norm of that is the standard error, as of :class:`Score`.

    Args:
        score: of the samples.
        samples: indices (B,), of `count` that there are.
        count: N.

    Returns:
        (N + 2,), 0 for samples that the score is not of; the last two are the one more that is right and the
        one more that is wrong. None of a score that is no share of right samples.
    """
    if score.right is None:
        return None
    right = torch.cat([score.right.cpu().double(), torch.tensor([1.0, 0.0])])
    places = torch.cat([samples.cpu(), torch.tensor([count, count + 1])])
    moved = torch.zeros(count + 2, dtype=torch.float64)
    return moved.index_add_(0, places, (right - right.mean()) / len(right))


class Average:
    """A mean of scores of the same samples, which are not independent of each other."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._deviations: Tensor | None = torch.zeros(())

    def add(self, value: float, moved: Tensor | None) -> None:
        """Add a score, or an average of some, and how far each sample moves it."""
        self._values.append(value)
        known = self._deviations is not None and moved is not None
        self._deviations = self._deviations + moved if known else None  # type: ignore[operator]

    @property
    def value(self) -> float:
        """The mean; NaN if one of them is not defined."""
        return sum(self._values) / len(self._values)

    @property
    def deviations(self) -> Tensor | None:
        """How far each sample moves it; None if that is not known of one of them."""
        return None if self._deviations is None else self._deviations / len(self._values)

    def named(self, key: str) -> dict[str, float]:
        """Give its value and, where that is known, its standard error, by their keys; nothing of no score."""
        if not self._values:
            return {}
        moved = self.deviations
        return {key: self.value} | ({} if moved is None else {error_key(key): float(moved.norm())})
