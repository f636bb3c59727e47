"""Classifiers of one modality, trained on its rows alone; they judge the coherence of generated samples."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmjsd import checkpoint
from mmjsd.data.batches import as_input
from mmjsd.data.store import Store, Table
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.models.networks.text import one_hot
from mmjsd.models.scorers import Scorer, scorer_of
from mmjsd.models.vae import Modality
from mmjsd.records import atomic_write

__all__ = ["Classifier", "load_classifier", "train_classifier"]


class Classifier(nn.Module):
    """Logits of the classes, or of the attributes, from one modality; `features` are the penultimate ones.

    Images: three convolutions of stride 2 with batch normalisation. Text: reads token ids (B, L) or character
    probabilities (B, L, A), so that it can judge a generated text as a whole.
    """

    def __init__(self, modality: Modality, classes: int):
        super().__init__()
        self.kind = modality.kind
        if modality.kind == "image":
            channels = modality.shape[0]
            layers: list[nn.Module] = []
            for width in (32, 64, 128):
                layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            side = [s // 8 for s in modality.shape[1:]]
            self.body = nn.Sequential(
                *layers, nn.Flatten(), nn.Linear(128 * side[0] * side[1], 128), nn.ReLU()
            )
        elif modality.kind == "text":
            wide = 3 if modality.size <= 8 else 7  # of a long text, whole words must fit
            self.body = nn.Sequential(
                nn.LazyConv1d(64, 1),
                nn.ReLU(),
                nn.Conv1d(64, 128, wide, padding=wide // 2, bias=False),
                nn.BatchNorm1d(128),
                nn.ReLU(),
                nn.Conv1d(128, 128, wide, padding=wide // 2, bias=False),
                nn.BatchNorm1d(128),
                nn.ReLU(),
                nn.AdaptiveMaxPool1d(1),  # a word counts wherever it stands
                nn.Flatten(),
            )
        else:
            raise MmjsdError(f"models/classifiers: no classifier for a modality of kind {modality.kind!r}")
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(128, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, 128)."""
        return self.body(one_hot(x) if self.kind == "text" else x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> logits (B, classes or attributes)."""
        return self.head(self.dropout(self.features(x)))


def train_classifier(store: Store, modality: str, folder: Path, *, epochs: int, seed: int) -> None:
    """Train on the distinct rows of the modality; write `model.pt` and `metrics.json` into the folder.

    metrics.json holds its score on the rows of the test split, by the measure of the scorer of its labels.
    """
    torch.manual_seed(seed)
    device = pick_device("auto")
    folder.mkdir(parents=True, exist_ok=True)
    table = store.splits["train"].modalities[modality]
    spec = Modality(modality, table.kind, tuple(table.shape), table.size)
    rows, labels = _resident(table, device)
    scorer = scorer_of(labels, store.classes)
    classifier = Classifier(spec, len(store.classes)).to(device)
    classifier.eval()(as_input(rows[:1]))  # sets the lazy layer's size
    classifier.to(memory_format=image_layout(device))
    batch_size = 128
    steps = max(1, -(-len(rows) // batch_size))
    # few rows (text) need more passes for as many steps
    epochs = max(epochs, -(-100 // steps))
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=epochs * steps)
    precision = autocast(pick_precision("auto", device), device)
    classifier.train()
    for epoch in range(epochs):
        for samples in torch.randperm(len(rows), device=device).split(batch_size):
            with precision:
                logits = classifier(_varied(as_input(rows[samples]), table.kind))
            loss = scorer.loss(logits.float(), labels[samples])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch % max(1, epochs // 10) == 0 or epoch == epochs - 1:
            print(f"classifier of {modality}: epoch {epoch + 1}/{epochs}, loss {loss.item():.4f}", flush=True)

    score = _score(classifier.eval(), store.splits["test"].modalities[modality], scorer, device)
    print(f"classifier of {modality}: test {scorer.measure.replace('_', ' ')} {score:.4f}", flush=True)
    # of attributes that no test item has there is no precision
    measured = {scorer.measure: score} if math.isfinite(score) else {}
    atomic_write(folder / "metrics.json", json.dumps(measured, indent=2, allow_nan=False) + "\n")
    content = {
        "kind": "classifier",
        "modality": tuple(spec),
        "classes": len(store.classes),
        "score": score,
        "weights": {key: value.cpu() for key, value in classifier.state_dict().items()},
    }
    checkpoint.write(folder / "model.pt", content)


def load_classifier(
    folder: Path, modality: Modality, classes: int, device: torch.device
) -> tuple[Classifier, float]:
    """A trained classifier in eval mode, and its score on the test split.

    Raises:
        MmjsdError: none there, a damaged one, or one of another modality or number of classes.
    """
    path = folder / "model.pt"
    content = checkpoint.read(path, "classifier", "train it (again) with `mmjsd classify`")
    try:
        if (Modality(*content["modality"]), content["classes"]) != (modality, classes):
            raise MmjsdError(
                f"{path}: judges another modality or other classes; train it again with `mmjsd classify`"
            )
        classifier, score = Classifier(modality, classes), float(content["score"])
        classifier.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
        raise MmjsdError(
            f"{path}: written by another version; train it again with `mmjsd classify`"
        ) from None
    return classifier.to(device).to(memory_format=image_layout(device)).eval(), score


def _resident(table: Table, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(table.data, device=device), torch.tensor(table.labels, device=device)


def _varied(x: Tensor, kind: str) -> Tensor:
    """A batch for training: images slightly turned, scaled and shifted; text as uncertain characters.

    Generated images are not centred exactly, generated characters not certain: the judge must read them too.
    """
    if kind == "image":
        turn, scale, *shift = (2 * torch.rand(4, len(x), device=x.device) - 1) * 0.12
        rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(-1, 2, 2)
        affine = torch.cat([rotation * (1 + scale).view(-1, 1, 1), torch.stack(shift, 1)[..., None]], 2)
        grid = F.affine_grid(affine, list(x.shape), align_corners=False)
        return _sampled(x, grid)
    sharp = one_hot(x).transpose(1, 2)
    share = 0.5 * torch.rand(len(x), 1, 1, device=x.device)
    noise = torch.rand_like(sharp) ** 4
    return (1 - share) * sharp + share * noise / noise.sum(-1, keepdim=True)


def _sampled(x: Tensor, grid: Tensor) -> Tensor:
    """Images (B, C, H, W) at the points of a grid (B, H, W, 2); beyond the border they go on as they end."""
    if x.device.type != "mps":
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    # MPS has no such padding before torch 2.13; no point lies beyond the outermost pixels' centres instead
    inside = 1 - 1 / torch.tensor([x.shape[3], x.shape[2]], device=x.device)
    return F.grid_sample(x, grid.clamp(-inside, inside), align_corners=False)


@torch.no_grad()
def _score(classifier: Classifier, table: Table, scorer: Scorer, device: torch.device) -> float:
    rows, labels = _resident(table, device)
    logits = torch.cat([classifier(as_input(part)) for part in rows.split(1024)])
    return scorer.score(logits, labels).value
