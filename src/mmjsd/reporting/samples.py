"""Figures of samples: what a model generates, given modalities of test samples or nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmjsd.distributions import Gaussian
from mmjsd.models.vae import MultimodalVAE
from mmjsd.reporting.canvas import Drawn, draw, panels, scale_of
from mmjsd.reporting.shown import COLUMNS, Shown

__all__ = [
    *("conditional", "interpolation", "of_prior", "random", "random_mixture", "reconstructions", "swapping"),
]

SIDE = 8
"""Columns of random samples, and as many rows."""

SAMPLES = 10
"""Generated for each input of a conditional grid."""


def random(shown: Shown) -> Drawn:
    """Draw samples from the prior of a trained model."""
    return of_prior(shown.trained.model)


def random_mixture(shown: Shown) -> Drawn:
    """Draw samples from the mixture that is fitted to the posteriors of a trained model."""
    sampler = shown.trained.samplers["random_mixture"]
    assert sampler is not None  # a prior has none
    model = shown.trained.model
    return _random(model, model.generate_from(sampler(SIDE**2)), "a mixture fitted to posteriors")


def of_prior(model: MultimodalVAE, generator: torch.Generator | None = None) -> Drawn:
    """Draw samples from the prior of a model, with the randomness of a generator on its device."""
    prior = Gaussian.standard(SIDE**2, model.shared_latent, device=model.device)
    samples = model.generate_from(prior.rsample(generator), generator=generator)
    return _random(model, samples, "the prior")


def _random(model: MultimodalVAE, samples: Mapping[str, Tensor], source: str) -> Drawn:
    figure, axes = panels(model.modalities, SIDE, SIDE, f"Random samples from {source}")
    for ax, (name, values) in zip(axes, samples.items(), strict=True):
        draw(ax, model.modalities[name], values, SIDE)
    return Drawn(
        figure,
        f"Samples from {source}. The same place in each panel has the same shared latent: a coherent model "
        f"shows the same class there.{_about_texts(model)}",
    )


def conditional(shown: Shown) -> Drawn:
    """Draw samples of the modalities that are looked at given some of a few test samples."""
    model, test, subset = shown.trained.model, shown.trained.test, shown.given
    targets = {name: model.modalities[name] for name in shown.trained.targets[subset]}
    chosen = shown.examples(subset)
    title = f"Given {' and '.join(subset)}"
    figure, axes = panels(targets, len(subset) + SAMPLES + 0.3, COLUMNS, title, header=len(subset) + 0.3)
    repeated = chosen.repeat(SAMPLES)  # a row has all inputs once
    c = test.posterior(subset, repeated).rsample()
    for ax, (name, modality) in zip(axes, targets.items(), strict=True):
        for row, given in enumerate(subset):
            if scale_of(model.modalities[given]) > scale_of(modality):
                ax.text(0, row + 0.5, f"({given}: beside)", va="center", color="0.4")
            else:
                draw(ax, model.modalities[given], test.inputs(given, chosen), COLUMNS, top=row)
        ax.axhline(len(subset) + 0.15, color="black", lw=0.8)
        styles = torch.randn(SAMPLES, model.private_latent, device=c.device)
        output = model.decode_mean(name, styles.repeat_interleave(len(chosen), 0), c)
        true = _reference(shown, name, chosen)
        compared = None if true is None else true.repeat(SAMPLES, 1)
        draw(ax, modality, output, COLUMNS, top=len(subset) + 0.3, reference=compared)
    styled = " Each row has one private latent, and so one style." if model.private_latent else ""
    return Drawn(
        figure,
        f"Above the line {' and '.join(subset)} of test samples{shown.labels.of_examples}, below {SAMPLES} "
        f"samples of each modality given these, with the shared latent drawn anew each time.{styled}"
        f"{_about_texts(model, compared=True)}",
    )


def _reference(shown: Shown, name: str, samples: Tensor) -> Tensor | None:
    """The texts of test samples that have one each, which generated ones are compared with."""
    test = shown.trained.test
    is_text = shown.trained.model.modalities[name].kind == "text"
    there = is_text and torch.isin(samples, test.complete((name,))).all()
    return test.inputs(name, samples) if there else None


def _about_texts(model: MultimodalVAE, *, compared: bool = False) -> str:
    """Say what is special about texts, if there are any."""
    texts = [modality for modality in model.modalities.values() if modality.kind == "text"]
    said = ""
    if texts and compared:
        said += " Underlined: words that the text of the test sample does not have."
    if any(scale_of(modality) > 1 for modality in texts):
        said += " Of long texts, the first rows."
    return said


def swapping(shown: Shown) -> Drawn:
    """Draw the content of some test samples in the style of others."""
    model, test, modalities = shown.trained.model, shown.trained.test, shown.modalities
    chosen = shown.examples(modalities)
    figure, axes = panels(
        model.modalities, COLUMNS + 1.3, COLUMNS + 1.3, "Swapping style and content", header=1.3
    )
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
        f"means of both posteriors. Columns should keep the class, rows the look.{_about_texts(model)}",
    )


def reconstructions(shown: Shown) -> Drawn:
    """Draw test samples and what becomes of them."""
    model, test, modalities = shown.trained.model, shown.trained.test, shown.modalities
    samples = test.complete(modalities)[: 4 * COLUMNS]
    figure, axes = panels(model.modalities, 12 + 3 * 0.3, COLUMNS, "Reconstructions", block=3.3)
    for ax, (name, modality) in zip(axes, model.modalities.items(), strict=True):
        for block, part in enumerate(samples.split(COLUMNS)):
            top = block * 3.3
            draw(ax, modality, test.inputs(name, part), COLUMNS, top=top)
            s = test.private_of(name, part).mean
            for row, subset in enumerate([(name,), modalities], 1):
                c = test.posterior(subset, part).mean
                output = model.decode_mean(name, s, c)
                draw(ax, modality, output, COLUMNS, top=top + row, reference=_reference(shown, name, part))
    return Drawn(
        figure,
        "Blocks of three rows: test samples, their reconstruction from the modality itself, and from all "
        f"modalities (posterior means).{_about_texts(model, compared=True)}",
    )


def interpolation(shown: Shown) -> Drawn:
    """Draw what lies between two test samples."""
    model, test, modalities = shown.trained.model, shown.trained.test, shown.modalities
    complete = test.complete(modalities)
    ends = complete[: 16 if len(complete) >= 16 else 2].view(2, -1)
    figure, axes = panels(model.modalities, ends.shape[1], COLUMNS, "Interpolation")
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
        f"all modalities), the same way in each panel.{_about_texts(model)}",
    )
