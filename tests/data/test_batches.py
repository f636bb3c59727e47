import torch

from mmjsd.data.batches import Batch


def test_what_is_missing_counts_as_zero() -> None:
    values = {"image": torch.ones(3, 2), "text": torch.ones(3, 4)}
    losses = torch.tensor([1.0, float("nan"), 3.0])
    present = torch.tensor([[True, True, True], [True, False, True]])
    batch = Batch(values, present)
    assert batch.only_present(losses, "text").tolist() == [1, 0, 3]
    assert batch.only_present(losses[[0, 2, 2]], "image").tolist() == [1, 3, 3]
    assert Batch(values, None).only_present(losses, "text") is losses
