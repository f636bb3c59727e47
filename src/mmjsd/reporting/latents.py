"""The figure of latents: a map of the shared latent space."""

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmjsd.reporting.canvas import Drawn
from mmjsd.reporting.shown import Shown

__all__ = ["latents"]


def latents(shown: Shown) -> Drawn:
    """Draw the posterior means of test samples, given each modality and all of them."""
    from sklearn.manifold import TSNE

    model, test, modalities = shown.trained.model, shown.trained.test, shown.modalities
    samples = test.complete(modalities)[:400]
    panels = [*((name,) for name in modalities), modalities]
    means = torch.cat([test.posterior(subset, samples).mean for subset in panels]).cpu().numpy()
    places = TSNE(
        init="pca" if model.shared_latent > 1 else "random",
        perplexity=min(30, (len(means) - 1) / 3),
        max_iter=500,  # of the default's 1000, the others move nothing that one sees
        random_state=shown.trained.seed,
    ).fit_transform(means)
    places = places.reshape(len(panels), len(samples), 2)
    labels, names, coloured = shown.labels.groups(test, samples, shown.trained.classes)
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


def _limits(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.min(values), np.max(values)
    margin = 0.05 * (high - low)
    return float(low - margin), float(high + margin)
