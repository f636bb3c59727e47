import inspect

import numpy as np
import pytest
import torch

import mmjsd.evaluation.quality
from mmjsd import params
from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import modalities_of
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import f_beta_pair, precision_recall_distribution
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.quality import qualities
from mmjsd.subsets import subsets
from mmjsd.training.model_file import build
from support.samples import make_run


def posteriors(store, **options) -> UnimodalPosteriors:
    torch.manual_seed(0)
    model = build(modalities_of(store.splits["train"]), make_run(**options)).model.eval()
    split = store.splits["test"]
    shuffled = split.sample(torch.randperm(len(split.pairs)).numpy())
    return UnimodalPosteriors(model, ResidentSplit(shuffled, torch.device("cpu")))


def named(*subsets: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {"-".join(subset): subset for subset in subsets}


class Recorder:
    """Embeds by a few pixel averages; remembers which sets it was shown."""

    def __init__(self) -> None:
        self.seen: dict[str, list[torch.Tensor]] = {"mnist": [], "svhn": []}

    def __call__(self, name: str, images: torch.Tensor) -> torch.Tensor:
        self.seen[name].append(images)
        return torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)


def test_qualities_of_every_condition_and_image(store):
    test = posteriors(store)
    conditions = {"random": None, **named(*subsets(("mnist", "svhn", "text")))}
    found = qualities(Recorder(), test, conditions, 40)
    assert list(found) == [(given, m) for given in conditions for m in ("mnist", "svhn")]
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
    qualities(embed, test, {"random": None, **named(("text",))}, count)
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

    def real(name, private, shared):
        return test.inputs(name, torch.arange(len(shared)))

    monkeypatch.setattr(test.model, "decode_mean", real)
    conditions = {"random": None, **named(("text",), ("mnist", "svhn", "text"))}
    for (_, name), quality in qualities(Recorder(), test, conditions, 1000).items():
        if name == "mnist":  # each image is in one pair, so these are the same sets
            assert (quality.f8, quality.f1_8) == pytest.approx((1, 1), abs=1e-5)
            assert quality.fid == pytest.approx(0, abs=1e-9)
        else:
            assert quality.f8 > 0.9

    def noise(name, private, shared):
        return 5 + torch.rand_like(real(name, private, shared))

    monkeypatch.setattr(test.model, "decode_mean", noise)
    for quality in qualities(Recorder(), test, conditions, 1000).values():
        assert (quality.f8, quality.f1_8) == pytest.approx((0, 0), abs=1e-5)
        assert quality.fid > 4 * 25 * 0.5


def test_embedding_that_sees_no_difference(store):
    found = qualities(
        lambda _, x: torch.ones(len(x), 3), posteriors(store), {"random": None, **named(("svhn",))}, 30
    )
    for quality in found.values():
        assert (quality.f8, quality.f1_8, quality.fid) == pytest.approx((1, 1, 0), abs=1e-5)


def test_qualities_can_be_repeated(store):
    test = posteriors(store)
    repeated = []
    for _ in range(2):
        torch.manual_seed(5)
        repeated.append(qualities(Recorder(), test, {"random": None, **named(("mnist", "text"))}, 30, seed=3))
    for first, second in zip(*(r.values() for r in repeated), strict=True):
        np.testing.assert_array_equal(first.precision, second.precision)
        assert first.fid == second.fid


def test_qualities_with_gaps_compare_images_that_are_there(store_with_gaps):
    test = posteriors(store_with_gaps)
    embed = Recorder()
    qualities(embed, test, {"random": None}, 1000)
    for column, (real, *_) in enumerate(embed.seen.values()):
        used = store_with_gaps.splits["test"].pairs[:, column]
        assert len(real) == len(np.unique(used[used >= 0]))


def test_refuses_fewer_images_than_clusters(store):
    with pytest.raises(MmjsdError, match="19 samples cannot be put into 20 clusters"):
        qualities(Recorder(), posteriors(store), {"random": None}, 19)


def test_the_clusters_of_the_quality_are_those_that_parameters_are_checked_for():
    default = inspect.signature(precision_recall_distribution).parameters["clusters"].default
    assert default == params.CLUSTERS
