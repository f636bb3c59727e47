import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.cluster import KMeans
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

import mmjsd.evaluation.quality
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import subsets
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.quality import (
    f_beta_pair,
    frechet_distance,
    precision_recall_distribution,
    qualities,
)
from mmjsd.training.model_file import build_model
from support.samples import make_run

Array = NDArray[np.float64]


# --- precision/recall distributions -----------------------------------------------------------------------


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


@pytest.mark.parametrize("kind", [np.float32, torch.float32, torch.float64])
def test_takes_arrays_and_tensors(kind):
    rng = np.random.default_rng(8)
    sets = [rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(60, 3)).astype(np.float32)]
    converted = [s if kind is np.float32 else torch.tensor(s, dtype=kind) for s in sets]
    as_double = [s.astype(np.float64) for s in sets]
    for values, expected in zip(
        precision_recall_distribution(*converted), precision_recall_distribution(*as_double), strict=True
    ):
        assert isinstance(values, np.ndarray)
        np.testing.assert_array_equal(values, expected)
    assert frechet_distance(*converted) == frechet_distance(*as_double)


def test_identical_samples_are_no_obstacle():
    """More clusters than different samples, as with a model that generates one image only."""
    real = np.random.default_rng(0).normal(size=(30, 4))
    precision, recall = precision_recall_distribution(real, np.repeat(real[:1], 30, axis=0))
    assert precision.max() == pytest.approx(1, abs=1e-5)
    assert recall.max() < 0.3
    assert np.isfinite([precision, recall]).all()
    same = np.ones((25, 4))
    assert f_beta_pair(*precision_recall_distribution(same, same)) == pytest.approx((1, 1), abs=1e-5)


GOOD = np.zeros((30, 4))


@pytest.mark.parametrize("measure", [precision_recall_distribution, frechet_distance])
@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (GOOD, np.zeros((30, 3)), r"got \(30, 4\) and \(30, 3\)"),
        (GOOD, np.zeros(30), r"got \(30, 4\) and \(30,\)"),
        (GOOD, np.where(np.eye(30, 4), np.nan, 0), "not finite"),
        (np.where(np.eye(30, 4), np.inf, 0), GOOD, "not finite"),
        (GOOD, GOOD[:1], "1 samples? "),
        (GOOD[:0], GOOD, "0 samples? "),
    ],
)
def test_refuses_what_cannot_be_compared(measure, real, generated, message):
    with pytest.raises(MmjsdError, match=message) as error:
        measure(real, generated)
    assert "\n" not in str(error.value)


def test_refuses_fewer_samples_than_clusters():
    with pytest.raises(MmjsdError, match="19 samples cannot be put into 20 clusters"):
        precision_recall_distribution(GOOD, GOOD[:19])
    precision_recall_distribution(GOOD, GOOD[:20])


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


# --- Fréchet distance -------------------------------------------------------------------------------------


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


# --- all of it, of a model --------------------------------------------------------------------------------


def posteriors(store, **options) -> UnimodalPosteriors:
    torch.manual_seed(0)
    model = build_model(modalities_of(store.splits["train"]), make_run(**options)).eval()
    split = store.splits["test"]
    shuffled = split.sample(torch.randperm(len(split.pairs)).numpy())
    return UnimodalPosteriors(model, ResidentSplit(shuffled, torch.device("cpu")))


class Recorder:
    """Embeds by a few pixel averages; remembers which sets it was shown."""

    def __init__(self) -> None:
        self.seen: dict[str, list[torch.Tensor]] = {"mnist": [], "svhn": []}

    def __call__(self, name: str, images: torch.Tensor) -> torch.Tensor:
        self.seen[name].append(images)
        return torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)


def test_qualities_of_every_condition_and_image(store):
    test = posteriors(store)
    conditions = [(), *subsets(("mnist", "svhn", "text"))]
    found = qualities(Recorder(), test, conditions, 40)
    assert list(found) == [("-".join(s) or "random", m) for s in conditions for m in ("mnist", "svhn")]
    for quality in found.values():
        assert quality.precision.shape == quality.recall.shape == (1001,)
        assert (quality.f8, quality.f1_8) == f_beta_pair(quality.precision, quality.recall)
        assert quality.mean == pytest.approx((quality.precision.mean() + quality.recall.mean()) / 2)
        assert quality.fid > 0
        assert 0 <= quality.mean <= 1


@pytest.mark.parametrize("count", [25, 1000])
def test_qualities_compare_as_many_distinct_images(store, count, monkeypatch):
    test = posteriors(store)
    embed = Recorder()
    sizes = []

    def judged(real, generated):
        sizes.append((len(real), len(generated)))
        return 0.0

    monkeypatch.setattr(mmjsd.evaluation.quality, "frechet_distance", judged)
    qualities(embed, test, [(), ("text",)], count)
    pairs = store.splits["test"].pairs
    for column, (name, (real, *_)) in enumerate(embed.seen.items()):
        distinct = min(count, len(np.unique(pairs[:, column])))
        assert len(real) == distinct == len(torch.unique(real, dim=0))
        table = torch.tensor(store.splits["test"].modalities[name].data) / 255
        used = table[np.unique(pairs[:, column])]
        assert all((used == image).flatten(1).all(1).any() for image in real)
        assert sizes[column::2] == [(distinct, distinct)] * 2


def test_images_as_good_as_real_ones(store, monkeypatch):
    """A model that gives the real images back is perfect; one that gives noise is not."""
    test = posteriors(store)

    def real(c, targets=None, generator=None):
        return {name: test.inputs(name, torch.arange(len(c))) for name in targets or test.model.modalities}

    monkeypatch.setattr(test.model, "generate_from", real)
    conditions = [(), ("text",), ("mnist", "svhn", "text")]
    for (_, name), quality in qualities(Recorder(), test, conditions, 1000).items():
        if name == "mnist":  # each image is in one pair, so these are the same sets
            assert (quality.f8, quality.f1_8) == pytest.approx((1, 1), abs=1e-5)
            assert quality.fid == pytest.approx(0, abs=1e-9)
        else:
            assert quality.f8 > 0.9

    def noise(c, targets=None, generator=None):
        return {name: 5 + torch.rand_like(x) for name, x in real(c, targets).items()}

    monkeypatch.setattr(test.model, "generate_from", noise)
    for quality in qualities(Recorder(), test, conditions, 1000).values():
        assert (quality.f8, quality.f1_8) == pytest.approx((0, 0), abs=1e-5)
        assert quality.fid > 4 * 25 * 0.5


def test_embedding_that_sees_no_difference(store):
    found = qualities(lambda _, x: torch.ones(len(x), 3), posteriors(store), [(), ("svhn",)], 30)
    for quality in found.values():
        assert (quality.f8, quality.f1_8, quality.fid) == pytest.approx((1, 1, 0), abs=1e-5)


def test_qualities_can_be_repeated(store):
    test = posteriors(store)
    repeated = []
    for _ in range(2):
        torch.manual_seed(5)
        repeated.append(qualities(Recorder(), test, [(), ("mnist", "text")], 30, seed=3))
    for first, second in zip(*(r.values() for r in repeated), strict=True):
        np.testing.assert_array_equal(first.precision, second.precision)
        assert first.fid == second.fid


def test_qualities_with_gaps_compare_images_that_are_there(store_with_gaps):
    test = posteriors(store_with_gaps)
    embed = Recorder()
    qualities(embed, test, [()], 1000)
    for column, (real, *_) in enumerate(embed.seen.values()):
        used = store_with_gaps.splits["test"].pairs[:, column]
        assert len(real) == len(np.unique(used[used >= 0]))


def test_refuses_fewer_images_than_clusters(store):
    with pytest.raises(MmjsdError, match="19 samples cannot be put into 20 clusters"):
        qualities(Recorder(), posteriors(store), [()], 19)
