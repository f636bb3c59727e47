import numpy as np
import torch

from mmjsd.data.batches import ResidentSplit
from mmjsd.evaluation import latents
from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.evaluation.likelihood import estimates
from mmjsd.subsets import subsets
from mmjsd.training.model_file import load_model

CPU = torch.device("cpu")


def test_posteriors_of_rows_are_those_of_the_samples(store, results):
    model, _ = load_model(results / "run")
    split = ResidentSplit(store.splits["test"], CPU)
    samples = torch.tensor([3, 40, 3])
    values = split.batch(samples).values
    posteriors = UnimodalPosteriors(model, split)
    for subset in subsets(tuple(model.modalities)):
        experts = model.encode({name: values[name] for name in subset}).shared
        torch.testing.assert_close(
            posteriors.posterior(subset, samples).mean,
            model.posterior(experts, subset).mean,
            atol=1e-5,
            rtol=1e-4,
        )


def test_of_gaps_what_is_there_is_found(store_with_gaps, results):
    model, _ = load_model(results / "run")
    test = UnimodalPosteriors(model, ResidentSplit(store_with_gaps.splits["test"], CPU))
    pairs = store_with_gaps.splits["test"].pairs
    samples = test.complete(("mnist", "svhn"))
    assert samples.tolist() == np.flatnonzero((pairs[:, :2] >= 0).all(1)).tolist()
    assert len(test) == len(pairs)


def test_what_networks_take_at_a_time_changes_nothing(store, results, monkeypatch):
    model, _ = load_model(results / "run")
    split, subset, samples = ResidentSplit(store.splits["test"], CPU), ("mnist", "text"), torch.arange(60)
    sizes, found = [], []
    for piece in (60, 7):
        monkeypatch.setattr(latents, "PIECE", piece)
        test = UnimodalPosteriors(model, split)
        torch.manual_seed(1)
        generated = list(conditional_samples(test, subset, samples)) + list(random_samples(model, 60))
        sizes.append([len(part["svhn"]) for part in generated])
        tensors = [torch.cat([part[name] for part in generated]) for name in model.modalities]
        tensors += [*test.shared["svhn"], *estimates(test, subset, samples, 3).values()]
        found.append(tensors)
    assert sizes == [[60, 60], [*[7] * 8, 4] * 2]
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
