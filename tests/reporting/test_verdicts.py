import math

import numpy as np
import pytest
from scipy import stats

from mmjsd.reporting.verdicts import Measured, best, difference, holm, over_seeds

FIRST, SECOND = [0.93, 0.91, 0.95], [0.88, 0.915, 0.86, 0.9]


def test_several_seeds_are_compared_by_welch():
    found = difference(Measured(FIRST), Measured(SECOND, 0.01))
    expected = stats.ttest_ind(FIRST, SECOND, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(expected.df)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_a_single_seed_is_taken_to_vary_as_the_others():
    found = difference(Measured([0.7], 0.01), Measured(SECOND, 0.01))
    expected = stats.ttest_ind([0.7], SECOND)
    assert (found.p, found.freedom) == (pytest.approx(expected.pvalue), 3)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_each_is_compared_by_the_standard_errors():
    found = difference(Measured([0.932], 0.006), Measured([0.913], 0.008))
    assert found.p == pytest.approx(0.0574, abs=1e-4)  # 1.9 standard errors
    assert found.interval == pytest.approx((0.019 - 1.95996 * 0.01, 0.019 + 1.95996 * 0.01), abs=1e-6)


def test_seeds_without_any_variation_leave_the_standard_errors():
    assert difference(Measured([0.5, 0.5], 0.03), Measured([0.6, 0.6], 0.04)).error == pytest.approx(0.05)
    assert math.isnan(difference(Measured([3.0, 3.0]), Measured([4.0, 4.0])).p)
    one = difference(Measured([0.5, 0.5], 0.01), Measured([0.6, 0.7], 0.01))
    assert one.freedom == 1  # that of the other run


@pytest.mark.parametrize("errors", [(None, 0.01), (None, None), (0.0, 0.0)])
def test_without_standard_errors_nothing_is_known(errors):
    found = difference(*(Measured([value], error) for value, error in zip((1.0, 2.0), errors, strict=True)))
    assert found.value == -1.0
    assert all(map(math.isnan, (found.p, *found.interval)))


A, B, C = Measured([0.9], 0.01), Measured([0.89], 0.01), Measured([0.5], 0.01)
NOT_KNOWN, NONE = Measured([0.8]), Measured([])


@pytest.mark.parametrize(
    ("runs", "less", "bold"),
    [
        ([A, B, C], False, [True, True, False]),
        ([A, B, C], True, [False, False, True]),
        ([A, A, C], False, [True, True, False]),  # a tie
        ([A, A], False, [False, False]),  # of which nothing is settled
        ([A, B], False, [False, False]),
        ([Measured([0.0], 0.01)] * 2, False, [False, False]),
        ([Measured([0.5, 0.7]), Measured([0.6, 0.8]), Measured([0.1, 0.9])], False, [False] * 3),
        ([A, NONE, C], False, [True, False, False]),
        ([A, NOT_KNOWN, C], False, [True, True, False]),  # which may be as good
        ([A, NOT_KNOWN], False, [False, False]),
        ([NOT_KNOWN, NOT_KNOWN], False, [False, False]),
        ([A, NONE], False, [False, False]),
        ([NONE], False, [False]),
        ([Measured([0.9, 0.91]), Measured([0.2, 0.21]), C], False, [True, False, False]),
    ],
)
def test_the_best_and_what_cannot_be_told_from_it(runs, less, bold):
    assert best(runs, less=less) == bold


def test_the_number_of_runs_is_accounted_for():
    """What is 2.1 standard errors apart is told from another run, and not from the best of six."""
    apart = Measured([0.9 - 2.1 * 0.01 * 2**0.5], 0.01)
    assert best([A, apart]) == [True, False]
    assert best([A, apart, B, B, B, B]) == [False] * 6


def test_all_right_does_not_settle_a_difference_of_two_samples():
    """Of 1,500 right answers and 1,498: the share of all has an error, too."""

    def of(number):
        share = (number + 1) / 1502
        return Measured([number / 1500], math.sqrt(share * (1 - share) / 1502))

    assert best([of(1500), of(1498)]) == [False, False]
    assert best([of(1500), of(1490)]) == [True, False]


def test_holm():
    """By hand: 4 x 0.01, 3 x 0.02 and 3 x 0.02 again, 0.5 x 1."""
    assert holm([0.02, 0.5, 0.01, math.nan, 0.0201]) == [
        0.06,
        0.5,
        0.04,
        pytest.approx(math.nan, nan_ok=True),
        0.06,
    ]
    assert holm([0.4, 0.9]) == [0.8, 0.9]
    assert holm([]) == []


def test_values_that_are_not_finite_do_not_count():
    seeds = [{"a/b": 1.0, "a_error/b": 0.5}, {"a/b": math.nan}, {"a/b": 3.0, "a_error/b": 0.7}]
    assert over_seeds(seeds, "a/b") == ([1.0, 3.0], 0.6)
    assert over_seeds(seeds[:2], "a/c") == ([], None)
    assert over_seeds([{"a/b": 1.0}, {"a/b": 1.0, "a_error/b": 0.5}], "a/b") == ([1.0, 1.0], None)


@pytest.mark.parametrize(("seeds", "runs", "most"), [(1, 2, 0.05), (2, 2, 0.05), (3, 2, 0.05), (3, 5, 0.08)])
def test_how_often_one_of_equally_good_runs_is_told_from_the_best(seeds, runs, most):
    """In how many columns: at most 5 % of two runs, and little more of five, of which the best is chosen."""
    rng, tables, right = np.random.default_rng(1), 1000, 300
    told = 0
    for _ in range(tables):
        values = rng.binomial(right, 0.9, (runs, seeds)) / right
        shares = (values.mean(1) * right + 1) / (right + 2)
        errors = np.sqrt(shares * (1 - shares) / (right + 2))
        told += any(best([Measured(v.tolist(), e) for v, e in zip(values, errors, strict=True)]))
    print(f"{runs} equal runs, {seeds} seeds: {told / tables:.3f}")
    assert 0 < told / tables < most
