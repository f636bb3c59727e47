"""Likelihood: importance-sampled log p(x_j) and log p(x) of test samples, in nats.

The proposal is the posterior given a subset A of the modalities, so the estimates say how well the latents
inferred from A explain each modality and all of them together. They are lower bounds in expectation, tight
as the number of importance samples grows (Burda et al. 2016).
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmjsd.distributions import Gaussian
from mmjsd.evaluation.latents import CHUNK, UnimodalPosteriors, pieces
from mmjsd.evaluation.trained import Judged
from mmjsd.subsets import name_of

__all__ = ["JOINT", "compute", "estimates", "mean_and_error"]

TITLE = "Likelihood"
READING = (
    "Importance-sampled test log-likelihoods in nats, proposals from the posterior given the modalities "
    "A; `joint`: of all modalities together. More is better. Standard errors are in metrics.json."
)
HEADLINE = {"log-likelihood, joint": "likelihood/joint"}
# the posterior given all modalities is the closest proposal
SUMMARIES = {"likelihood/joint": "likelihood/*/joint"}

JOINT = "joint"
"""Name of all modalities together, beside theirs."""


def compute(
    judged: Judged,
    *,
    likelihood_pairs: Annotated[int, Field(ge=2, le=10**6)] = 1000,
    importance_samples: Annotated[int, Field(gt=0, le=10**4)] = 100,
) -> dict[str, float]:
    """Average the estimates over test samples of which all modalities are there, given each subset of them.

    Args:
        judged: what is judged.
        likelihood_pairs: Test pairs of the log-likelihoods, at most: the first of a fixed permutation.
        importance_samples: K: samples of the latents of each pair by which its log-likelihoods are estimated.
    """
    samples = judged.test.complete(tuple(judged.model.modalities))[:likelihood_pairs]
    means: dict[str, float] = {}
    errors: dict[str, float] = {}
    if not len(samples):
        print("likelihood: no test sample has all modalities: left out", flush=True)
        return {}
    for subset, targets in judged.targets.items():
        logs = estimates(judged.test, subset, samples, importance_samples, targets)
        for target, values in logs.items():
            key = f"{name_of(subset)}/{target}"
            means[f"likelihood/{key}"], errors[f"likelihood_error/{key}"] = mean_and_error(values)
    return means | errors


@torch.no_grad()
def estimates(
    test: UnimodalPosteriors,
    subset: tuple[str, ...],
    samples: Tensor,
    importance_samples: int,
    targets: tuple[str, ...] | None = None,
) -> dict[str, Tensor]:
    """Estimate log p(x_j), for each target j, and log p(x), key `joint`, of each sample.

        log 1/K sum_k p(x_j|s_jk,c_k) p(s_jk) p(c_k) / (q(s_jk) q(c_k|x_A)),   c_k ~ q(c|x_A), s_jk ~ q(s_j),

    with q(s_j) = q(s_j|x_j) for modalities in A and N(0, I) for the others; for log p(x) with the product
    over all modalities within the sum.

    Args:
        test: the posteriors.
        subset: A.
        samples: indices (B,) of samples of which all modalities are there.
        importance_samples: K.
        targets: modalities; None: all of them.

    Returns:
        target, or `joint` if all modalities are -> (B,), in nats, the likelihoods unweighted.
    """
    targets = tuple(test.model.modalities) if targets is None else targets
    size = max(1, CHUNK // importance_samples)
    parts = [_of_chunk(test, subset, chunk, importance_samples, targets) for chunk in samples.split(size)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Average over the samples, with the standard error (that of the sample of data points)."""
    deviation = float(values.std()) if len(values) > 1 else math.nan
    return float(values.mean()), deviation / math.sqrt(len(values))


def _of_chunk(
    test: UnimodalPosteriors, subset: tuple[str, ...], chunk: Tensor, k: int, targets: tuple[str, ...]
) -> dict[str, Tensor]:
    model = test.model
    repeated = chunk.repeat_interleave(k)
    experts = test.experts(subset, repeated)
    posterior = model.posterior(experts, subset)
    c = posterior.rsample()
    joint = Gaussian.standard(*c.shape, device=c.device).log_prob(c)
    joint = joint - posterior.log_prob(c)
    shared, logs = joint, {}
    parts = pieces(torch.arange(len(repeated), device=c.device))
    for name in targets:
        prior = Gaussian.standard(len(repeated), model.private_latent, device=c.device)
        q = test.private_of(name, repeated) if name in subset else prior
        s = q.rsample()
        own = torch.cat(
            [
                model.log_likelihood(name, model.decode(name, s[part], c[part]), test.inputs(name, rows))
                for part, rows in zip(parts, pieces(repeated), strict=True)
            ]
        )
        own = own + prior.log_prob(s) - q.log_prob(s)
        logs[name] = shared + own
        joint = joint + own
    if len(targets) == len(model.modalities):
        logs[JOINT] = joint
    return {name: torch.logsumexp(log.view(-1, k), 1) - math.log(k) for name, log in logs.items()}
