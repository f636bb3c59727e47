import numpy as np
import pytest
import torch

from mmjsd.data.batches import ResidentSplit
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.evaluation.representation import linear_score
from mmjsd.models.scorers import ClassScorer
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
