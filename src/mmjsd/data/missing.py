"""Modalities that training samples lose at random, beside those that the data lack."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mmjsd.data.store import Split

__all__ = ["lose"]

#: Sets the numbers drawn here apart from others of the same seed.
_STREAM = 0x6D697373


def lose(split: Split, missing: float | Mapping[str, float], seed: int) -> Split:
    """Take a share of their modalities from samples, at random and once and for all.

    Each modality goes with its probability, whatever else goes; of a sample that would lose all that it has,
    one stays, each as likely. The draws are the same at any share, so samples that lose a modality at one
    lose it at a higher one too, unless it is their last.

    Args:
        split: of which only `pairs` changes.
        missing: share of the samples, 0 up to 1, of all modalities or of those that are named.
        seed: of the draws.
    """
    if not isinstance(missing, Mapping):
        missing = dict.fromkeys(split.modalities, missing)
    shares = [missing.get(name, 0.0) for name in split.modalities]
    draws = 1 - np.random.default_rng([seed, _STREAM]).random(split.pairs.shape)  # above 0, so that 0 is none
    # 1 and more: stays. Of those below, each is as likely the largest, whatever their shares are
    margins = np.where(split.pairs < 0, 0, draws / np.maximum(shares, 1e-300))
    stays = margins >= 1
    stays[np.arange(len(stays)), margins.argmax(1)] = True
    return replace(split, pairs=np.where(stays, split.pairs, -1).astype(split.pairs.dtype))
