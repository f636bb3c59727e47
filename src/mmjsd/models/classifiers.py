"""Classifiers of one modality, trained on its rows alone; they judge the coherence of generated samples."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmjsd.data.store import Store, Table, modalities_of, require_labels
from mmjsd.devices import autocast, image_layout, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Kind, Modality, kind_of
from mmjsd.models import weights
from mmjsd.models.scorers import scorer_of
from mmjsd.provenance.files import atomic_write
from mmjsd.variables import usable

__all__ = ["Classifier", "held_out", "load_classifier", "train_classifier"]

BATCH_SIZE = 128
FIRST = 3
"""Epochs of the first cycle of the learning rate; each further one has twice those of the one before."""
LEAST = 100
"""Steps of a cycle at least: few rows (text) need more passes for as many steps."""
FEWEST = 20
"""Rows of a class of which a tenth is held out; of fewer none can be spared."""


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

    The learning rate rises, and falls to nothing, in cycles, each twice as long as the one before
    (I. Loshchilov and F. Hutter, ICLR 2017), until one of them does not better the score on rows that are
    held out. The weights that are kept are those with the best score there; of equal ones, the least loss.
    Where no row can be spared the loss of those that it learns decides, for of them it soon scores all.

    metrics.json holds its score on the rows of the test split, by the measure of the scorer of its labels.

    Args:
        store: with the splits train and test.
        modality: the name of one of its modalities.
        folder: where the two files are written.
        epochs: the most passes through the rows; through few rows an epoch passes several times.
        seed: of all that is random.
        threads: of the processor.
        device: to compute on, as in the parameters.

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
    aside = held_out(labels.cpu().numpy(), seed)
    learnt = torch.tensor(np.flatnonzero(~aside), device=place)
    checked = torch.tensor(np.flatnonzero(aside), device=place) if aside.any() else learnt
    scorer = scorer_of(labels, store.classes)
    classifier = Classifier(spec, len(store.classes)).to(place)
    classifier.eval()(kind.as_input(rows[:1]))  # sets the lazy layer's size
    classifier.to(memory_format=image_layout(place))
    precision = autocast(pick_precision("auto", place), place)
    steps = -(-len(learnt) // BATCH_SIZE)
    passes = -(-LEAST // (min(FIRST, epochs) * steps))

    best = (-math.inf, -math.inf)
    kept: dict[str, Tensor] = {}
    done, length = 0, FIRST
    while done < epochs:
        length = length if epochs - done >= 2 * length else epochs - done
        before = best
        optimiser = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=4e-3, total_steps=length * passes * steps
        )
        for epoch in range(done + 1, done + length + 1):
            classifier.train()
            for _ in range(passes):
                for samples in learnt[torch.randperm(len(learnt), device=place)].split(BATCH_SIZE):
                    with precision:
                        logits = classifier(kind.vary(kind.as_input(rows[samples])))
                    loss = scorer.loss(logits.float(), labels[samples])
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    schedule.step()
            logits = _logits(classifier.eval(), kind, rows[checked])
            negated = -scorer.loss(logits, labels[checked]).item()
            score = scorer.score(logits, labels[checked]).value if aside.any() else math.nan
            scored = math.isfinite(score)  # of attributes that no such row has there is no precision
            now = (score if scored else negated, negated)
            if not kept or now > best:
                best, kept = now, {name: value.clone() for name, value in classifier.state_dict().items()}
            seen = f"held-out {scorer.measure.replace('_', ' ')} {score:.4f}, " if scored else ""
            progress = f"epoch {epoch} of {epochs} at most, {seen}loss {-negated:.4f}"
            print(f"classifier of {modality}: {progress}", flush=True)
        done, length = done + length, 2 * length
        if not before[0] < best[0] < 1:
            break
    classifier.load_state_dict(kept)

    tested, true = _resident(store.splits["test"].modalities[modality], place)
    score = scorer.score(_logits(classifier, kind, tested), true).value
    print(f"classifier of {modality}: test {scorer.measure.replace('_', ' ')} {score:.4f}", flush=True)
    # of attributes that no test item has there is no precision
    measured = {scorer.measure: score} if math.isfinite(score) else {}
    atomic_write(folder / "metrics.json", json.dumps(measured, indent=2, allow_nan=False) + "\n")
    about = {"kind": "classifier", "modality": list(spec), "classes": len(store.classes)}
    weights.write(folder / NAME, classifier.state_dict(), {**about, "score": measured.get(scorer.measure)})


def held_out(labels: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    """Choose a tenth of the rows at random, of each class alike; of a class of fewer than 20 rows, none.

    Args:
        labels: classes (N,), or attributes (N, A), whose rows are one class here.
        seed: of the choice, which depends on nothing else.

    Returns:
        bool (N,): which rows are held out.
    """
    generator = np.random.default_rng(seed)
    classes = labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)
    chosen = np.zeros(len(labels), bool)
    for each in np.unique(classes):
        rows = np.flatnonzero(classes == each)
        if len(rows) >= FEWEST:
            chosen[generator.permutation(rows)[: len(rows) // 10]] = True
    return chosen


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
def _logits(classifier: Classifier, kind: Kind, rows: Tensor) -> Tensor:
    return torch.cat([classifier(kind.as_input(part)) for part in rows.split(1024)])
