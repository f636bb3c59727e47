from dataclasses import replace

import numpy as np
import pytest

from mmjsd.data.missing import lose
from mmjsd.data.store import Split
from support.samples import make_split


@pytest.fixture(scope="module")
def split() -> Split:
    """Ten thousand samples, of which some have gaps."""
    few = make_split(np.random.default_rng(0), 10)
    pairs = np.arange(30_000, dtype=np.int32).reshape(-1, 3) % 10
    pairs[:1000, 1] = -1
    pairs[:500, 2] = -1
    return replace(few, pairs=pairs)


def test_each_modality_goes_with_its_share_and_gaps_stay(split: Split) -> None:
    pairs = lose(split, {"svhn": 0.3, "text": 0.6}, 1).pairs
    assert pairs.dtype == split.pairs.dtype
    assert (pairs[pairs >= 0] == split.pairs[pairs >= 0]).all()
    assert (pairs[split.pairs < 0] == -1).all()
    assert (pairs[:, 0] == split.pairs[:, 0]).all()
    lost = pairs[1000:] < 0
    np.testing.assert_allclose(lost.mean(0), [0, 0.3, 0.6], atol=0.02)
    # whatever else goes
    assert (lost[:, 1] & lost[:, 2]).mean() == pytest.approx(0.18, abs=0.02)


def test_a_sample_keeps_one_of_what_it_has_each_as_likely(split: Split) -> None:
    pairs = lose(split, {"mnist": 0.99, "svhn": 0.8, "text": 0.9}, 1).pairs
    kept = pairs >= 0
    assert kept.any(1).all()
    assert kept[:500, 0].all()
    # nearly all of the samples would lose everything, 0.71 of all; one more stays of a third of them each
    shares = np.array([0.99, 0.8, 0.9])
    all_lost = shares.prod()
    np.testing.assert_allclose(kept[1000:].mean(0), 1 - shares + all_lost / 3, atol=0.02)


def test_the_seed_alone_decides_and_more_go_at_higher_shares(split: Split) -> None:
    few, more = (lose(split, share, 1).pairs for share in (0.2, 0.5))
    assert (few == lose(split, dict.fromkeys(split.modalities, 0.2), 1).pairs).all()
    assert not (few == lose(split, 0.2, 2).pairs).all()
    assert (more[few < 0] < 0).all()
    assert (lose(split, 0.0, 1).pairs == split.pairs).all()
