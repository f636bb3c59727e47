import numpy as np
import pytest
import torch

from mmjsd.errors import MmjsdError
from mmjsd.evaluation import frechet_distance, precision_recall_distribution


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
