"""How what classifiers see is learnt and scored: by the class of a sample, or by its binary attributes.

The labels of the data choose one of the two scorers, once; nothing else asks for the form of labels.
"""

import itertools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmjsd.devices import as_float64
from mmjsd.models.average_precision import average_precisions

__all__ = ["AttributeScorer", "ClassScorer", "Score", "Scorer", "scorer_of"]


@dataclass(frozen=True)
class Score:
    """How well something was told, a share in 0..1; NaN where that is not defined."""

    value: float
    each: Mapping[str, float] = field(default_factory=dict)
    """Of each attribute of which it is defined; of classes there is the one value alone."""
    right: Tensor | None = field(default=None, compare=False)
    """Whether each sample (B,) was told, of a score that is the share of those."""

    @property
    def error(self) -> float | None:
        """The standard error of a share, None of other scores.

        As if one more sample were right and one more wrong, for a share of all has an error, too (A. Agresti
        and B. Caffo, The American Statistician 54(4), 2000).
        """
        if self.right is None:
            return None
        count = len(self.right) + 2
        share = (int(self.right.sum()) + 1) / count
        return math.sqrt(share * (1 - share) / count)


class Scorer(ABC):
    """Trains and scores classifiers. Logits are (B, C), one column a class or attribute.

    Args:
        classes: names of the classes, or of the attributes.
    """

    labels: ClassVar[str]
    """What a sample has: a `class`, or `attributes`."""
    measure: ClassVar[str]
    """What the score is called in names of metrics."""

    def __init__(self, classes: Sequence[str]):
        self.classes = classes

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a classifier, the mean over the samples: -> ()."""

    @abstractmethod
    def score(self, logits: Tensor, labels: Tensor) -> Score:
        """Score logits by the true labels."""

    @abstractmethod
    def agreement(self, logits: Tensor) -> Score:
        """Score how far classifiers of M modalities see the same in each sample: (M, B, C)."""

    @abstractmethod
    def chance(self, labels: Tensor) -> float:
        """Compute what the best of all answers that are the same for every sample scores."""

    @abstractmethod
    def can_learn(self, labels: NDArray[Any]) -> bool:
        """Tell whether there is anything to be learnt from these labels."""

    @abstractmethod
    def linear(self, x: NDArray[Any], labels: NDArray[Any], seen: NDArray[Any]) -> Tensor:
        """Fit a linear classifier and apply it.

        Args:
            x, labels: of the samples it is fitted to, x (N, D).
            seen: (B, D), what it is applied to.

        Returns:
            float64 logits (B, C).
        """

    def frequencies(self, labels: Tensor) -> Mapping[str, float]:
        """Compute the share of the samples that have each attribute; of classes there is none."""
        return {}


class ClassScorer(Scorer):
    """Of samples of one class each, int64 (B,): the accuracy."""

    labels = "class"
    measure = "accuracy"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def score(self, logits: Tensor, labels: Tensor) -> Score:
        return _share(logits.argmax(1) == labels)

    def agreement(self, logits: Tensor) -> Score:
        """Share of the samples in which all see the same class."""
        predicted = logits.argmax(-1)
        return _share((predicted == predicted[:1]).all(0))

    def chance(self, labels: Tensor) -> float:
        """Share of the most frequent class."""
        return int(labels.cpu().bincount().max()) / len(labels)

    def can_learn(self, labels: NDArray[Any]) -> bool:
        return len(np.unique(labels)) > 1

    def linear(self, x: NDArray[Any], labels: NDArray[Any], seen: NDArray[Any]) -> Tensor:
        regression = _regression(x, labels, iterations=2000)
        decisions = regression.decision_function(seen)
        if decisions.ndim == 1:  # of two classes there is one decision
            decisions = np.stack([np.zeros_like(decisions), decisions], 1)
        logits = np.full((len(seen), len(self.classes)), -np.inf)
        logits[:, regression.classes_] = decisions
        return torch.from_numpy(logits)


class AttributeScorer(Scorer):
    """Of samples with any of A binary attributes, uint8 (B, A): the mean average precision."""

    labels = "attributes"
    measure = "average_precision"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels.float())

    def score(self, logits: Tensor, labels: Tensor) -> Score:
        """Mean over the attributes that any of the samples has."""
        return self._mean(average_precisions(logits, labels.bool()))

    def agreement(self, logits: Tensor) -> Score:
        """Average precision of what is seen in one modality against what is found in another.

        The mean over all pairs of modalities, each in turn giving the attributes its classifier finds more
        likely than not. NaN for an attribute that all or none of the samples show, on which agreeing is no
        merit, and for all of them where there is one modality.
        """
        logits = logits.cpu()
        found = [
            torch.full(logits.shape[2:], torch.nan, dtype=torch.float64)
        ]  # counts for nothing beside others
        for seen, given in itertools.permutations(range(len(logits)), 2):
            shown = logits[given] > 0
            varies = shown.any(0) & ~shown.all(0)
            found.append(torch.where(varies, average_precisions(logits[seen], shown), torch.nan))
        return self._mean(torch.stack(found).nanmean(0))

    def chance(self, labels: Tensor) -> float:
        """Share of the samples that have an attribute, the mean over those that any has."""
        shares = as_float64(labels).mean(0)
        return float(shares[shares > 0].mean())

    def can_learn(self, labels: NDArray[Any]) -> bool:
        return len(labels) > 0  # of an attribute that does not vary, that all are equally likely to have it

    def linear(self, x: NDArray[Any], labels: NDArray[Any], seen: NDArray[Any]) -> Tensor:
        """One for each attribute; where all or none of the samples have it, all logits are 0."""
        from sklearn.exceptions import ConvergenceWarning

        logits = np.zeros((len(seen), labels.shape[1]))
        for attribute, column in enumerate(labels.T):
            if 0 < column.sum() < len(column):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # of separable attributes
                    regression = _regression(x, column, iterations=500)
                logits[:, attribute] = regression.decision_function(seen)
        return torch.from_numpy(logits)

    def frequencies(self, labels: Tensor) -> Mapping[str, float]:
        return self._defined(as_float64(labels).mean(0))

    def _mean(self, values: Tensor) -> Score:
        return Score(float(values.nanmean()), self._defined(values))

    def _defined(self, values: Tensor) -> dict[str, float]:
        named = zip(self.classes, values.tolist(), strict=True)
        return {name: value for name, value in named if math.isfinite(value)}


def scorer_of(labels: Tensor | NDArray[Any], classes: Sequence[str]) -> Scorer:
    """Choose by the labels, (B,) classes or (B, A) attributes, how what classifiers see of them is scored."""
    return ClassScorer(classes) if labels.ndim == 1 else AttributeScorer(classes)


def _share(right: Tensor) -> Score:
    return Score(int(right.sum()) / len(right), right=right)


def _regression(x: NDArray[Any], labels: NDArray[Any], iterations: int) -> Any:
    """A logistic regression, fitted by as many threads as PyTorch has: its last bits depend on them too."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from threadpoolctl import threadpool_limits

    with threadpool_limits(torch.get_num_threads(), user_api="blas"):
        return LogisticRegression(max_iter=iterations).fit(x, labels)
