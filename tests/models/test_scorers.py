import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_info

from mmjsd.models.scorers import AttributeScorer, ClassScorer, Score, scorer_of

DIGITS = ClassScorer([str(digit) for digit in range(10)])
FACES = AttributeScorer(["Bald", "Smiling", "Young"])


def one_hot(predicted: torch.Tensor) -> torch.Tensor:
    """Logits of classifiers that see these digits."""
    return torch.nn.functional.one_hot(predicted, 10).float()


def test_the_labels_choose():
    assert isinstance(scorer_of(torch.zeros(5, dtype=torch.int64), ["a"]), ClassScorer)
    assert isinstance(scorer_of(np.zeros((5, 3), np.uint8), ["a", "b", "c"]), AttributeScorer)


def test_random_coherence_needs_all_to_agree():
    """The reference counts three different answers as agreement."""
    predicted = torch.tensor([[1, 1, 2], [1, 2, 2], [1, 3, 1]])
    assert DIGITS.agreement(one_hot(predicted)) == Score(1 / 3)
    chance = DIGITS.agreement(one_hot(torch.randint(10, (3, 100_000))))
    assert chance.value == pytest.approx(0.01, abs=0.002)


def test_chance_is_what_the_best_constant_answer_scores():
    labels = torch.tensor([0, 1, 2, 2, 0, 2])
    constant = [DIGITS.score(one_hot(torch.full_like(labels, digit)), labels).value for digit in range(10)]
    assert DIGITS.chance(labels) == max(constant) == 0.5
    attributes = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.uint8)
    # nobody has the third, of which no average precision is defined
    assert FACES.chance(attributes) == FACES.score(torch.zeros(4, 3), attributes).value == 0.5


def test_attributes_of_one_modality_agree_with_nothing():
    """There is no other one that could show the same."""
    agreement = FACES.agreement(torch.randn(1, 30, 3))
    assert np.isnan(agreement.value)
    assert agreement.each == {}


def test_agreement_of_attributes_is_the_mean_of_both_directions():
    torch.manual_seed(0)
    logits = torch.randn(2, 200, 3) + torch.randn(200, 3)
    logits[:, :, 0] = 1.0  # all have it
    agreement = FACES.agreement(logits)
    value, each = agreement.value, agreement.each
    assert list(each) == ["Smiling", "Young"]
    for name, (first, second) in zip(each, logits[:, :, 1:].permute(2, 0, 1).numpy(), strict=True):
        both = average_precision_score(second > 0, first), average_precision_score(first > 0, second)
        assert each[name] == pytest.approx(np.mean(both))
    assert value == pytest.approx(np.mean(list(each.values())))


def test_scores():
    labels = torch.tensor([0, 1, 2, 3])
    assert DIGITS.score(one_hot(torch.tensor([0, 1, 2, 4])), labels) == Score(0.75)
    present = torch.tensor([[0, 1, 1], [0, 0, 1], [0, 1, 0]], dtype=torch.uint8)
    score = FACES.score(torch.tensor([[0.0, 3, 3], [0, 1, 1], [0, 2, 2]]), present)
    value, each = score.value, score.each
    assert each == {"Smiling": 1.0, "Young": pytest.approx(5 / 6)}  # nobody is bald
    assert value == pytest.approx(11 / 12)
    assert FACES.frequencies(present) == {
        "Bald": 0,
        "Smiling": pytest.approx(2 / 3),
        "Young": pytest.approx(2 / 3),
    }
    assert DIGITS.frequencies(labels) == {}


def test_losses():
    logits = torch.randn(6, 3)
    labels = torch.tensor([[0, 1, 1]] * 6, dtype=torch.uint8)
    chances = torch.sigmoid(logits)
    expected = -torch.where(labels.bool(), chances, 1 - chances).log().mean()
    torch.testing.assert_close(FACES.loss(logits, labels), expected)
    digits = ClassScorer(["0", "1", "2"]).loss(logits, torch.tensor([0, 1, 2, 2, 1, 0]))
    torch.testing.assert_close(digits, -logits.log_softmax(1)[range(6), [0, 1, 2, 2, 1, 0]].mean())


@pytest.mark.parametrize("occurring", [[0, 1, 2, 3, 9], [4, 7]], ids=["several", "two"])
def test_a_linear_classifier_says_what_scikit_learn_predicts(occurring):
    """Of classes that it was not fitted to, nothing."""
    rng = np.random.default_rng(0)
    labels = rng.choice(occurring, 200)
    x = rng.normal(size=(10, 4))[labels] + rng.normal(size=(200, 4))
    seen = rng.normal(size=(50, 4))
    logits = DIGITS.linear(x, labels, seen)
    assert logits.shape == (50, 10)
    expected = LogisticRegression(max_iter=2000).fit(x, labels).predict(seen)
    assert logits.argmax(1).tolist() == expected.tolist()
    assert set(np.flatnonzero(np.isfinite(logits.numpy()).all(0))) == set(occurring)


def test_a_linear_classifier_of_attributes_has_one_for_each():
    rng = np.random.default_rng(0)
    x, seen = rng.normal(size=(200, 4)), rng.normal(size=(50, 4))
    labels = np.stack([np.zeros(200), x[:, 0] > 0, x[:, 1] > 1], 1).astype(np.uint8)
    logits = FACES.linear(x, labels, seen).numpy()
    assert (logits[:, 0] == 0).all()  # nobody was bald
    for attribute, column in ((1, seen[:, 0]), (2, seen[:, 1])):
        assert np.corrcoef(logits[:, attribute], column)[0, 1] > 0.9


@pytest.mark.parametrize("threads", [1, 2])
def test_a_linear_classifier_is_fitted_by_as_many_threads_as_there_are_to_be(threads, monkeypatch):
    """Its last bits depend on them, and more than there are processors are slow."""
    found = []
    fit = LogisticRegression.fit

    def watched(self, x, labels):
        found.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fit(self, x, labels)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    DIGITS.linear(np.eye(4), np.array([0, 1, 0, 1]), np.eye(4))
    assert set(found) == {threads}


def test_one_class_alone_cannot_be_learnt():
    assert not DIGITS.can_learn(np.array([3, 3, 3]))
    assert not DIGITS.can_learn(np.array([], np.int64))
    assert DIGITS.can_learn(np.array([3, 4]))
    assert FACES.can_learn(np.zeros((5, 3), np.uint8))
