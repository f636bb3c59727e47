from collections import Counter

import pytest

from mmjsd.subsets import subsets, targets


def test_subsets():
    assert ["-".join(s) for s in subsets("abc")] == ["a", "b", "c", "a-b", "a-c", "b-c", "a-b-c"]


@pytest.mark.parametrize(("count", "number"), [(1, 1), (3, 7), (5, 31), (6, 28), (20, 126)])
def test_their_number_does_not_explode(count, number):
    names = [f"m{index:02}" for index in range(count)]
    found = list(subsets(names))
    assert len(found) == len(set(found)) == number
    assert [len(subset) for subset in found] == sorted(len(subset) for subset in found)
    assert all(list(subset) == sorted(subset) for subset in found)
    assert found[:count] == [(name,) for name in names]
    assert found[-1] == tuple(names)
    assert found == list(subsets(names))
    if count <= 10:
        every = list(subsets(names, all_subsets=True))
        assert len(set(every)) == len(every) == 2**count - 1
        assert set(found) <= set(every)
    if count > 5:
        sizes = Counter(map(len, found))
        assert sizes == {1: count, count - 1: count, count: 1} | dict.fromkeys(range(2, count - 1), 5)


@pytest.mark.parametrize(("count", "number"), [(1, 1), (3, 7 * 3), (5, 31 * 5), (6, 28 * 6), (20, 1050)])
def test_what_is_generated_given_them_does_not_explode(count, number):
    names = [f"m{index:02}" for index in range(count)]
    found = {subset: targets(subset, names) for subset in subsets(names)}
    assert sum(map(len, found.values())) == number
    for subset, of_it in found.items():
        assert list(of_it) == sorted(set(of_it))
        assert set(of_it) <= set(names)
        assert len(set(of_it) & set(subset)) == (min(len(subset), 5) if len(subset) < count else count)
        assert len(set(of_it) - set(subset)) == min(count - len(subset), 5)
        assert targets(subset, names, all_subsets=True) == tuple(names)
        renamed = [f"other {name}" for name in names]
        again = targets(tuple(f"other {name}" for name in subset), renamed)
        assert again == tuple(f"other {name}" for name in of_it)
