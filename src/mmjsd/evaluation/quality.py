"""Quality: how close generated samples come to real ones, as distributions in the space of an embedding.

By precision/recall distributions and the Fréchet distance. Both compare whole sets, so neither depends on the
order of its samples.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mmjsd.evaluation.embeddings import Embedding, classifier_embedding, inception_embedding
from mmjsd.evaluation.frechet import frechet_distance
from mmjsd.evaluation.latents import UnimodalPosteriors, conditional_samples, random_samples
from mmjsd.evaluation.precision_recall import f_beta_pair, precision_recall_distribution
from mmjsd.evaluation.samplers import Sampler
from mmjsd.evaluation.trained import Judged
from mmjsd.params import CLUSTERS
from mmjsd.params.types import OnlyWith
from mmjsd.provenance.files import atomic_write
from mmjsd.subsets import name_of

__all__ = ["Quality", "compute", "qualities"]

TITLE = "Quality"
READING = (
    "Generated against real test images in the embedding `{embedding}`, random or given the modalities "
    "A. Precision and recall (`prd_f8` weighs recall, `prd_f1_8` precision, `prd_mean` is the mean of "
    "the curve): more is better. Fréchet distance (`fid`): less is better, comparable only within one "
    "embedding."
)
HEADLINE = {"random images, PRD mean": "quality/prd_mean/mean"}
SUMMARIES = {"quality/prd_mean/mean": "quality/prd_mean/random/*"}
LESS_IS_BETTER = ("quality/fid/",)
FILES = ("prd.csv",)


class Quality(NamedTuple):
    """Of one set of generated images, against real ones of its modality."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    """The precision/recall curve, (1001,) each."""
    f8: float
    f1_8: float
    """F_8 weighs recall, F_1/8 precision."""
    mean: float
    """Mean of all precisions and recalls of the curve."""
    fid: float
    """Fréchet distance in the embedding; only of Inception features is it the FID of other work."""


def compute(
    judged: Judged,
    *,
    quality_samples: Annotated[int, Field(ge=CLUSTERS, le=10**6)] = 10000,
    embedding: Literal["classifier", "inception"] = "classifier",
    inception_weights: Annotated[str | None, OnlyWith("embedding", "inception")] = None,
) -> dict[str, float]:
    """Compare generated with real test images, and write the precision/recall curves to `prd.csv`.

    Args:
        judged: what is judged.
        quality_samples: Real and generated images that the quality compares, at most.
        embedding: Where it compares them: features of the dataset's own classifier, or of Inception (FID
            proper).
        inception_weights: torch-fidelity's file of Inception weights, or `download`: fetched by
            torch-fidelity.

    Raises:
        MmjsdError: fewer images than clusters, or unusable weights.
    """
    found: Mapping[tuple[str, str], Quality] = {}
    if embedding == "classifier" and not judged.classifiers:
        print("quality: the data have no labels, and so no classifier: left out", flush=True)
    else:
        embed = classifier_embedding(judged.classifiers)
        if embedding == "inception":
            embed = inception_embedding(inception_weights, judged.model.device)
        conditions = {**judged.samplers, **{name_of(subset): subset for subset in judged.subsets}}
        found = qualities(
            embed, judged.test, conditions, quality_samples, judged.seed, targets=judged.targets
        )
    _write_curves(found, judged.folder / "prd.csv")
    names = {"prd_f8": "f8", "prd_f1_8": "f1_8", "prd_mean": "mean", "fid": "fid"}
    return {
        f"quality/{name}/{given}/{modality}": getattr(quality, field)
        for name, field in names.items()
        for (given, modality), quality in found.items()
    }


@torch.no_grad()
def qualities(
    embed: Embedding,
    test: UnimodalPosteriors,
    conditions: Mapping[str, tuple[str, ...] | Sampler | None],
    count: int,
    seed: int = 0,
    *,
    targets: Mapping[tuple[str, ...], tuple[str, ...]] = MappingProxyType({}),
) -> dict[tuple[str, str], Quality]:
    """Judge the images of every image modality, random and generated given each subset.

    As many images are generated as there are real ones to compare them with: the distinct images of the test
    pairs, at most `count`. A subset that fewer test pairs have than there are clusters is left out.

    Args:
        embed: the embedding.
        test: the posteriors of the test pairs, in random order.
        conditions: name -> a subset of modalities that images are generated given, or a sampler that they are
            random from; None: the prior.
        count: images of a set at most.
        seed: of the clusterings.
        targets: subset -> what is generated given it; default: all modalities.

    Returns:
        (condition, modality) -> quality.

    Raises:
        MmjsdError: fewer images than clusters.
    """
    model = test.model
    images = tuple(
        name for name, m in model.modalities.items() if m.kind == "image" and len(test.complete((name,)))
    )
    if not images:
        return {}
    real = {}
    for name in images:
        rows = test.complete((name,))
        _, first = np.unique(test.columns[name][rows].cpu().numpy(), return_index=True)
        chosen = rows[torch.as_tensor(np.sort(first)[:count], device=rows.device)]
        real[name] = torch.cat([embed(name, test.inputs(name, part)) for part in chosen.split(512)])
    most = max(map(len, real.values()))
    found = {}
    for given, condition in conditions.items():
        if isinstance(condition, tuple):
            samples = test.complete(condition)[:most]
            if len(samples) < CLUSTERS:
                few = f"{len(samples)} test samples have {given}"
                print(f"quality: {few}, {CLUSTERS} are needed to compare images: left out", flush=True)
                continue
            wanted = tuple(name for name in images if name in targets.get(condition, images))
            parts = conditional_samples(test, condition, samples, wanted)
        else:
            wanted = images
            parts = random_samples(model, most, images, condition)
        embedded: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for generated in parts:
            for name, x in generated.items():
                embedded[name].append(embed(name, x))
        for name, chunks in embedded.items():
            generated_set = torch.cat(chunks)[: len(real[name])]
            found[given, name] = _quality(real[name], generated_set, seed)
    return found


def _quality(real: Tensor, generated: Tensor, seed: int) -> Quality:
    precision, recall = precision_recall_distribution(real, generated, seed=seed)
    f8, f1_8 = f_beta_pair(precision, recall)
    mean = float(np.concatenate([precision, recall]).mean())
    return Quality(precision, recall, f8, f1_8, mean, frechet_distance(real, generated))


def _write_curves(found: Mapping[tuple[str, str], Quality], path: Path) -> None:
    """The curves, thinned out tenfold."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["given", "modality", "precision", "recall"])
    for (given, modality), quality in found.items():
        points = np.stack([quality.precision, quality.recall], 1)[::10].round(5).tolist()
        writer.writerows([given, modality, *point] for point in points)
    atomic_write(path, text.getvalue())
