"""Figures of one trained model: what it generates, what its latents look like, its scores."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mmjsd.data.store import Store
from mmjsd.data.text import PADDING, attribute_texts
from mmjsd.devices import as_float64
from mmjsd.evaluation import Trained, load_trained
from mmjsd.metrics import read_metrics
from mmjsd.modalities.text import ALPHABET
from mmjsd.reporting.canvas import Drawn, draw, draw_all, sheets
from mmjsd.reporting.catalogue import run_figures
from mmjsd.subsets import name_of, subsets

__all__ = ["draw_run"]

COLUMNS = 10
SAMPLES = 10
"""Generated for each input of a conditional grid."""


@torch.no_grad()
def draw_run(folder: Path, store: Store, *, other_data: bool = False) -> None:
    """Draw the figures of one run into its folder `figures`.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.pt and metrics.json.
        store: the store it was trained on.
        other_data: allow another store than that.

    Raises:
        MmjsdError: a missing or damaged file, or another store.
    """
    metrics = read_metrics(folder / "metrics.json")
    trained = load_trained(folder, store, train_samples=1, other_data=other_data)
    content = trained.content
    modalities = tuple(trained.model.modalities)
    data = "stand-in data" if store.params.get("source") == "standin" else "real data"
    about = f"{content['name']}, seed {content['seed']}; {data}."
    makers: dict[str, Callable[[], Drawn]] = {
        "random": partial(_random, trained),
        **{f"conditional-{name_of(a)}": partial(_conditional, trained, a) for a in subsets(modalities)},
        "swapping": partial(_swapping, trained),
        "reconstructions": partial(_reconstructions, trained),
        "interpolation": partial(_interpolation, trained),
        "latents": partial(_latents, trained),
        "scores": partial(_scores, metrics, modalities, trained.measure),
        "attributes": partial(_attributes, metrics),
        "manipulation": partial(_manipulation, trained),
    }
    names = run_figures(
        modalities, trained.model.private_latent > 0, attributes=trained.measure == "average_precision"
    )
    draw_all(folder / "figures", {name: makers[name] for name in names}, content["seed"], about)


# --- What a model generates -------------------------------------------------------------------------------


def _random(trained: Trained) -> Drawn:
    model, columns = trained.model, 8
    figure, axes = sheets(list(model.modalities), columns, columns, "Random samples")
    for ax, (name, values) in zip(axes, model.generate(n=columns**2).items(), strict=True):
        draw(ax, model.modalities[name], values, columns)
    return Drawn(
        figure,
        "Samples from the prior. The same place in each panel has the same shared latent: a coherent model "
        "shows the same class there.",
    )


def _conditional(trained: Trained, subset: tuple[str, ...]) -> Drawn:
    model, test = trained.model, trained.test
    chosen = _examples(trained, subset)
    title = f"Given {' and '.join(subset)}"
    figure, axes = sheets(list(model.modalities), len(subset) + SAMPLES + 0.3, COLUMNS, title)
    repeated = chosen.repeat(SAMPLES)  # a row has all inputs once
    c = test.posterior(subset, repeated).rsample()
    for ax, (name, modality) in zip(axes, model.modalities.items(), strict=True):
        for row, given in enumerate(subset):
            draw(ax, model.modalities[given], test.inputs(given, chosen), COLUMNS, top=row)
        ax.axhline(len(subset) + 0.15, color="black", lw=0.8)
        styles = torch.randn(SAMPLES, model.private_latent, device=c.device)
        output = model.decode_mean(name, styles.repeat_interleave(len(chosen), 0), c)
        draw(ax, modality, output, COLUMNS, top=len(subset) + 0.3)
    styled = " Each row has one private latent, and so one style." if model.private_latent else ""
    return Drawn(
        figure,
        f"Above the line {' and '.join(subset)} of test samples{_one_per_class(trained)}, below {SAMPLES} "
        f"samples of each modality given these, with the shared latent drawn anew each time.{styled}",
    )


def _swapping(trained: Trained) -> Drawn:
    model, test = trained.model, trained.test
    modalities = tuple(model.modalities)
    chosen = _examples(trained, modalities)
    figure, axes = sheets(list(modalities), COLUMNS + 1.3, COLUMNS + 1.3, "Swapping style and content")
    contents, styles = chosen, chosen.flip(0)
    for ax, (name, modality) in zip(axes, model.modalities.items(), strict=True):
        ax.set_xlim(0, COLUMNS + 1.3)
        draw(ax, modality, test.inputs(name, contents), COLUMNS, left=1.3)
        draw(ax, modality, test.inputs(name, styles), 1, top=1.3)
        c = test.posterior((name,), contents).mean.repeat(len(styles), 1)
        s = test.private_of(name, styles).mean.repeat_interleave(len(contents), 0)
        draw(ax, modality, model.decode_mean(name, s, c), len(contents), left=1.3, top=1.3)
        ax.axhline(1.15, color="black", lw=0.8)
        ax.axvline(1.15, color="black", lw=0.8)
    return Drawn(
        figure,
        "Shared latent of the test sample above (content), private latent of the one on the left (style); "
        "means of both posteriors. Columns should keep the class, rows the look.",
    )


def _reconstructions(trained: Trained) -> Drawn:
    model, test = trained.model, trained.test
    modalities = tuple(model.modalities)
    samples = test.complete(modalities)[: 4 * COLUMNS]
    figure, axes = sheets(list(modalities), 12 + 3 * 0.3, COLUMNS, "Reconstructions")
    for ax, (name, modality) in zip(axes, model.modalities.items(), strict=True):
        for block, part in enumerate(samples.split(COLUMNS)):
            top = block * 3.3
            draw(ax, modality, test.inputs(name, part), COLUMNS, top=top)
            s = test.private_of(name, part).mean
            for row, subset in enumerate([(name,), modalities], 1):
                c = test.posterior(subset, part).mean
                draw(ax, modality, model.decode_mean(name, s, c), COLUMNS, top=top + row)
    return Drawn(
        figure,
        "Blocks of three rows: test samples, their reconstruction from the modality itself, and from all "
        "modalities (posterior means).",
    )


def _interpolation(trained: Trained) -> Drawn:
    model, test = trained.model, trained.test
    modalities = tuple(model.modalities)
    complete = test.complete(modalities)
    ends = complete[: 16 if len(complete) >= 16 else 2].view(2, -1)
    figure, axes = sheets(list(modalities), ends.shape[1], COLUMNS, "Interpolation")
    weights = torch.linspace(0, 1, COLUMNS, device=model.device)

    def between(latents: Tensor) -> Tensor:
        """(2 * rows, D) -> (rows * COLUMNS, D)."""
        first, last = latents.unflatten(0, (2, -1))
        return torch.lerp(first[:, None], last[:, None], weights[None, :, None]).flatten(0, 1)

    c = between(test.posterior(modalities, ends.flatten()).mean)
    for ax, (name, modality) in zip(axes, model.modalities.items(), strict=True):
        s = between(test.private_of(name, ends.flatten()).mean)
        draw(ax, modality, model.decode_mean(name, s, c), COLUMNS)
    return Drawn(
        figure,
        "Each row goes from one test sample to another, straight through the latents (posterior means given "
        "all modalities), the same way in each panel.",
    )


def _latents(trained: Trained) -> Drawn:
    from sklearn.manifold import TSNE

    model, test = trained.model, trained.test
    modalities = tuple(model.modalities)
    samples = test.complete(modalities)[:400]
    panels = [*((name,) for name in modalities), modalities]
    means = torch.cat([test.posterior(subset, samples).mean for subset in panels]).cpu().numpy()
    places = TSNE(
        init="pca" if model.shared_latent > 1 else "random",
        perplexity=min(30, (len(means) - 1) / 3),
        random_state=trained.content["seed"],
    ).fit_transform(means)
    places = places.reshape(len(panels), len(samples), 2)
    labels, names, coloured = _shown_labels(trained, samples)
    figure = Figure(figsize=(3.2 * len(panels), 3.6), layout="constrained")
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "turbo"]
    points = None
    for ax, subset, at in zip(figure.subplots(1, len(panels)), panels, places, strict=True):
        points = ax.scatter(*at.T, c=labels, cmap=colours, s=9, linewidths=0)
        ax.set(
            xticks=[],
            yticks=[],
            title="all together" if subset == modalities else subset[0],
            xlim=_limits(places[..., 0]),
            ylim=_limits(places[..., 1]),
        )
        ax.spines[:].set_visible(True)
    assert points is not None
    figure.legend(
        *(points.legend_elements(num=None)[0], names),
        loc="outside lower center",
        ncols=10,
        handletextpad=0,
        columnspacing=1,
    )
    figure.suptitle("Shared latent space")
    return Drawn(
        figure,
        f"Posterior means of the shared latent of {len(samples)} test samples, inferred from each modality "
        f"alone and from all together, coloured by {coloured}; one t-SNE map of all of them. Where "
        "modalities agree, a class lies at the same place in each panel.",
    )


def _scores(metrics: Mapping[str, Any], modalities: tuple[str, ...], measure: str) -> Drawn:
    given = [name_of(subset) for subset in subsets(modalities)]
    # what is not defined on the data is not there
    coherence = [[metrics.get(f"coherence/conditional/{a}/{j}", math.nan) for j in modalities] for a in given]
    latent = [[metrics.get(f"representation/{measure}/{a}", math.nan)] for a in given]
    figure = Figure(
        figsize=(2.4 + 0.8 * (len(modalities) + 1.5), 1.3 + 0.34 * len(given)), layout="constrained"
    )
    left, right = figure.subplots(1, 2, width_ratios=[len(modalities), 1.5], sharey=True)
    for ax, values, columns, title in (
        (left, coherence, modalities, "Coherence"),
        (right, latent, [""], "Representation"),
    ):
        ax.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(given)), [a.replace("-", " + ") for a in given])
        ax.set_title(title)
        ax.tick_params(length=0)
        for row, cells in enumerate(values):
            for column, value in enumerate(cells):
                colour = "white" if value < 0.6 else "black"
                shown = "–" if math.isnan(value) else f"{value:.2f}"
                ax.text(column, row, shown, ha="center", va="center", color=colour)
    left.set(xlabel="generated", ylabel="given")
    right.set(xlabel=measure.replace("_", " "))
    seen = "show the class of" if measure == "accuracy" else "show the attributes of (mean average precision)"
    return Drawn(
        figure,
        f"Left: how well generated modalities (columns) {seen} what they are given (rows). Right: "
        f"{measure.replace('_', ' ')} of a linear classifier of the shared latent.",
    )


def _attributes(metrics: Mapping[str, Any]) -> Drawn:
    names: dict[str, None] = {}
    values: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        if key.startswith("attributes/"):
            name, _, column = key.removeprefix("attributes/").partition("/")
            names[name] = None
            values.setdefault(column, {})[name] = value
    # an attribute that no test sample has is left out
    columns = {k: np.array([found.get(name, math.nan) for name in names]) for k, found in values.items()}
    order = np.argsort(columns["frequency"])[::-1]
    places = np.arange(len(names))
    panels = {
        "Representation": "representation/",
        "Conditional coherence": "coherence/",
        "Random": "coherence/random",
    }
    figure = Figure(figsize=(11, 0.19 * len(names) + 1.6), layout="constrained")
    for ax, (title, start) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        ax.barh(places, columns["frequency"][order], color="0.88", label="frequency")
        shown = [key for key in columns if key.startswith(start) and (key == start or "random" not in key)]
        for colour, key in enumerate(shown):
            name = key.removeprefix(start).replace("-", " + ").replace("/", " → ") or "across modalities"
            ax.plot(columns[key][order], places, "o", ms=3.5, color=f"C{colour}", label=name)
        ax.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), title=title, xlabel="average precision")
        ax.invert_yaxis()
        ax.grid(axis="y", lw=0.3)
        ax.set_yticks(places, [list(names)[place].replace("_", " ") for place in order], size=7)
        ax.legend(loc="lower right", fontsize=7, frameon=True)
    return Drawn(
        figure,
        "Average precision of each attribute, from the most to the least frequent; the bars are its "
        "frequency in the test data, which is what guessing reaches. Left: a linear classifier of the shared "
        "latent given each subset. Middle: what the classifiers see in each modality generated given each "
        "subset. Right: what they see in one modality of random samples against another.",
    )


def _manipulation(trained: Trained) -> Drawn:
    model, test, classes = trained.model, trained.test, trained.content["classes"]
    modalities = tuple(model.modalities)
    texts = [name for name, m in model.modalities.items() if m.kind == "text"]
    image = next(name for name, m in model.modalities.items() if m.kind == "image")
    chosen = test.complete(modalities)[:8]
    labels = test.labels[chosen].cpu().numpy()
    # the attributes that are neither rare nor general can be both added and removed
    frequency = as_float64(test.labels).mean(0).cpu().numpy()
    changed = np.sort(np.argsort(np.abs(frequency - 0.25))[:12])
    edited = np.repeat(labels[:, None], len(changed) + 1, 1)  # (faces, 1 + changed, A)
    edited[:, np.arange(len(changed)) + 1, changed] ^= 1
    repeated = chosen.repeat_interleave(len(changed) + 1)
    values = {name: test.inputs(name, repeated) for name in modalities}
    for name in texts:
        # where the given text starts, for a shift would be a change of its own
        start = (values[name] != ALPHABET.index(PADDING)).int().argmax(1).cpu().numpy()
        words = attribute_texts(edited.reshape(-1, len(classes)), classes, start)
        values[name] = torch.tensor(words.astype(np.int64), device=model.device)
    posterior = model.posterior(model.encode(values).shared, modalities).select().mean
    style = test.private_of(image, repeated).mean
    columns = len(changed) + 2
    figure, (ax,) = sheets([""], len(chosen) + 1.6, columns, "One word of the text changed")
    draw(ax, model.modalities[image], test.inputs(image, chosen), 1, top=1.6)
    output = model.decode_mean(image, style, posterior)
    draw(ax, model.modalities[image], output, columns - 1, left=1, top=1.6)
    heads = ["given", "same text", *(f"± {classes[a].replace('_', ' ')}" for a in changed)]
    for column, head in enumerate(heads):
        ax.text(column + 0.5, 1.5, head, rotation=60, size=7, ha="left", va="bottom")
    return Drawn(
        figure,
        "Faces given an image (left column) and its text, in which one attribute is added where it is "
        "missing and removed where it is present. Shared latent: posterior mean given both; private latent: "
        "the image's.",
    )


# --- Which samples are shown ------------------------------------------------------------------------------


def _examples(trained: Trained, subset: tuple[str, ...]) -> Tensor:
    """COLUMNS test samples, of different classes where there are as many."""
    samples = trained.test.complete(subset)
    labels = trained.test.labels[samples]
    if labels.dim() > 1:
        return samples[:COLUMNS]
    _, first = np.unique(labels.cpu().numpy(), return_index=True)
    others = np.setdiff1d(np.arange(len(samples)), first)
    chosen = np.concatenate([first, others])[:COLUMNS]
    return samples[torch.as_tensor(chosen, device=samples.device)]


def _shown_labels(trained: Trained, samples: Tensor) -> tuple[NDArray[np.integer], list[str], str]:
    """A label of each sample (B,), what the labels that occur are called, and what they are."""
    labels, classes = trained.test.labels[samples].cpu().numpy(), trained.content["classes"]
    if labels.ndim == 1:
        return labels, [classes[label] for label in np.unique(labels)], "class"
    even = int(np.abs(labels.mean(0) - 0.5).argmin())  # the attribute that divides the samples most evenly
    names = [f"{'' if value else 'not '}{classes[even]}" for value in np.unique(labels[:, even])]
    return labels[:, even], names, f"the attribute {classes[even]}"


def _one_per_class(trained: Trained) -> str:
    return ", one of each class" if trained.test.labels.dim() == 1 else ""


def _limits(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.min(values), np.max(values)
    margin = 0.05 * (high - low)
    return float(low - margin), float(high + margin)
