"""The reference the speed is measured against: networks and step as one would first write them.

The networks are those of `mmjsd.models.networks` for MNIST, SVHN and words, one list entry per modality, in
float32, with one-hot texts (B, alphabet, 8).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmjsd.modalities.image import LIKELIHOODS
from mmjsd.modalities.text import ALPHABET
from mmjsd.params import Run

__all__ = ["OBJECTIVES", "Plain", "networks", "one_hot"]


def networks(latent: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Encoders (to means and log-variances) and decoders of MNIST, SVHN and one-hot text (B, alphabet, 8)."""
    symbols = len(ALPHABET)
    encoders = [
        nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * latent)),
        nn.Sequential(
            *(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(128, 2 * latent)),
        ),
        nn.Sequential(
            *(nn.Conv1d(symbols, 128, 1), nn.ReLU(), nn.Conv1d(128, 128, 4, 2, 1), nn.ReLU()),
            *(nn.Conv1d(128, 128, 4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2 * latent)),
        ),
    ]
    decoders = [
        nn.Sequential(nn.Linear(latent, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()),
        nn.Sequential(
            *(nn.Linear(latent, 128), nn.ReLU(), nn.Unflatten(1, (128, 1, 1))),
            *(nn.ConvTranspose2d(128, 64, 4), nn.ReLU(), nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1)),
        ),
        nn.Sequential(
            *(nn.Linear(latent, 128), nn.ReLU(), nn.Unflatten(1, (128, 1))),
            *(nn.ConvTranspose1d(128, 128, 4), nn.ReLU(), nn.ConvTranspose1d(128, 128, 4, 2, 1), nn.ReLU()),
            *(nn.Conv1d(128, symbols, 1), nn.LogSoftmax(1)),
        ),
    ]
    return nn.ModuleList(encoders), nn.ModuleList(decoders)


def kl(m1: Tensor, v1: Tensor, m2: Tensor | float = 0.0, v2: Tensor | float = 1.0) -> Tensor:
    """Compute the KL between diagonal Gaussians of means m and variances v, summed over the latent."""
    ratio = v1 / v2
    return 0.5 * (ratio + (m1 - m2) ** 2 / v2 - 1 - torch.log(ratio)).sum(1)


def product(means: list[Tensor], variances: list[Tensor], weights: list[float]) -> tuple[Tensor, Tensor]:
    precision = sum(w / v for w, v in zip(weights, variances, strict=True))
    mean = sum(w * m / v for w, m, v in zip(weights, means, variances, strict=True)) / precision
    return mean, 1 / precision


def draw(mean: Tensor, variance: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * variance.sqrt()


OBJECTIVES = ("mmjsd", "mmvae", "mvae")


def one_hot(words: Tensor) -> Tensor:
    """Token ids (B, 8) -> (B, alphabet, 8)."""
    return F.one_hot(words, len(ALPHABET)).float().transpose(1, 2).contiguous()


class Plain:
    """One of these objectives.

    Args:
        run: its parameters.
        device: to compute on.
    """

    def __init__(self, run: Run, device: torch.device):
        self.objective, self.beta, self.scale = run.objective, run.beta, LIKELIHOODS["laplace"]
        encoders, decoders = networks(run.shared_latent)
        self.encoders, self.decoders = encoders.to(device), decoders.to(device)
        self.networks = nn.ModuleList([encoders, decoders])
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=run.learning_rate)

    def reconstruction(self, values: list[Tensor], c: Tensor) -> list[Tensor]:
        """Compute -log p(x_j|c) of each modality: (B,)."""
        losses = []
        for decoder, x in zip(self.decoders, values, strict=True):
            output = decoder(c)
            if output.dim() == 3:
                losses.append(-(x * output).sum((1, 2)))
            else:
                laplace = torch.distributions.Laplace(output.view_as(x), torch.tensor(self.scale).to(x))
                losses.append(-laplace.log_prob(x).flatten(1).sum(1))
        return losses

    def loss(self, values: list[Tensor]) -> Tensor:
        """Compute the loss of images (B, 1, 28, 28), (B, 3, 32, 32) and one-hot texts, in this order."""
        means, variances = [], []
        for encoder, x in zip(self.encoders, values, strict=True):
            mean, log_variance = encoder(x).chunk(2, 1)
            means.append(mean)
            variances.append(log_variance.exp())
        prior_mean, prior_variance = torch.zeros_like(means[0]), torch.ones_like(means[0])
        if self.objective == "mvae":
            mean, variance = product([*means, prior_mean], [*variances, prior_variance], [1.0] * 4)
            c, divergence = draw(mean, variance), kl(mean, variance)
        else:
            which = torch.randperm(len(prior_mean), device=prior_mean.device) % 3  # a third of the batch each
            mean, variance = torch.zeros_like(means[0]), torch.zeros_like(means[0])
            for j in range(3):
                mean = torch.where((which == j)[:, None], means[j], mean)
                variance = torch.where((which == j)[:, None], variances[j], variance)
            c = draw(mean, variance)
            if self.objective == "mmjsd":
                experts = [*means, prior_mean], [*variances, prior_variance]
                f_mean, f_variance = product(*experts, [0.25] * 4)
                divergence = sum(0.25 * kl(m, v, f_mean, f_variance) for m, v in zip(*experts, strict=True))
            else:
                divergence = sum(kl(m, v) / 3 for m, v in zip(means, variances, strict=True))
        weights = [3072 / 784, 1.0, 3072 / 8]
        weighted = sum(w * r for w, r in zip(weights, self.reconstruction(values, c), strict=True))
        loss = (weighted + self.beta * divergence).mean()
        if self.objective == "mvae":
            for j in range(3):
                alone = self.reconstruction(values, draw(means[j], variances[j]))[j]
                loss = loss + (alone + self.beta * kl(means[j], variances[j])).mean()
        return loss

    def step(self, values: list[Tensor]) -> Tensor:
        loss = self.loss(values)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss
