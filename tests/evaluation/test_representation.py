import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split, Table, modalities_of
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.representation import linear_score, standardised
from mmjsd.models.scorers import ClassScorer
from mmjsd.models.vae import MultimodalVAE
from mmjsd.training.model_file import load_model

CPU = torch.device("cpu")


def test_training_samples_of_one_class_are_told(store, results):
    model, _ = load_model(results / "run")
    split = store.splits["train"]
    few = UnimodalPosteriors(model, ResidentSplit(split.sample(np.flatnonzero(split.labels == 3)), CPU))
    with pytest.raises(
        MmjsdError, match=r"^evaluation\.train_samples: the 12 of 12 that have mnist-text are not"
    ):
        linear_score(ClassScorer(store.classes), few, few, ("mnist", "text"))


def test_of_gaps_what_is_there_is_read(store_with_gaps, results):
    model, _ = load_model(results / "run")
    test = UnimodalPosteriors(model, ResidentSplit(store_with_gaps.splits["test"], CPU))
    assert 0 <= linear_score(ClassScorer(store_with_gaps.classes), test, test, ("mnist", "svhn")).value <= 1


def test_vectors_are_read_as_they_are_but_for_their_units() -> None:
    """As scikit-learn's own pipeline reads them, of the samples that have them."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = rng.integers(0, 3, count)
        a = rng.normal(labels[:, None], 1.0, (count, 4)) * [1, 100, 0.01, 0] + 7
        values = {"a": a, "b": rng.normal(labels[:, None], 1.5, (count, 2))}
        pairs = np.stack([np.arange(count, dtype=np.int32)] * 2, 1)
        pairs[::5, 0] = -1
        tables = {name: Table("vector", x.astype(np.float32), labels) for name, x in values.items()}
        return Split(tables, pairs, labels)

    splits = [split(150), split(80)]
    model = MultimodalVAE(modalities_of(splits[0]), shared_latent=2, private_latent=0, likelihood_scale=1.0)
    train, test = (UnimodalPosteriors(model.eval(), ResidentSplit(one, CPU)) for one in splits)
    score = linear_score(ClassScorer(list("abc")), train, test, ("a", "b"), standardised)

    complete = [np.flatnonzero(one.pairs[:, 0] >= 0) for one in splits]
    (x, y), (seen, truth) = (
        (np.concatenate([table.data[rows] for table in one.modalities.values()], 1), one.labels[rows])
        for one, rows in zip(splits, complete, strict=True)
    )
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x, y).score(seen, truth)
    assert score.value == pytest.approx(expected, abs=1.5 / len(seen))
    assert score.value > 0.5
