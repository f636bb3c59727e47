from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import torch

from mmjsd.data import batches
from mmjsd.data.batches import Batch, ResidentSplit, StreamedSplit
from support.samples import make_split


def test_what_is_missing_counts_as_zero() -> None:
    values = {"image": torch.ones(3, 2), "text": torch.ones(3, 4)}
    losses = torch.tensor([1.0, float("nan"), 3.0])
    present = torch.tensor([[True, True, True], [True, False, True]])
    batch = Batch(values, present)
    assert batch.only_present(losses, "text").tolist() == [1, 0, 3]
    assert batch.only_present(losses[[0, 2, 2]], "image").tolist() == [1, 3, 3]
    assert Batch(values, None).only_present(losses, "text") is losses


def test_batches_are_what_the_store_holds(store):
    split = store.splits["train"]
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.tensor([5, 17]))
    for position, sample in enumerate((5, 17)):
        mnist, _, text = split.pairs[sample]
        image = torch.tensor(split.modalities["mnist"].data[mnist]) / 255
        torch.testing.assert_close(batch.values["mnist"][position], image)
        assert batch.values["text"][position].tolist() == split.modalities["text"].data[text].tolist()
    assert batch.present is None


def test_gaps_become_a_mask(store_with_gaps):
    split = store_with_gaps.splits["train"]
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.arange(20))
    assert batch.present.T.tolist() == (split.pairs[:20] >= 0).tolist()


def test_gaps_are_filled_with_what_other_samples_have(store_with_gaps):
    """For batch normalisation, which would see one item over and over."""
    split = store_with_gaps.splits["train"]
    batch = ResidentSplit(split, torch.device("cpu")).batch(torch.arange(len(split.pairs)))
    images = [image.numpy().tobytes() for image in batch.values["mnist"]]
    gaps = np.flatnonzero(split.pairs[:, 0] < 0)
    others = {images[row] for row in np.flatnonzero(split.pairs[:, 0] >= 0)}
    filled = [images[row] for row in gaps]
    assert len(set(filled)) == len(gaps) > 10
    assert set(filled) <= others


def test_an_epoch_uses_each_sample_once_at_most(store):
    data = ResidentSplit(store.splits["train"], torch.device("cpu"))
    order = data.shuffled(32)
    assert order.shape == (3, 32)
    assert len(order.unique()) == 96
    assert not torch.equal(order, data.shuffled(32))
    assert data.shuffled(1000).shape == (1, 120)


def stream(split, batch_size=32, seed=5):
    torch.manual_seed(seed)
    data = StreamedSplit(split, torch.device("cpu"))
    return [data.batch(*part) for part in data.parts(data.shuffled(batch_size))]


@pytest.mark.parametrize("gaps", [False, True])
def test_streamed_batches_are_those_of_the_resident_split(store, store_with_gaps, monkeypatch, gaps):
    """Same seed, same order, same values: only where the data lie differs."""
    monkeypatch.setattr(batches, "BLOCK", 2)  # more than one block
    split = (store_with_gaps if gaps else store).splits["train"]
    streamed = stream(split)
    torch.manual_seed(5)
    data = ResidentSplit(split, torch.device("cpu"))
    resident = [data.batch(*part) for part in data.parts(data.shuffled(32))]
    assert len(streamed) == len(resident) == 3
    for one, other in zip(streamed, resident, strict=True):
        assert (one.present is None) == (other.present is None) == (not gaps)
        if one.present is not None:
            assert torch.equal(one.present, other.present)
        for name, values in one.values.items():
            assert torch.equal(values, other.values[name])


def test_what_fits():
    split = make_split(np.random.default_rng(0), 10)
    size = sum(table.data.nbytes for table in split.modalities.values())
    assert batches.fits(split, size)
    assert not batches.fits(split, size - 1)


def test_reading_a_block_starts_no_threads():
    """More threads of torch than cores go to sleep at each of their meetings: 0.75 times the rate."""
    data = StreamedSplit(make_split(np.random.default_rng(0), 2_000), torch.device("cpu"))
    order = torch.arange(2**17)[None] % len(data)
    more, process, threads = [], psutil.Process(), torch.get_num_threads()

    def read() -> None:
        before = process.num_threads()
        data._read(order)
        more.append(process.num_threads() - before)

    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1) as reader:
            reader.submit(read).result()
    finally:
        torch.set_num_threads(threads)
    assert more == [0]
