"""Average precision: how well scores rank the samples that have an attribute before those that don't."""

import math

import torch
from torch import Tensor

__all__ = ["average_precisions"]


def average_precisions(scores: Tensor, present: Tensor) -> Tensor:
    """Compute the average precision of each attribute, the mean of the precisions down to its samples.

    sum_n (R_n - R_n-1) P_n over the thresholds, as scikit-learn has it; equal scores share a threshold.

    Args:
        scores: (N, A), higher for samples that more likely have the attribute.
        present: (N, A), whether they have it.

    Returns:
        float64 (A,) on the CPU: shares in 0..1; of scores without any information, the attribute's frequency.
        NaN for an attribute that no sample has.
    """
    scores, present = scores.cpu(), present.cpu()
    order = scores.argsort(0, descending=True)
    ranked, hits = scores.gather(0, order), present.gather(0, order).double()
    found = hits.cumsum(0)
    ranks = torch.arange(1, len(scores) + 1, dtype=torch.float64)[:, None]
    # equal scores: the precision at the last of them counts for all
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    places = torch.arange(len(scores))[:, None].expand_as(ranked)
    end = torch.where(last, places, len(scores)).flip(0).cummin(0).values.flip(0)
    precision = (found / ranks).gather(0, end)
    return (precision * hits).sum(0) / torch.where(found[-1] > 0, found[-1], math.nan)
