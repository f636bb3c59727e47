from mmjsd.subsets import subsets


def test_subsets():
    assert ["-".join(s) for s in subsets("abc")] == ["a", "b", "c", "a-b", "a-c", "b-c", "a-b-c"]
