"""Coherence: do generated modalities show the class they are given, and the same class as each other?

Where samples have attributes instead of a class, in place of the share of right answers: average precision.
Judged by classifiers of the real data, in eval mode; their own test accuracy bounds what can be measured.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmjsd.evaluation.averages import Average, deviations
from mmjsd.evaluation.keys import named
from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.evaluation.samplers import Sampler
from mmjsd.evaluation.trained import Judged
from mmjsd.models.classifiers import Classifier
from mmjsd.models.vae import MultimodalVAE
from mmjsd.params.types import Samples
from mmjsd.subsets import name_of

__all__ = ["compute", "conditional_logits", "random_logits"]

TITLE = "Coherence"
READING = (
    "Shares between 0 and 1, more is better; `coherence/conditional/A/j` is how often modality j, "
    "generated from the modalities A, shows the class that A has, as the classifier of j sees it; "
    "`coherence/cross/k` is its mean over all A of k modalities and all j outside of them. A coherence "
    "means little where that classifier is weak ({judges}), and nothing where it is that of chance: a "
    "modality that always shows the same class has it, too. Random coherence has no such level, for "
    "modalities that always show the same class agree always or never; it also counts samples that are no "
    "class at all as long as the classifiers agree. Of attributes it is the mean average precision of what "
    "the classifiers see in the generated modality; metrics.json has each."
)
HEADLINE = {
    "conditional coherence, mean": "coherence/conditional/mean",
    "random coherence": "coherence/random",
    "random coherence, from a mixture": "coherence/random_mixture",
}
CHANCE = ("coherence/conditional/", "coherence/cross/")


def compute(
    judged: Judged, *, test_samples: Samples | None = None, random_samples: Samples = 10000
) -> dict[str, float]:
    """Score what classifiers see in modalities generated given each subset of them, and from the prior.

    Of data without labels there is nothing to be seen.

    Args:
        judged: what is judged.
        test_samples: Test pairs of the coherence, at most: the first of a fixed permutation; null: all of
            them.
        random_samples: Samples of the random coherence, from each sampler.
    """
    test, scorer = judged.test, judged.scorer
    if scorer is None:
        print("coherence: the data have no labels: left out", flush=True)
        return {}
    found: dict[str, float] = {}
    everything, cross_mean = Average(), Average()
    cross: dict[int, Average] = {}
    for subset, targets in judged.targets.items():
        samples, given = test.complete(subset)[:test_samples], name_of(subset)
        for name, logits in conditional_logits(judged.classifiers, test, subset, samples, targets).items():
            score = scorer.score(logits, test.labels[samples])
            found |= named(score, f"coherence/conditional/{given}/{name}", f"coherence/{given}/{name}")
            moved = deviations(score, samples, len(test))
            everything.add(score.value, moved)
            if name not in subset:
                cross.setdefault(len(subset), Average()).add(score.value, moved)
    found |= everything.named("coherence/conditional/mean")
    for size, of_size in cross.items():
        found |= of_size.named(f"coherence/cross/{size}")
        cross_mean.add(of_size.value, of_size.deviations)
    if cross:  # of a single modality there is no other
        found |= cross_mean.named("coherence/cross/mean")
    for name, sampler in judged.samplers.items():
        logits = random_logits(judged.model, judged.classifiers, random_samples, sampler)
        found |= named(scorer.agreement(logits), f"coherence/{name}", f"coherence/{name}")
    return found


@torch.no_grad()
def conditional_logits(
    classifiers: Mapping[str, Classifier],
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    samples: Tensor,
    targets: tuple[str, ...] | None = None,
) -> dict[str, Tensor]:
    """Classify each target (default: all), generated given the subset of samples: (B,) -> (B, C) each."""
    logits: dict[str, list[Tensor]] = {}
    for generated in conditional_samples(test, subset, samples, targets):
        for name, x in generated.items():
            logits.setdefault(name, []).append(classifiers[name](x))
    return {name: torch.cat(parts) for name, parts in logits.items()}


@torch.no_grad()
def random_logits(
    model: MultimodalVAE, classifiers: Mapping[str, Classifier], count: int, sampler: Sampler | None = None
) -> Tensor:
    """Classify each modality of `count` samples from a sampler, or from the prior: (M, count, C)."""
    parts = [
        torch.stack([classifiers[name](x) for name, x in generated.items()])
        for generated in random_samples(model, count, sampler=sampler)
    ]
    return torch.cat(parts, 1)
