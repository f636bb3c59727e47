"""Noise that is known, so that losses can be computed by hand or by others."""

import pytest
import torch

from mmjsd.distributions import Gaussian

__all__ = ["have_known_noise", "known_noise"]


def known_noise(shape):
    """Noise that depends on the sample's number, the first of three axes or more, and the dimension."""
    number = torch.arange(shape[0] if len(shape) > 2 else 1).reshape(-1, *[1] * (len(shape) - 1))
    return torch.sin(1.0 + 2.3 * number + 0.7 * torch.arange(shape[-1])).expand(shape)


def have_known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have posteriors draw with that."""

    def rsample(self, generator=None):
        return self.mean + known_noise(self.mean.shape) * torch.exp(0.5 * self.log_variance)

    monkeypatch.setattr(Gaussian, "rsample", rsample)
