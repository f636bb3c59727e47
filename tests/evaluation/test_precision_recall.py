import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from mmjsd.errors import MmjsdError
from mmjsd.evaluation import f_beta_pair, precision_recall_distribution

Array = NDArray[np.float64]


def clusters_of(counts: list[int], seed: int) -> Array:
    """So many samples of each of as many far apart Gaussians, the same ones whatever the seed."""
    centres = np.random.default_rng(7).normal(size=(len(counts), 8)) * 1000
    rng = np.random.default_rng(seed)
    return np.concatenate([c + rng.normal(size=(n, 8)) for c, n in zip(centres, counts, strict=True)])


def curve_of(p: Array, q: Array) -> tuple[Array, Array]:
    """Sajjadi et al. 2018, Eq. 8 in plain loops: P of the real ones, Q of the generated."""
    precision, recall = [], []
    for angle in np.linspace(1e-10, math.pi / 2 - 1e-10, 1001):
        slope = math.tan(angle)
        precision.append(sum(min(slope * a, b) for a, b in zip(p, q, strict=True)))
        recall.append(sum(min(a, b / slope) for a, b in zip(p, q, strict=True)))
    return np.array(precision[::-1]), np.array(recall[::-1])


def curve_by_scikit_learn(real: Array, generated: Array, clusters: int, seed: int) -> tuple[Array, Array]:
    labels = KMeans(clusters, n_init=10, random_state=seed).fit(np.concatenate([real, generated])).labels_
    p, q = np.split(labels, [len(real)])
    return curve_of(
        *(np.bincount(part, minlength=clusters) / len(part) for part in (p, q)),
    )


def test_same_set_has_full_precision_and_recall():
    samples = np.random.default_rng(0).normal(size=(500, 6))
    precision, recall = precision_recall_distribution(samples, samples)
    assert precision.max() == pytest.approx(1, abs=1e-5)
    assert recall.max() == pytest.approx(1, abs=1e-5)
    assert f_beta_pair(precision, recall) == pytest.approx((1, 1), abs=1e-5)


def test_curve_runs_from_full_precision_to_full_recall():
    rng = np.random.default_rng(0)
    precision, recall = precision_recall_distribution(rng.normal(size=(400, 3)), rng.normal(0.5, 1, (400, 3)))
    assert precision.shape == recall.shape == (1001,)
    for values in (precision, recall):
        assert values.min() >= 0
        assert values.max() <= 1
    assert (np.diff(precision) <= 1e-12).all()
    assert (np.diff(recall) >= -1e-12).all()
    assert precision[0] > 0.99 > 1e-5 > recall[0]
    assert recall[-1] > 0.99 > 1e-5 > precision[-1]


@pytest.mark.parametrize(
    ("real", "generated", "best_precision", "best_recall", "f8", "f1_8"),
    [
        # F at slope 2 (or 1/2), where precision and recall are 1 and 1/2: 65 * 0.5 / (64 + 0.5) and the like
        ([60] * 10, [120] * 5 + [0] * 5, 1, 0.5, 32.5 / 64.5, 32.5 / 33),
        ([60] * 5 + [0] * 5, [30] * 10, 0.5, 1, 32.5 / 33, 32.5 / 64.5),
        ([60] * 5 + [0] * 5, [0] * 5 + [60] * 5, 0, 0, 0, 0),
        ([60] * 10, [30] * 10, 1, 1, 1, 1),
    ],
    ids=["dropped-classes", "noise-added", "disjoint", "same-distribution"],
)
def test_recall_falls_with_dropped_classes_precision_with_noise(
    real, generated, best_precision, best_recall, f8, f1_8
):
    sets = clusters_of(real, 1), clusters_of(generated, 2)
    precision, recall = precision_recall_distribution(*sets, clusters=10, repetitions=3)
    assert precision.max() == pytest.approx(best_precision, abs=1e-5)
    assert recall.max() == pytest.approx(best_recall, abs=1e-5)
    assert f_beta_pair(precision, recall) == pytest.approx((f8, f1_8), abs=1e-3)


def test_noise_far_from_everything_lowers_precision_only():
    real, like_real = clusters_of([100] * 5, 1), clusters_of([100] * 5, 2)
    noise = np.random.default_rng(3).normal(size=(500, 8)) * 3000 + 20_000
    precision, recall = precision_recall_distribution(real, np.concatenate([like_real, noise]))
    f8, f1_8 = f_beta_pair(precision, recall)
    assert precision.max() == pytest.approx(0.5, abs=0.01)
    assert recall.max() == pytest.approx(1, abs=1e-5)
    assert f1_8 < 0.52
    assert f8 > 0.97


def test_prd_agrees_with_scikit_learn_and_the_paper():
    """Far apart clusters: every good clustering finds the same, so the curves are equal."""
    rng = np.random.default_rng(4)
    real = clusters_of(list(rng.integers(5, 60, 7)), 1)
    generated = clusters_of(list(rng.integers(0, 60, 7)), 2)
    found = precision_recall_distribution(real, generated, clusters=7, repetitions=4)
    for values, expected in zip(found, curve_by_scikit_learn(real, generated, 7, 0), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_prd_agrees_with_scikit_learn_on_average_where_clusters_blur():
    rng = np.random.default_rng(5)
    real, generated = rng.normal(size=(600, 2)), rng.normal([1.0, 0], [1, 0.5], size=(600, 2))
    found = precision_recall_distribution(real, generated, repetitions=20)
    each = [curve_by_scikit_learn(real, generated, 20, seed) for seed in range(5)]
    for values, expected in zip(found, np.mean(each, axis=0), strict=True):
        assert np.abs(values - expected).max() < 0.02
    # and it is not the sets the other way round
    assert np.abs(found[0] - found[1][::-1]).max() > 0.05


def test_prd_follows_its_seed_only():
    rng = np.random.default_rng(6)
    real, generated = rng.normal(size=(200, 5)), rng.normal(0.3, 1, size=(200, 5))
    first = precision_recall_distribution(real, generated, repetitions=1, seed=1)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    np.testing.assert_array_equal(
        precision_recall_distribution(real, generated, repetitions=1, seed=1), first
    )
    torch.set_rng_state(state)
    other = precision_recall_distribution(real, generated, repetitions=1, seed=2)
    assert np.abs(other[0] - first[0]).max() > 1e-3


def test_identical_samples_are_no_obstacle():
    """More clusters than different samples, as with a model that generates one image only."""
    real = np.random.default_rng(0).normal(size=(30, 4))
    precision, recall = precision_recall_distribution(real, np.repeat(real[:1], 30, axis=0))
    assert precision.max() == pytest.approx(1, abs=1e-5)
    assert recall.max() < 0.3
    assert np.isfinite([precision, recall]).all()
    same = np.ones((25, 4))
    assert f_beta_pair(*precision_recall_distribution(same, same)) == pytest.approx((1, 1), abs=1e-5)


def test_refuses_fewer_samples_than_clusters():
    with pytest.raises(MmjsdError, match="19 samples cannot be put into 20 clusters"):
        precision_recall_distribution(np.zeros((30, 4)), np.zeros((19, 4)))
    precision_recall_distribution(np.zeros((30, 4)), np.zeros((20, 4)))


@pytest.mark.parametrize("beta", [8, 2])
def test_f_beta_by_hand(beta):
    precision, recall = np.array([0.9, 0.6, 0.0]), np.array([0.1, 0.5, 0.7])

    def f(b, p, r):
        return (1 + b * b) * p * r / (b * b * p + r)

    found = f_beta_pair(precision, recall, beta)
    assert found[0] == pytest.approx(max(f(beta, 0.9, 0.1), f(beta, 0.6, 0.5)))
    assert found[1] == pytest.approx(max(f(1 / beta, 0.9, 0.1), f(1 / beta, 0.6, 0.5)))


def test_f8_weighs_recall():
    recalls_all = f_beta_pair([0.2], [1.0])
    assert recalls_all == pytest.approx((65 * 0.2 / (64 * 0.2 + 1), (65 / 64) * 0.2 / (0.2 / 64 + 1)))
    assert recalls_all[0] > 0.9 > 0.3 > recalls_all[1]
    assert f_beta_pair([1.0], [0.2]) == pytest.approx(recalls_all[::-1])
    assert f_beta_pair([0.0, 0.0], [0.0, 0.0]) == (0, 0)
