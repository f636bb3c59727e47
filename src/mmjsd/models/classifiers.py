"""Classifiers of one modality, trained on its rows alone; they judge the coherence of generated samples."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from mmjsd.data.store import Store, Table, modalities_of, require_labels
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Kind, Modality, kind_of
from mmjsd.models import weights
from mmjsd.models.scorers import Scorer, scorer_of
from mmjsd.provenance.files import atomic_write
from mmjsd.variables import usable

__all__ = ["Classifier", "load_classifier", "train_classifier"]


class Classifier(nn.Module):
    """Logits of the classes, or of the attributes, from inputs or generated samples of one modality."""

    def __init__(self, modality: Modality, classes: int):
        super().__init__()
        self.body = kind_of(modality).classifier_body(modality.shape)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(128, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, ...) -> the penultimate features (B, 128)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> logits (B, classes or attributes)."""
        return self.head(self.dropout(self.features(x)))


NAME = "model.safetensors"


def train_classifier(
    store: Store,
    modality: str,
    folder: Path,
    *,
    epochs: int,
    seed: int,
    threads: int = 1,
    device: str = "auto",
) -> None:
    """Train on the distinct rows of the modality; write `model.safetensors` and `metrics.json`.

    metrics.json holds its score on the rows of the test split, by the measure of the scorer of its labels.

    Raises:
        MmjsdError: the store has no labels.
    """
    torch.set_num_threads(usable(threads))
    require_labels(store)
    torch.manual_seed(seed)
    place = pick_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    train = store.splits["train"]
    (spec,) = (described for described in modalities_of(train) if described.name == modality)
    kind = kind_of(spec)
    rows, labels = _resident(train.modalities[modality], place)
    scorer = scorer_of(labels, store.classes)
    classifier = Classifier(spec, len(store.classes)).to(place)
    classifier.eval()(kind.as_input(rows[:1]))  # sets the lazy layer's size
    classifier.to(memory_format=image_layout(place))
    batch_size = 128
    steps = max(1, -(-len(rows) // batch_size))
    # few rows (text) need more passes for as many steps
    epochs = max(epochs, -(-100 // steps))
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=epochs * steps)
    precision = autocast(pick_precision("auto", place), place)
    classifier.train()
    for epoch in range(epochs):
        for samples in torch.randperm(len(rows), device=place).split(batch_size):
            with precision:
                logits = classifier(kind.vary(kind.as_input(rows[samples])))
            loss = scorer.loss(logits.float(), labels[samples])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch % max(1, epochs // 10) == 0 or epoch == epochs - 1:
            print(f"classifier of {modality}: epoch {epoch + 1}/{epochs}, loss {loss.item():.4f}", flush=True)

    score = _score(classifier.eval(), kind, store.splits["test"].modalities[modality], scorer, place)
    print(f"classifier of {modality}: test {scorer.measure.replace('_', ' ')} {score:.4f}", flush=True)
    # of attributes that no test item has there is no precision
    measured = {scorer.measure: score} if math.isfinite(score) else {}
    atomic_write(folder / "metrics.json", json.dumps(measured, indent=2, allow_nan=False) + "\n")
    about = {"kind": "classifier", "modality": list(spec), "classes": len(store.classes)}
    weights.write(folder / NAME, classifier.state_dict(), {**about, "score": measured.get(scorer.measure)})


def load_classifier(
    folder: Path, modality: Modality, classes: int, device: torch.device
) -> tuple[Classifier, float]:
    """A trained classifier in eval mode, and its score on the test split.

    Raises:
        MmjsdError: none there, a damaged one, or one of another modality or number of classes.
    """
    path = folder / NAME
    found, about = weights.read(path, "classifier", "train it (again) with `mmjsd classify`")
    try:
        name, kind, shape, size = about["modality"]
        if (Modality(name, kind, tuple(shape), size), about["classes"]) != (modality, classes):
            raise MmjsdError(
                f"{path}: judges another modality or other classes; train it again with `mmjsd classify`"
            )
        classifier = Classifier(modality, classes)
        score = math.nan if about["score"] is None else float(about["score"])
        classifier.load_state_dict(found)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
        raise MmjsdError(
            f"{path}: written by another version; train it again with `mmjsd classify`"
        ) from None
    return classifier.to(device).to(memory_format=image_layout(device)).eval(), score


def _resident(table: Table, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(table.data, device=device), torch.tensor(table.labels, device=device)


@torch.no_grad()
def _score(classifier: Classifier, kind: Kind, table: Table, scorer: Scorer, device: torch.device) -> float:
    rows, labels = _resident(table, device)
    logits = torch.cat([classifier(kind.as_input(part)) for part in rows.split(1024)])
    return scorer.score(logits, labels).value
