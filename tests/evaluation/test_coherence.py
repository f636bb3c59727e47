import torch

from mmjsd.data.batches import ResidentSplit
from mmjsd.evaluation import coherence
from mmjsd.evaluation.latents import UnimodalPosteriors
from mmjsd.models.scorers import ClassScorer
from mmjsd.training.model_file import load_model

CPU = torch.device("cpu")


class Oracle(torch.nn.Module):
    """Says the class it finds at a given place of the generated sample."""

    def forward(self, x):
        return torch.nn.functional.one_hot(x.flatten(1)[:, 0].long(), 10).float()


def test_conditional_coherence_is_the_share_of_right_classes(store, results, monkeypatch):
    model, _ = load_model(results / "run")
    test = UnimodalPosteriors(model, ResidentSplit(store.splits["test"], CPU))
    labels = test.labels
    wrong = labels.clone()
    wrong[:15] = (wrong[:15] + 1) % 10
    generated = {"mnist": labels[:, None], "svhn": wrong[:, None], "text": labels[:, None]}
    monkeypatch.setattr(model, "decode_mean", lambda name, *_: generated[name])
    oracles = {name: Oracle() for name in generated}
    scorer = ClassScorer([str(digit) for digit in range(10)])
    logits = coherence.conditional_logits(oracles, test, ("text",), test.complete(("text",)))
    found = {name: scorer.score(seen, labels).value for name, seen in logits.items()}
    assert found == {"mnist": 1.0, "svhn": 0.75, "text": 1.0}
    assert scorer.agreement(coherence.random_logits(model, oracles, 60)).value == 0.75
