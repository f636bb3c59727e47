import shutil

import numpy as np
import pytest
import torch

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Table, modalities_of
from mmjsd.distributions import Gaussian
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.embeddings import classifier_embedding
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.quality import qualities
from mmjsd.evaluation.samplers import mixture_sampler
from mmjsd.evaluation.trained import load_trained
from mmjsd.reporting.generate import generate_picture
from mmjsd.training.model_file import build
from support.samples import make_run


class Apart:
    """Posteriors of 400 samples around two points."""

    def __init__(self, model) -> None:
        self.model = model

    def complete(self, subset):
        assert subset == tuple(self.model.modalities)
        return torch.arange(400)

    def posterior(self, subset, samples):
        centres = torch.where(samples[:, None] % 4 == 0, 5.0, -5.0).expand(-1, self.model.shared_latent)
        return Gaussian(centres, torch.full_like(centres, -4.0))


def test_samples_lie_where_the_posteriors_of_training_samples_do(store, results):
    model = load_trained(results / "run", store).model
    drawn = mixture_sampler(Apart(model), 2, seed=1)(4000)
    assert drawn.shape == (4000, model.shared_latent)
    assert drawn.dtype == torch.float32
    above = drawn[:, 0] > 0
    assert above.float().mean() == pytest.approx(0.25, abs=0.03)
    assert drawn[above].mean(0) == pytest.approx(5 * np.ones(model.shared_latent), abs=0.05)
    assert drawn[~above].std(0) == pytest.approx(np.exp(-2) * np.ones(model.shared_latent), abs=0.03)
    again = mixture_sampler(Apart(model), 2, seed=1)(4000)
    assert torch.equal(drawn, again)


def test_of_vectors_and_learnt_weights_it_can_be_fitted_and_judged():
    """A model of parameters alone has no gradient there, and without images there is no quality."""
    rng = np.random.default_rng(0)
    tables = {name: Table("vector", rng.standard_normal((20, 3), np.float32)) for name in ("a", "b")}
    split = Split(tables, np.repeat(np.arange(20, dtype=np.int32)[:, None], 2, axis=1))
    model = build(modalities_of(split), make_run(learn_weights=True)).model
    test = UnimodalPosteriors(model, ResidentSplit(split, model.device))
    sampler = mixture_sampler(test, 2, seed=1)
    assert sampler(5).shape == (5, model.shared_latent)
    assert qualities(classifier_embedding({}), test, {"random": None, "random_mixture": sampler}, 10) == {}


def test_refuses_more_components_than_samples(store, results):
    with pytest.raises(MmjsdError, match=r"sampler_components: 121 components .*, and there are 120"):
        load_trained(results / "run", store, mixture_components=121)


def test_a_picture_of_samples_from_the_mixture(store, results, tmp_path):
    """The data are those in the project that the run is of."""
    (tmp_path / "data").mkdir()
    shutil.copy(store.path, tmp_path / "data/tiny.h5")
    run = shutil.copytree(results / "run", tmp_path / "results/tiny/js/seed-1")
    pictures = {}
    for sampler in ("prior", "mixture", "mixture"):
        generate_picture(run, {}, 4, tmp_path / "a.png", seed=3, sampler=sampler)
        pictures.setdefault(sampler, set()).add((tmp_path / "a.png").read_bytes())
    assert [len(of_sampler) for of_sampler in pictures.values()] == [1, 1]
    assert pictures["prior"] != pictures["mixture"]


def test_no_mixture_given_something(tmp_path):
    with pytest.raises(MmjsdError, match="--sampler mixture: is of samples that are given nothing"):
        generate_picture(tmp_path, {"text": "one"}, 4, tmp_path / "a.png", sampler="mixture")
