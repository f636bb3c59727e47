"""The rival objectives, side by side: MMJSD, MVAE, MMVAE.

All minimise, for a batch,

    sum_j w_j E[-log p(x_j|s_j,c)] + beta (beta_style sum_j b_j KL(q(s_j|x_j) || N(0,I)) + beta_content D)

and differ in how the shared latent c is drawn and in its divergence D. With modalities missing, their terms
are left out and the weights pi renormalised over those present. During the warm-up, beta is times `warmup`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mmjsd.data.batches import Batch
from mmjsd.distributions import (
    jensen_shannon,
    kl_divergence,
    product_of_experts,
    stratified_mixture,
    with_prior,
)
from mmjsd.modalities import Modality
from mmjsd.models.vae import Fusion, MultimodalVAE, Posteriors
from mmjsd.params import Run

__all__ = ["MMJSD", "MMVAE", "MVAE", "OBJECTIVES", "Loss"]


class Loss(NamedTuple):
    """The value to minimise, and what it is made of."""

    loss: Tensor
    """Scalar: mean over the batch."""
    terms: dict[str, Tensor]
    """Name -> detached scalar in nats per sample, unweighted: `reconstruction/<modality>` (the negative
    log-likelihood), `divergence/content`, `divergence/style/<modality>`, ..."""


class _Objective:
    """The weights, and the sum that all objectives share.

    Args:
        modalities: of the model, in order.
        run: beta, beta_content, beta_style, weights, style_weights, reconstruction_weights, dynamic_prior.
    """

    def __init__(self, modalities: list[Modality], run: Run):
        names = [m.name for m in modalities]
        largest = max(m.size for m in modalities)
        pi = torch.tensor([run.weights.get(name, 1.0) for name in (*names, "prior")])
        self.pi = pi / pi.sum()
        self.reconstruction_weights = {
            m.name: run.reconstruction_weights.get(m.name, largest / m.size) for m in modalities
        }
        self.style_weights = {name: run.style_weights.get(name, 1.0) for name in names}
        self.beta, self.beta_content, self.beta_style = run.beta, run.beta_content, run.beta_style
        self.mean = run.dynamic_prior

    def weights(self, batch: Batch, prior: bool) -> Tensor:
        """pi over the modalities present, the prior as last expert or not: (E,), or (E, B) with a mask."""
        pi = (self.pi if prior else self.pi[:-1]).to(next(iter(batch.values.values())).device)
        if batch.present is not None:
            present = batch.present.to(pi.dtype)
            pi = pi[:, None] * (torch.cat([present, torch.ones_like(present[:1])]) if prior else present)
        return pi / pi.sum(0)

    def divergences(self, content: Tensor, style: Tensor | float, warmup: Tensor | float) -> Tensor:
        return self.beta * warmup * (self.beta_style * style + self.beta_content * content)

    def total(
        self,
        model: MultimodalVAE,
        batch: Batch,
        warmup: Tensor | float,
        posteriors: Posteriors,
        c: Tensor,
        content: Tensor,
    ) -> Loss:
        """Loss with the shared latent c (B, D) and its divergence `content` (B,)."""
        reconstruction: Tensor | float = 0.0
        style: Tensor | float = 0.0
        terms = {}
        for name, x in batch.values.items():
            q = posteriors.private[name]
            nll = -model.log_likelihood(name, model.decode(name, q.rsample(), c), x)
            nll = only_present(nll, batch, name)
            reconstruction = reconstruction + self.reconstruction_weights[name] * nll
            terms[f"reconstruction/{name}"] = nll.mean().detach()
            if model.private_latent:
                kl = only_present(kl_divergence(q), batch, name)
                style = style + self.style_weights[name] * kl
                terms[f"divergence/style/{name}"] = kl.mean().detach()
        terms["divergence/content"] = content.mean().detach()
        return Loss((reconstruction + self.divergences(content, style, warmup)).mean(), terms)


class MMJSD(_Objective):
    """Multimodal Jensen-Shannon divergence (Sutter, Daunhawer & Vogt 2020, Eq. 7 and 9).

    c from the mixture of the unimodal posteriors; D = JS of the posteriors and the prior, with the dynamic
    prior f (geometric: a product of experts; arithmetic: a mixture).
    """

    def __call__(self, model: MultimodalVAE, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = model.encode(batch.values)
        c = stratified_mixture(posteriors.shared, self.weights(batch, prior=False)).rsample()
        content = jensen_shannon(with_prior(posteriors.shared), self.weights(batch, prior=True), self.mean)
        return self.total(model, batch, warmup, posteriors, c, content)


class MMVAE(_Objective):
    """Mixture of experts (Shi et al. 2019), with the ELBO of Sutter et al. 2020.

    c from the mixture of the unimodal posteriors; D = sum_j pi_j KL(q(c|x_j) || N(0, I)).
    """

    def __call__(self, model: MultimodalVAE, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = model.encode(batch.values)
        weights = self.weights(batch, prior=False)
        c = stratified_mixture(posteriors.shared, weights).rsample()
        each = kl_divergence(posteriors.shared)
        content = (weights.reshape(len(weights), -1) * each).sum(0)
        return self.total(model, batch, warmup, posteriors, c, content)


class MVAE(_Objective):
    """Product of experts (Wu & Goodman 2018): the joint ELBO plus the ELBO of each modality alone.

    c from the product of the unimodal posteriors and the prior; D = KL(product || N(0, I)). The unimodal
    ELBOs have their own samples, and their reconstruction is not weighted.
    """

    def __call__(self, model: MultimodalVAE, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = model.encode(batch.values)
        present = self.weights(batch, prior=True) > 0 if batch.present is not None else None
        joint = product_of_experts(with_prior(posteriors.shared), present)
        c, content = joint.rsample(), kl_divergence(joint)
        loss, terms = self.total(model, batch, warmup, posteriors, c, content)
        for expert, (name, x) in enumerate(batch.values.items()):
            q_c, q_s = posteriors.shared.at(expert), posteriors.private[name]
            nll = -model.log_likelihood(name, model.decode(name, q_s.rsample(), q_c.rsample()), x)
            style = self.style_weights[name] * kl_divergence(q_s)
            elbo = nll + self.divergences(kl_divergence(q_c), style, warmup)
            elbo = only_present(elbo, batch, name).mean()
            loss = loss + elbo
            terms[f"unimodal/{name}"] = elbo.detach()
        return Loss(loss, terms)


OBJECTIVES: dict[str, type[MMJSD] | type[MMVAE] | type[MVAE]] = {"mmjsd": MMJSD, "mvae": MVAE, "mmvae": MMVAE}


def fusion_of(run: Run) -> Fusion:
    """How an objective's models combine the posteriors of a subset of modalities."""
    if run.objective == "mvae":
        return "product_with_prior"
    return "geometric" if run.objective == "mmjsd" and run.dynamic_prior == "geometric" else "mixture"


def only_present(values: Tensor, batch: Batch, name: str) -> Tensor:
    """values (B,) with 0 where the modality is missing."""
    if batch.present is None:
        return values
    return torch.where(batch.present[list(batch.values).index(name)], values, 0.0)
