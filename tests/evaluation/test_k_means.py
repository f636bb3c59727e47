import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from mmjsd.evaluation.k_means import k_means


def test_far_apart_clusters_are_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 400)
    samples = rng.normal(size=(6, 5))[truth] * 1000 + rng.normal(size=(400, 5))
    found = k_means(torch.tensor(samples), 6, repetitions=3, seed=1)
    assert found.shape == (3, 400)
    assert max(adjusted_rand_score(truth, labels) for labels in found) == pytest.approx(1)


def test_each_sample_is_nearest_to_the_mean_of_its_cluster():
    samples = torch.tensor(np.random.default_rng(1).normal(size=(300, 3)))
    for labels in k_means(samples, 8, repetitions=4, seed=2, iterations=1000):
        means = torch.stack([samples[labels == cluster].mean(0) for cluster in range(8)])
        assert torch.equal(torch.cdist(samples, means).argmin(1), labels)


def test_the_seed_decides():
    samples = torch.tensor(np.random.default_rng(1).normal(size=(100, 3)))
    first = k_means(samples, 5, 2, seed=1)
    assert torch.equal(first, k_means(samples, 5, 2, seed=1))
    assert not torch.equal(first, k_means(samples, 5, 2, seed=2))
