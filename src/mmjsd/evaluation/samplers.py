"""The mixture sampler: random samples from where the posteriors of a trained model lie, not its prior."""

from collections.abc import Callable

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors

__all__ = ["FITTED", "Sampler", "mixture_sampler"]

FITTED = 10_000
"""Training samples that the mixture is fitted to, at most."""

Sampler = Callable[[int], Tensor]
"""How many -> shared latents (B, D) on the model's device."""


def mixture_sampler(train: UnimodalPosteriors, components: int, seed: int) -> Sampler:
    """Fit a Gaussian mixture to where the shared latents of training samples lie, to sample others from.

    The posteriors of a trained model seldom add up to its prior, where decoders were not trained then. The
    mixture has full covariances and is fitted to one sample of the posterior of each training sample
    given all modalities (the two-stage sampling of Ghosh et al. 2020, as MultiVae has it).

    Args:
        train: posteriors of training samples.
        components: of the mixture.
        seed: of the fit and of the samples that it is fitted to; torch's own is set to it.

    Raises:
        MmjsdError: fewer training samples have all modalities than there are components.
    """
    model, modalities = train.model, tuple(train.model.modalities)
    samples = train.complete(modalities)
    if len(samples) < components:
        raise MmjsdError(
            f"evaluation.sampler_components: {components} components need as many training samples that have "
            f"all modalities, and there are {len(samples)}; ask for fewer"
        )
    torch.manual_seed(seed)
    latents = train.posterior(modalities, samples).rsample().cpu().double().numpy()
    fitted = GaussianMixture(components, reg_covar=1e-5, random_state=seed).fit(latents)
    weights, means, covariances = map(torch.from_numpy, (fitted.weights_, fitted.means_, fitted.covariances_))
    factors = torch.linalg.cholesky(covariances).float().to(model.device)
    mixture = MixtureSameFamily(
        Categorical(weights.float().to(model.device)),
        MultivariateNormal(means.float().to(model.device), scale_tril=factors, validate_args=False),
        validate_args=False,
    )
    return lambda count: mixture.sample((count,))
