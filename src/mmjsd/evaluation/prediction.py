"""Prediction: how well modalities tell the values of each other. It needs no labels."""

import math
import statistics

import torch
from torch import Tensor

from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples
from mmjsd.evaluation.trained import Judged
from mmjsd.modalities import kind_of
from mmjsd.params.types import Samples
from mmjsd.subsets import name_of

__all__ = ["compute", "predictions"]

TITLE = "Prediction"
READING = (
    "How well modality j of test samples is predicted from their modalities A, key `prediction/A/j`. Of "
    "vectors R²: the share of the variance of a column that is explained, averaged over the columns; 1 is "
    "perfect, 0 is what their mean would reach, and less is worse than that. Of texts the share of "
    "characters that are right. Of images the mean squared error of pixels in 0..1: less is better. "
    "`prediction/mean`: R² averaged over all vectors j and the A that they are no part of."
)
HEADLINE = {"R² of predicted vectors, mean": "prediction/mean"}
BY_KIND = True

LATENTS = 10
"""Samples of the latents whose generated modalities a prediction is the mean of."""


def compute(judged: Judged, *, prediction_samples: Samples = 1000) -> dict[str, float]:
    """Score modalities as they are predicted from each subset, on the test samples that have both.

    Of data with labels vectors alone: decoding takes time, and coherence judges images and texts.

    Args:
        judged: what is judged.
        prediction_samples: Test pairs that are predicted, at most: the first of a fixed permutation.
    """
    test, modalities = judged.test, judged.model.modalities
    predicted = [n for n, m in modalities.items() if m.kind == "vector" or judged.scorer is None]
    scores: dict[str, float] = {}
    of_vectors = []
    for subset, generated in judged.targets.items():
        targets = tuple(name for name in generated if name in predicted)
        if not targets:
            continue
        samples = test.complete(subset)[:prediction_samples]
        for name, values in predictions(test, subset, samples, targets).items():
            there = test.columns[name][samples] >= 0
            if not there.any():
                continue
            score = kind_of(modalities[name]).score(values[there], test.inputs(name, samples[there]))
            scores[f"prediction/{name_of(subset)}/{name}"] = score
            if modalities[name].kind == "vector" and name not in subset and math.isfinite(score):
                of_vectors.append(score)
    return scores | ({"prediction/mean": statistics.fmean(of_vectors)} if of_vectors else {})


@torch.no_grad()
def predictions(
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    samples: Tensor,
    targets: tuple[str, ...],
) -> dict[str, Tensor]:
    """Predict modalities of these test samples (B,) by the mean of what is generated given the subset.

    Returns:
        target -> (B, ...); text as character probabilities.
    """
    sums: dict[str, Tensor] = {}
    for _ in range(LATENTS):
        pieces = list(conditional_samples(test, subset, samples, targets))
        for name in pieces[0]:
            generated = torch.cat([piece[name] for piece in pieces])
            sums[name] = sums[name] + generated if name in sums else generated
    return {name: total / LATENTS for name, total in sums.items()}
