"""The figures of a run, and those that compare the runs of a dataset, drawn as the catalogue lists them."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmjsd.data.store import Store
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.trained import load_trained
from mmjsd.models.vae import MultimodalVAE
from mmjsd.params.sources import described
from mmjsd.reporting.canvas import Drawn, draw_all, house_style, note, save
from mmjsd.reporting.catalogue import Entry, dataset_figures, run_figures
from mmjsd.reporting.curves import Compared, read_curves
from mmjsd.reporting.samples import of_prior
from mmjsd.reporting.shown import Shown, labels_shown
from mmjsd.training.history import read_history
from mmjsd.variables import usable

__all__ = ["draw_dataset", "draw_run", "draw_samples"]


@torch.no_grad()
def draw_run(
    folder: Path,
    store: Store,
    *,
    threads: int = 1,
    mixture_components: int | None = None,
    all_subsets: bool = False,
    **options: Any,
) -> None:
    """Draw the figures of one run into its folder `figures`.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.safetensors and metrics.json.
        store: the store it was trained on.
        threads: to compute with, as in the parameters.
        mixture_components, all_subsets, options: as of :func:`mmjsd.evaluation.trained.load_trained`.

    Raises:
        MmjsdError: a missing or damaged file, or another store.
    """
    torch.set_num_threads(usable(threads))
    metrics = read_metrics(folder / "metrics.json")
    options |= {"mixture_components": mixture_components, "all_subsets": all_subsets}
    trained = load_trained(folder, store, **options)
    labels = trained.scorer.labels if trained.scorer else None
    shown = Shown(trained, metrics, labels_shown(labels))
    figures = run_figures(
        shown.modalities,
        subspaces=trained.model.private_latent > 0,
        labels=labels,
        vectors=any(modality.kind == "vector" for modality in trained.model.modalities.values()),
        mixture=mixture_components is not None,
        all_subsets=all_subsets,
    )
    makers = {
        name: partial(_drawn, entry, shown._replace(given=entry.given)) for name, entry in figures.items()
    }
    data = described(store.params.get("source", "folder"))
    about = f"{trained.name}, seed {trained.seed}; {data}{_judged(metrics)}."
    draw_all(folder / "figures", makers, trained.seed, about)


def draw_dataset(
    folder: Path,
    runs: Mapping[str, Sequence[Path]],
    embedding: str,
    source: str,
    sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    labels: str | None = None,
) -> None:
    """Draw the figures that compare the runs of a dataset.

    Args:
        folder: where to.
        runs: name -> the folders of its seeds, with history.csv, prd.csv and metrics.json.
        embedding: the space in which prd.csv compares images.
        source: of the dataset.
        sweeps: sweep -> run -> varied key -> value.
        labels: what samples have: a `class`, `attributes` or nothing.

    Raises:
        MmjsdError: a missing or damaged file.
    """
    compared = Compared(
        curves={name: [read_curves(f / "prd.csv") for f in folders] for name, folders in runs.items()},
        histories={
            name: [read_history(f / "history.csv") for f in folders] for name, folders in runs.items()
        },
        embedding=embedding,
        sweeps=sweeps or {},
        metrics={name: [read_metrics(f / "metrics.json") for f in folders] for name, folders in runs.items()},
    )
    makers = {
        name: partial(entry.load(), compared._replace(swept=entry.swept))
        for name, entry in dataset_figures(embedding, sweeps, labels=labels).items()
    }
    first = next(iter(compared.metrics.values()))[0]  # all runs are judged alike
    draw_all(folder, makers, 0, f"Data: {described(source)}{_judged(first)}.")


def draw_samples(path: Path, model: MultimodalVAE, seed: int) -> None:
    """Draw random samples of a model that is being trained, which stays as it is; a line says if it fails.

    Args:
        path: of the picture.
        model: in training mode.
        seed: of the sampling; no random state of torch is touched.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    model.eval()
    try:
        with house_style():
            save(of_prior(model, generator).figure, path)
    except OSError as error:
        print(f"{path}: not drawn ({error.strerror})", file=sys.stderr, flush=True)
    finally:
        model.train()


def _judged(metrics: Mapping[str, Any]) -> str:
    """Say what stands in for the test samples, if anything does."""
    split = metrics.get("meta/split", "test")
    return "" if split == "test" else f", split {split} in place of test"


def _drawn(entry: Entry, shown: Shown) -> Drawn:
    needed = entry.given or shown.modalities
    there = len(shown.trained.test.complete(needed))
    if there < entry.samples:
        return note(entry.name, f"Not drawn: {there} test samples have all of {' and '.join(needed)}.")
    return entry.load()(shown)
