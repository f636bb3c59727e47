"""What a model is given, brought into the form of its store: one preparation for building and for use.

It depends on the kind, the shape and the form of a modality alone. The same picture gives the same row,
whether it comes as a file, an opened image or an array.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality, kind_of

__all__ = ["Unfit", "prepare"]

_LOG = logging.getLogger(__name__)


class Unfit(Exception):
    """Why something cannot be shown to a model as it is."""


def prepare(
    given: Mapping[str, Any], modalities: Iterable[Modality], forms: Mapping[str, str] = {}
) -> dict[str, NDArray[Any]]:
    """Bring what a person has into the form of a store.

    What is cropped, resized or turned grey on the way is logged, a line for each kind of change.

    Args:
        given: modality -> what it is, one thing or a list of B of them. An image: its file, a PIL image, or
            an array (H, W), (H, W, C) or (C, H, W) of uint8 or of floats in 0..1; a text: its words; a
            vector: its values, or a string of them, with commas between. One thing beside lists stands for
            B of it.
        modalities: those of the model.
        forms: modality -> how its rows were made, as the kind of dataset says by `FORMS`.

    Returns:
        modality -> rows (B, ...): images uint8 (B, C, H, W), token ids uint8 (B, L), vectors float32 (B, D).

    Raises:
        MmjsdError: no such modality, what cannot be shown faithfully, or lists of different lengths.
    """
    known = {modality.name: modality for modality in modalities}
    if not isinstance(given, Mapping) or not given:
        raise MmjsdError(f"given: nothing is; give one or more of {', '.join(known)}")
    batches, single = {}, set()
    for name, value in given.items():
        if name not in known:
            raise MmjsdError(f"{name}: the model has no such modality; it has {', '.join(known)}")
        several = _is_batch(value, kind_of(known[name]).AXES)
        if not several:
            single.add(name)
        batches[name] = _rows(known[name], list(value) if several else [value], forms.get(name, ""))
    lengths = {name: len(rows) for name, rows in batches.items() if name not in single}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise MmjsdError(f"given: {counts}; give as many of each, or one")
    count = next(iter(lengths.values()), 1)
    return {name: rows.repeat(count, axis=0) if name in single else rows for name, rows in batches.items()}


def _is_batch(value: Any, axes: int) -> bool:
    """Whether a value is several things: a list but of numbers, an array of so many axes, or one of words."""
    if isinstance(value, (list, tuple)):
        return not (value and isinstance(value[0], Number))
    count = getattr(value, "ndim", None)
    return count == axes or (count == 1 and isinstance(next(iter(value), None), str))


def _rows(modality: Modality, items: Sequence[Any], form: str) -> NDArray[Any]:
    name, kind = modality.name, kind_of(modality)
    if not items:
        raise MmjsdError(f"{name}: an empty list; give one {modality.kind} at least")
    rows: list[NDArray[Any]] = []
    changed: dict[str, list[str]] = {}
    for number, item in enumerate(items, 1):
        label = f"number {number}" if len(items) > 1 else ""
        if kind.FROM_FILES and isinstance(item, (str, os.PathLike)):
            label = str(item)
        try:
            row, change = kind.prepare(item, modality.shape, form)
        except Unfit as error:
            raise MmjsdError(f"{name}: {label}{': ' if label else ''}{error}") from None
        rows.append(row)
        if change:
            changed.setdefault(change, []).append(label)
    for change, labels in changed.items():
        others = f" and {len(labels) - 1} others" if len(labels) > 1 else ""
        _LOG.warning("%s: %s%s%s%s", name, labels[0], others, ": " if labels[0] else "", change)
    return np.stack(rows)
