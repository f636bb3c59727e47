"""The rival objectives, side by side: MMJSD, MMVAE, MMVAEPlus, MVAE, MoPoE, MVTCAE, MMVM, MMVMPairwise.

All minimise, for a batch,

    sum_j w_j E[-log p(x_j|s_j,c)] + beta (beta_style sum_j b_j KL(q(s_j|x_j) || N(0,I)) + beta_content D)

and differ in how the shared latent c is drawn and in its divergence D. With modalities missing, their terms
are left out and the weights pi renormalised over those present. During the warm-up, beta is times `warmup`.

An objective holds the model it trains and tells it how to combine the posteriors of a subset. What it can be
told are its keyword-only arguments: runs of a parameter file have them as keys (see :mod:`mmjsd.static`).
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmjsd import registry
from mmjsd.data.batches import Batch
from mmjsd.distributions import (
    Gaussian,
    Mean,
    Mixture,
    jensen_shannon,
    kl_divergence,
    product_of_experts,
    weighted_sum,
    with_prior,
)
from mmjsd.means import (
    arithmetic,
    draw_subsets,
    mixture_of_products,
    product,
    product_of_subset,
    product_with_prior,
)
from mmjsd.models.vae import MultimodalVAE, Posteriors
from mmjsd.params.types import ImportanceSamples, MeanName, OnlyWith, Share, Weight, Weights

__all__ = [
    *("MMJSD", "MMVAE", "MMVM", "MVAE", "MVTCAE", "Loss", "MMVAEPlus", "MMVMPairwise", "MoPoE", "Objective"),
]


class Loss(NamedTuple):
    """The value to minimise, and what it is made of."""

    loss: Tensor
    """Scalar: mean over the batch."""
    terms: dict[str, Tensor]
    """Name -> detached scalar in nats per sample, unweighted: `reconstruction/<modality>` (the negative
    log-likelihood), `divergence/content`, `divergence/style/<modality>`, ..."""


class Objective(nn.Module):
    """What all objectives share: the weights, and the sum of their terms.

    Args:
        model: that is trained.
        beta: Weight of all divergences.
        beta_content: Weight of the shared latent's divergence, times beta.
        beta_style: Weight of the private latents' divergences, times beta.
        style_weights: b_j: weight of one modality's private divergence, times beta_style; 1 where not given.
        reconstruction_weights: w_j: weight of each log-likelihood; largest data size over own size where not
            given.
    """

    pi: Tensor

    def __init__(
        self,
        model: MultimodalVAE,
        *,
        beta: Weight = 2.5,
        beta_content: Weight = 1.0,
        beta_style: Annotated[Weight, OnlyWith("private_latent", above=0)] = 1.0,
        style_weights: Annotated[Weights, OnlyWith("private_latent", above=0)] = {},  # noqa: B006  # read only
        reconstruction_weights: Weights = {},  # noqa: B006
    ):
        super().__init__()
        self.model = model
        self.normalises = any(isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) for part in model.modules())
        """Whether networks normalise batches; they compute all samples, so that any device does the same."""
        self.beta, self.beta_content, self.beta_style = beta, beta_content, beta_style
        largest = max(m.size for m in model.modalities.values())
        self.style_weights = {name: style_weights.get(name, 1.0) for name in model.modalities}
        self.reconstruction_weights = {
            name: reconstruction_weights.get(name, largest / m.size) for name, m in model.modalities.items()
        }
        self._weigh({})

    def _weigh(self, weights: Mapping[str, float]) -> None:
        """Set pi of the modalities and, last, the prior: all alike where none is given."""
        pi = torch.tensor([weights.get(name, 1.0) for name in (*self.model.modalities, "prior")])
        self.register_buffer("pi", pi / pi.sum(), persistent=False)
        self.model.weights = {name: weights.get(name, 1.0) for name in self.model.modalities}

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        """Compute the loss of a batch; beta is times `warmup`."""
        raise NotImplementedError

    def weights(self, batch: Batch, *, prior: bool, pi: Tensor | None = None) -> Tensor:
        """Weigh the modalities present, the prior as last expert or not: (E,), or (E, B) with a mask.

        By `pi` (M + 1,), that of the objective where it is None.
        """
        pi = self.pi if pi is None else pi
        pi = pi if prior else pi[:-1]
        if batch.present is not None:
            present = batch.present.to(pi.dtype)
            pi = pi[:, None] * (torch.cat([present, torch.ones_like(present[:1])]) if prior else present)
        return pi / pi.sum(0)

    def encode(self, batch: Batch) -> Posteriors:
        """Encode the modalities of a batch; what is missing has any posterior."""
        computed = {} if self.normalises else {name: batch.computed(name) for name in batch.values}
        return self.model.encode(batch.values, computed)

    def negative_log_likelihood(self, batch: Batch, name: str, private: Tensor, c: Tensor) -> Tensor:
        """-log p(x_j|s_j,c) of latents (..., B, D), 0 where the modality is missing: -> (..., B)."""
        x, shape = batch.values[name], c.shape[:-1]
        rows = None if self.normalises else batch.computed(name)
        if rows is not None:
            x, private, c = x[rows], private[..., rows, :], c[..., rows, :]
        output = self.model.decode(name, private.flatten(0, -2), c.flatten(0, -2))
        if c.dim() > 2:
            x = x.repeat(math.prod(shape[:-1]), *[1] * (x.dim() - 1))
        nll = -self.model.log_likelihood(name, output, x).view(c.shape[:-1])
        if rows is None:
            return batch.only_present(nll, name)
        return nll.new_zeros(shape).index_copy(-1, rows, nll)

    def divergences(self, content: Tensor, style: Tensor | float, warmup: Tensor | float) -> Tensor:
        """The weighted sum of the divergences of the latents."""
        return self.beta * warmup * (self.beta_style * style + self.beta_content * content)

    def total(
        self,
        batch: Batch,
        warmup: Tensor | float,
        posteriors: Posteriors,
        c: Tensor,
        content: Tensor,
        share: Tensor | float = 1.0,
    ) -> Loss:
        """Compute the loss with the shared latent and its divergence.

        Args:
            batch, warmup: as of `forward`.
            posteriors: of the batch.
            c: (B, D), or (M, B, D): one for each modality.
            content: (B,).
            share: what the reconstruction is multiplied by, of all samples or (B,).
        """
        each = c if c.dim() == 3 else c.expand(len(batch.values), *c.shape)
        reconstruction: Tensor | float = 0.0
        style: Tensor | float = 0.0
        terms = {}
        for c_j, name in zip(each, batch.values, strict=True):
            q = posteriors.private[name]
            nll = self.negative_log_likelihood(batch, name, q.rsample(), c_j)
            reconstruction = reconstruction + self.reconstruction_weights[name] * nll
            terms[f"reconstruction/{name}"] = nll.mean().detach()
            if self.model.private_latent:
                kl = batch.only_present(kl_divergence(q), name)
                style = style + self.style_weights[name] * kl
                terms[f"divergence/style/{name}"] = kl.mean().detach()
        terms["divergence/content"] = content.mean().detach()
        return Loss((share * reconstruction + self.divergences(content, style, warmup)).mean(), terms)


class MMJSD(Objective):
    """Multimodal Jensen-Shannon divergence (Sutter, Daunhawer & Vogt 2020, Eq. 7 and 9).

    c from the mixture of the unimodal posteriors; D = JS of the posteriors and the prior, with the dynamic
    prior f, which is the posterior of a subset too.

    Args:
        weights: pi: weight of each modality, and of `prior`, in the divergence; equal where none is given.
        dynamic_prior: Abstract mean f: `geometric` (closed form), `arithmetic` (mixture, Monte Carlo), ...
        learn_weights: Whether the weights in a geometric f are learnt with the model, beginning with pi. The
            divergences from f keep pi: learnt, it would all go to one expert, which is then its own f.
    """

    def __init__(
        self,
        model: MultimodalVAE,
        *,
        weights: Weights = {},  # noqa: B006
        dynamic_prior: MeanName = "geometric",
        learn_weights: Annotated[bool, OnlyWith("dynamic_prior", "geometric")] = False,
        **shared: Any,
    ):
        super().__init__(model, **shared)
        self._weigh(weights)
        self.mean = model.mean = registry.resolve("means", dynamic_prior)
        if learn_weights:
            model.learn_weights(self.pi)

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        c = Mixture(posteriors.shared, self.weights(batch, prior=False)).rsample()
        pi = self.weights(batch, prior=True)
        content = jensen_shannon(with_prior(posteriors.shared), pi, self._dynamic_prior(batch))
        return self.total(batch, warmup, posteriors, c, content)

    def _dynamic_prior(self, batch: Batch) -> Mean:
        """f, with weights of its own where these are learnt."""
        learnt = self.model.learnt_weights()
        if learnt is None:
            return self.mean
        weights = self.weights(batch, prior=True, pi=learnt)
        return lambda experts, pi: self.mean(experts, weights)


class MMVAE(Objective):
    """Mixture of experts (Shi et al. 2019): with the ELBO of Sutter et al. 2020, or importance samples.

    The posterior of a subset is the mixture of the unimodal posteriors. With one sample, c is drawn from it
    and D = sum_j pi_j KL(q(c|x_j) || N(0, I)). With K, each expert draws as many, every modality is decoded
    from all of them, and the loss is -sum_j pi_j log (1/K) sum_k w_jk (Shi et al. 2019, the looser bound).

    Args:
        weights: pi: weight of each modality, and of `prior`, in the divergence; equal where none is given.
        importance_samples: K: samples of each expert.
        estimator: Of the gradient of the bound: `iwae` (Burda et al. 2016) or `dreg` (Tucker et al. 2019).
    """

    def __init__(
        self,
        model: MultimodalVAE,
        *,
        weights: Weights = {},  # noqa: B006
        importance_samples: ImportanceSamples = 1,
        estimator: Annotated[Literal["iwae", "dreg"], OnlyWith("importance_samples", above=1)] = "iwae",
        **shared: Any,
    ):
        super().__init__(model, **shared)
        self._weigh(weights)
        self.importance_samples, self.estimator = importance_samples, estimator
        model.mean = arithmetic

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        if self.importance_samples > 1:
            return self.bound(batch, warmup, posteriors)
        weights = self.weights(batch, prior=False)
        c = Mixture(posteriors.shared, weights).rsample()
        each = kl_divergence(posteriors.shared)
        content = (weights.reshape(len(weights), -1) * each).sum(0)
        return self.total(batch, warmup, posteriors, c, content)

    def bound(self, batch: Batch, warmup: Tensor | float, posteriors: Posteriors) -> Loss:
        """Compute the loss from K samples of each expert; what is of one sample is (K, E, B)."""
        weights = self.weights(batch, prior=False)
        by_expert = weights.reshape(len(weights), -1)
        c = posteriors.shared.repeated(self.importance_samples).rsample()
        shape = c.shape[:-1]
        drawn: list[tuple[Tensor, Tensor | float]] = [(c, 1.0)]
        mixture = Mixture(self._density(posteriors.shared), weights)
        content = mixture.log_prob(c) - Gaussian.standard(c.shape[-1], device=c.device).log_prob(c)
        reconstruction: Tensor | float = 0.0
        style: Tensor | float = 0.0
        terms = {}
        for expert, name in enumerate(batch.values):
            q = posteriors.private[name]
            s, is_own = self.private(name, expert, q, shape)
            drawn.append((s, is_own))
            nll = self.negative_log_likelihood(batch, name, s, c)
            reconstruction = reconstruction + self.reconstruction_weights[name] * nll
            terms[f"reconstruction/{name}"] = (by_expert * nll).sum(1).mean().detach()
            if self.model.private_latent:
                prior = Gaussian.standard(self.model.private_latent, device=c.device)
                kl = batch.only_present(is_own * (self._density(q).log_prob(s) - prior.log_prob(s)), name)
                style = style + self.style_weights[name] * kl
                terms[f"divergence/style/{name}"] = (by_expert * kl).sum(1).mean().detach()
        terms["divergence/content"] = (by_expert * content).sum(1).mean().detach()
        log_w = -reconstruction - self.divergences(content, style, warmup)
        if self.estimator == "dreg":
            shares = log_w.detach().softmax(0)
            for sample, by_posterior in drawn:
                if sample.requires_grad:
                    # by way of what posteriors drew, the shares count once more
                    factor = 1 + by_posterior * (shares - 1)
                    sample.register_hook(lambda gradient, factor=factor: factor[..., None] * gradient)
            bound = (shares * log_w).sum(0)
        else:
            bound = torch.logsumexp(log_w, 0) - math.log(self.importance_samples)
        return Loss(-(by_expert * bound).sum(0).mean(), terms)

    def private(
        self, name: str, expert: int, q: Gaussian, shape: tuple[int, ...]
    ) -> tuple[Tensor, Tensor | float]:
        """Draw private latents (K, E, B, D); 1 for the experts that take the modality's posterior, else 0."""
        return q.repeated(*shape[:-1]).rsample(), 1.0

    def _density(self, q: Gaussian) -> Gaussian:
        """q as what was drawn is judged by: DReG's gradient goes by way of what was drawn alone."""
        return Gaussian(*(tensor.detach() for tensor in q)) if self.estimator == "dreg" else q


class MMVAEPlus(MMVAE):
    """MMVAE with private latents that carry nothing shared (Palumbo, Daunhawer & Vogt 2023).

    Each expert draws c, and every modality is decoded from it: its own with its private latent, the others
    with one from r_j = N(0, sigma_j), which is learnt. Generated modalities, too, have private latents from
    r_j. The bound is that of MMVAE, with one sample an ELBO.
    """

    def __init__(self, model: MultimodalVAE, **shared: Any):
        super().__init__(model, **shared)
        if model.private_latent:
            scales = {name: nn.Parameter(torch.zeros(model.private_latent)) for name in model.modalities}
            model.private_scales = nn.ParameterDict(scales).to(model.device)

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        return self.bound(batch, warmup, self.encode(batch))

    def private(
        self, name: str, expert: int, q: Gaussian, shape: tuple[int, ...]
    ) -> tuple[Tensor, Tensor | float]:
        own, _ = super().private(name, expert, q, shape)
        is_own = torch.arange(shape[1], device=own.device) == expert
        cross = self.model.private_prior(name, *shape).rsample()
        return torch.where(is_own[:, None, None], own, cross), is_own[:, None].float()


class MVAE(Objective):
    """Product of experts (Wu & Goodman 2018): the joint ELBO plus the ELBO of each modality alone.

    c from the product of the unimodal posteriors and the prior, which is the posterior of a subset too;
    D = KL(product || N(0, I)). The unimodal ELBOs have their own samples, and their reconstruction is not
    weighted.
    """

    def __init__(self, model: MultimodalVAE, **shared: Any):
        super().__init__(model, **shared)
        model.mean = product_with_prior

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        present = self.weights(batch, prior=True) > 0 if batch.present is not None else None
        joint = product_of_experts(with_prior(posteriors.shared), present)
        c, content = joint.rsample(), kl_divergence(joint)
        loss, terms = self.total(batch, warmup, posteriors, c, content)
        for expert, name in enumerate(batch.values):
            q_c, q_s = posteriors.shared.at(expert), posteriors.private[name]
            nll = self.negative_log_likelihood(batch, name, q_s.rsample(), q_c.rsample())
            style = self.style_weights[name] * kl_divergence(q_s)
            elbo = nll + self.divergences(kl_divergence(q_c), style, warmup)
            elbo = batch.only_present(elbo, name).mean()
            loss = loss + elbo
            terms[f"unimodal/{name}"] = elbo.detach()
        return Loss(loss, terms)


class MoPoE(Objective):
    """Mixture of the products of experts of all subsets (Sutter, Daunhawer & Vogt 2021).

    c from the product q_S of one subset S for each sample, drawn from those of what is present;
    D = KL(q_S || N(0, I)), on average the mean over all S. So its cost does not grow with their number. As in
    the released code, the product of all modalities has the prior as one more expert. The posterior of a
    subset is the mixture of the products of its subsets.
    """

    def __init__(self, model: MultimodalVAE, **shared: Any):
        super().__init__(model, **shared)
        model.mean = partial(mixture_of_products, modalities=len(model.modalities))

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        subsets = draw_subsets(batch.is_present())
        joint = product_of_subset(posteriors.shared, subsets, len(subsets))
        return self.total(batch, warmup, posteriors, joint.rsample(), kl_divergence(joint))


class MVTCAE(Objective):
    """Total correlation as an autoencoder (Hwang et al. 2021): a product of experts near each of them.

    c from the product q of the unimodal posteriors, which is the posterior of a subset too;
    D = (1 - a) KL(q || N(0, I)) + (a/M) sum_j KL(q || q_j), and the reconstruction counts (M - a)/M.

    Args:
        total_correlation: a: how much the total correlation counts against the bottleneck, 0 to 1.
    """

    def __init__(self, model: MultimodalVAE, *, total_correlation: Share = 5 / 6, **shared: Any):
        super().__init__(model, **shared)
        self.total_correlation = total_correlation
        model.mean = product

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        present = batch.is_present().float()
        joint = product_of_experts(posteriors.shared, present)
        a = self.total_correlation / present.sum(0)  # over as many as there are
        each = torch.where(present > 0, kl_divergence(joint, posteriors.shared), 0).sum(0)
        content = (1 - self.total_correlation) * kl_divergence(joint) + a * each
        return self.total(batch, warmup, posteriors, joint.rsample(), content, 1 - a)


class MMVM(Objective):
    """Multimodal variational mixture prior (Sutter et al. 2024): one VAE a modality.

    Each modality has a c_j of its own from q(c|x_j) and is decoded from that alone. What ties them is the
    prior, the mixture h of the unimodal posteriors: D = sum_j (1/M) KL(q_j || h), estimated from the c_j. The
    posterior of a subset is the mixture.

    Args:
        prior_weight: Weight of N(0, I) in the mixture.
    """

    def __init__(self, model: MultimodalVAE, *, prior_weight: Share = 0.0, **shared: Any):
        super().__init__(model, **shared)
        self.prior_weight = prior_weight
        model.mean = arithmetic

    def forward(self, batch: Batch, warmup: Tensor | float = 1.0) -> Loss:
        posteriors = self.encode(batch)
        weights = self.weights(batch, prior=False)
        in_prior = [(1 - self.prior_weight) * weights, torch.full_like(weights[:1], self.prior_weight)]
        c = posteriors.shared.rsample()
        content = self.divergence(posteriors.shared, weights, torch.cat(in_prior), c)
        return self.total(batch, warmup, posteriors, c, content)

    def divergence(self, experts: Gaussian, weights: Tensor, in_prior: Tensor, c: Tensor) -> Tensor:
        """Estimate D of the experts (M, B, D) by a sample c of each: -> (B,).

        Args:
            experts, c: the q(c|x_j) and samples of them.
            weights: of these in D, (M,) or (M, B).
            in_prior: of these and N(0, I) in their prior, (M + 1,) or (M + 1, B).
        """
        mixture = Mixture(with_prior(experts), in_prior)
        each = experts.log_prob(c) - mixture.log_prob(c)
        return (weights.reshape(len(weights), -1) * each).sum(0)


class MMVMPairwise(MMVM):
    """MMVM by what its released code minimises in place of the divergence from the mixture.

    That is D = sum_j (1/M) sum_k v_k KL(q_j || q_k), v_k the weights of the mixture, with N(0, I) among the
    q_k: by the convexity of KL an upper bound of MMVM's D. It has no limit: the further posteriors are apart,
    the more it holds them together. With g the product of the q_k^v_k it is
    sum_j (1/M) KL(q_j || g) + sum_k v_k KL(g || q_k), so that its cost grows with M and not with M^2.
    """

    def divergence(self, experts: Gaussian, weights: Tensor, in_prior: Tensor, c: Tensor) -> Tensor:
        """Compute it; the samples c have no part."""
        every = with_prior(experts)
        g = product_of_experts(every, in_prior)
        to_g = weighted_sum(kl_divergence(experts, g), weights)
        return to_g + weighted_sum(kl_divergence(g, every), in_prior)
