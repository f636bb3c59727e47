import math

import numpy as np
import pytest
import torch

from mmjsd.evaluation.averages import Average, deviations
from mmjsd.evaluation.keys import named
from mmjsd.models.scorers import ClassScorer, Score

PAIR = ClassScorer(["no", "yes"])


def score(right: torch.Tensor) -> Score:
    """Of a classifier that says yes where it is right, and it always is yes."""
    return PAIR.score(torch.nn.functional.one_hot(right.long(), 2).float(), torch.ones(len(right)))


@pytest.mark.parametrize("number", [0, 7, 1499, 1500])
def test_the_error_of_a_share_is_that_of_one_more_right_and_one_more_wrong(number):
    found = score(torch.arange(1500) < number)
    share = (number + 1) / 1502
    assert found.error == pytest.approx(math.sqrt(share * (1 - share) / 1502))
    assert deviations(found, torch.arange(1500), 1500).norm() == pytest.approx(found.error)
    assert named(found, "coherence/random", "x") == {
        "coherence/random": number / 1500,
        "coherence_error/random": found.error,
    }


def test_the_error_of_an_average_is_that_over_the_samples():
    """Of scores of the same samples, that go together, of some against each other, and of parts of them."""
    rng = np.random.default_rng(0)
    parts = [np.arange(2000), np.arange(2000), np.arange(500, 2000)]
    draws = []
    for _ in range(400):
        easy = rng.random(2000)
        average = Average()
        for samples, hard in zip(parts, (0.3, 0.5, 0.9), strict=True):
            found = score(torch.from_numpy(easy[samples] + 0.2 * rng.random(len(samples)) > hard))
            average.add(found.value, deviations(found, torch.from_numpy(samples), 2000))
        draws.append(average.named("coherence/cross/mean"))
    values = [draw["coherence/cross/mean"] for draw in draws]
    errors = [draw["coherence_error/cross/mean"] for draw in draws]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)


def test_without_shares_there_is_no_error():
    average = Average()
    for value in (0.25, 0.5):
        average.add(value, deviations(Score(value), torch.arange(3), 3))
    assert average.named("coherence/cross/1") == {"coherence/cross/1": 0.375}
    average.add(math.nan, None)
    assert math.isnan(average.value)
