"""What the figures of a run are drawn from, and how they use the labels of its samples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.trained import Trained

__all__ = ["COLUMNS", "Shown", "ShownAttributes", "ShownClasses", "Unlabelled", "labels_shown"]

COLUMNS = 10
"""Examples in a figure."""


class Unlabelled:
    """Samples without labels."""

    of_examples = ""
    """Said of examples, after `test samples`."""
    coherent = ""
    """What generated modalities do that are coherent with what they are given."""

    def examples(self, test: UnimodalPosteriors, samples: Tensor) -> Tensor:
        """Choose examples among these test samples: (B,) -> (COLUMNS,) at most."""
        return samples[:COLUMNS]

    def groups(
        self, test: UnimodalPosteriors, samples: Tensor, classes: list[str]
    ) -> tuple[NDArray[Any], list[str], str]:
        """Group test samples: the group of each (B,), the names of those that occur, and what they are."""
        return np.zeros(len(samples)), ["test samples"], "nothing"


class ShownClasses(Unlabelled):
    """Samples of one class each."""

    of_examples = ", one of each class"
    coherent = "show the class of"

    def examples(self, test: UnimodalPosteriors, samples: Tensor) -> Tensor:
        """Choose samples of different classes, where there are as many."""
        _, first = np.unique(test.labels[samples].cpu().numpy(), return_index=True)
        others = np.setdiff1d(np.arange(len(samples)), first)
        chosen = np.concatenate([first, others])[:COLUMNS]
        return samples[torch.as_tensor(chosen, device=samples.device)]

    def groups(
        self, test: UnimodalPosteriors, samples: Tensor, classes: list[str]
    ) -> tuple[NDArray[Any], list[str], str]:
        labels = test.labels[samples].cpu().numpy()
        return labels, [classes[label] for label in np.unique(labels)], "class"


class ShownAttributes(Unlabelled):
    """Samples with binary attributes."""

    coherent = "show the attributes of (mean average precision)"

    def groups(
        self, test: UnimodalPosteriors, samples: Tensor, classes: list[str]
    ) -> tuple[NDArray[Any], list[str], str]:
        """Group samples by the attribute that divides them most evenly."""
        labels = test.labels[samples].cpu().numpy()
        even = int(np.abs(labels.mean(0) - 0.5).argmin())
        names = [f"{'' if value else 'not '}{classes[even]}" for value in np.unique(labels[:, even])]
        return labels[:, even], names, f"the attribute {classes[even]}"


def labels_shown(labels: str | None) -> Unlabelled:
    """Tell how samples with a `class`, with `attributes` or with no labels are shown."""
    return {"class": ShownClasses, "attributes": ShownAttributes, None: Unlabelled}[labels]()


class Shown(NamedTuple):
    """A run whose figures are drawn."""

    trained: Trained
    metrics: Mapping[str, Any]
    labels: Unlabelled
    given: tuple[str, ...] = ()
    """The modalities that generated ones are given, of a figure that there is for each subset of them."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """All of them, in the order of the store."""
        return tuple(self.trained.model.modalities)

    def examples(self, subset: tuple[str, ...]) -> Tensor:
        """Choose test samples to show of which the subset is there: (COLUMNS,) at most."""
        return self.labels.examples(self.trained.test, self.trained.test.complete(subset))
