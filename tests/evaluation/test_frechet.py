import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

from mmjsd.evaluation import frechet_distance

Array = NDArray[np.float64]


def random_features(count: int, width: int, seed: int) -> Array:
    """Correlated, with a mean and covariance that differ from seed to seed."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) / math.sqrt(width)
    return rng.normal(size=(count, width)) @ mixing + rng.normal(size=width)


def distance_by_square_root(real: Array, generated: Array) -> float:
    """As published, with scipy's matrix square root of the product of the covariances."""
    covariances = [np.cov(s, rowvar=False) for s in (real, generated)]
    root = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    difference = real.mean(0) - generated.mean(0)
    return float(difference @ difference + sum(map(np.trace, covariances)) - 2 * root)


@pytest.mark.parametrize(("count", "width"), [(500, 16), (10, 40)])
def test_frechet_distance_of_a_set_to_itself_is_zero(count, width):
    samples = random_features(count, width, 1)
    assert 0 <= frechet_distance(samples, samples) < 1e-6
    assert 0 <= frechet_distance(samples, samples[::-1].copy()) < 1e-6


@pytest.mark.parametrize("size", [0.1, 100])
def test_frechet_distance_of_a_shift_is_its_square(size):
    samples = random_features(300, 12, 2)
    shift = np.random.default_rng(3).normal(size=12) * size
    assert frechet_distance(samples, samples + shift) == pytest.approx(shift @ shift, rel=1e-6, abs=1e-8)


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(4)
    means = rng.normal(size=(2, 3))
    roots = rng.normal(size=(2, 3, 3))
    covariances = [r.T @ r for r in roots]
    sets = [m + rng.normal(size=(300_000, 3)) @ r for m, r in zip(means, roots, strict=True)]
    first = sqrtm(covariances[0])
    overlap = np.trace(sqrtm(first @ covariances[1] @ first)).real
    expected = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * overlap
    assert expected > 1
    assert frechet_distance(*sets) == pytest.approx(expected, rel=0.01)


def test_frechet_distance_of_scaled_set():
    """C_2 = 9 C_1 about the same mean: the distance is (3 - 1)^2 tr C_1."""
    samples = random_features(400, 5, 5)
    samples -= samples.mean(0)
    expected = 4 * np.trace(np.cov(samples, rowvar=False))
    assert frechet_distance(samples, 3 * samples) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("counts", "width"), [((400, 300), 8), ((700, 900), 64)])
def test_frechet_distance_is_that_of_torch_fidelity(counts, width):
    sets = [random_features(n, width, seed) for seed, n in enumerate(counts)]
    statistics = [fid_features_to_statistics(torch.tensor(s)) for s in sets]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("counts", [(20, 30), (30, 200), (5, 8)])
def test_frechet_distance_with_fewer_samples_than_dimensions(counts):
    """Covariances without full rank: the published formula takes the root of a singular matrix."""
    sets = [random_features(n, 48, seed) for seed, n in enumerate(counts)]
    found = frechet_distance(*sets)
    assert math.isfinite(found)
    assert found == pytest.approx(distance_by_square_root(*sets), rel=1e-4)


def test_frechet_distance_does_not_see_empty_dimensions():
    sets = [random_features(100, 4, seed) for seed in (1, 2)]
    into, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(20, 4)))
    assert frechet_distance(*(s @ into.T for s in sets)) == pytest.approx(frechet_distance(*sets), rel=1e-5)


def test_frechet_distance_is_symmetric_and_blind_to_order():
    first, second = random_features(200, 10, 1), random_features(150, 10, 2)
    expected = frechet_distance(first, second)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(first[::-1].copy(), second) == pytest.approx(expected, rel=1e-9)
