import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mmjsd.models.average_precision import average_precisions


@pytest.mark.parametrize("decimals", [1, 8], ids=["with ties", "without ties"])
def test_agrees_with_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    present = rng.random((200, 7)) < np.linspace(0.05, 0.9, 7)
    scores = (rng.normal(size=(200, 7)) + present).round(decimals)
    found = average_precisions(torch.from_numpy(scores), torch.from_numpy(present))
    expected = [average_precision_score(present[:, a], scores[:, a]) for a in range(7)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_perfect_useless_and_absent():
    present = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
    scores = torch.tensor([[4.0, 0.0, 1.0], [3.0, 0.0, 2.0], [2.0, 0.0, 3.0], [1.0, 0.0, 4.0]])
    found = average_precisions(scores, present)
    assert found[:2].tolist() == [1.0, 0.25]  # what guessing reaches is the frequency
    assert math.isnan(found[2])
