"""The multimodal VAE: one encoder and decoder per modality around a shared latent c.

With modality-specific subspaces each modality also has a private latent s_j. The model knows neither the
names nor the number of its modalities: they come from the store.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mmjsd.distributions import Gaussian, Mean, Mixture
from mmjsd.errors import MmjsdError
from mmjsd.means import geometric
from mmjsd.modalities import Modality, kind_of
from mmjsd.modalities.preparation import prepare
from mmjsd.modalities.vector import logarithm_of
from mmjsd.models import networks

__all__ = ["MultimodalVAE", "Posteriors", "Scale"]

LikelihoodScale = float | Mapping[str, float] | Literal["learned"] | None

_LEAST = -6.0
"""Log of the least scale that is learnt, less than a level of grey (Rybkin, Daniilidis & Levine 2021)."""


_LEAST_LOG_VARIANCE = -20.0
"""Of posteriors: what float32 tells from their means. Where nothing holds it, as in MMVM, it else falls until
the density of a sample is not finite."""

_LEAST_WEIGHT = 1e-6
"""Least weight of an expert where weights are learnt."""


class Posteriors(NamedTuple):
    """Unimodal posteriors."""

    shared: Gaussian
    """q(c|x_j), experts stacked: (E, B, shared latent)."""
    private: dict[str, Gaussian]
    """q(s_j|x_j) by modality: (B, private latent). The latent has 0 dimensions without subspaces."""


class Scale(NamedTuple):
    """How the vectors of a modality became what networks take."""

    columns: list[str]
    """Names of their D values, such as `age` or `stage=II`; none where they have none."""
    logarithmic: Tensor
    """Of which of them log(1 + x) was taken first, bool (D,)."""
    mean: Tensor
    """What was subtracted from each value then, (D,)."""
    deviation: Tensor
    """What each was divided by last, (D,)."""

    @classmethod
    def of(cls, stored: Sequence[str], mean: Any, deviation: Any, log1p: Collection[str] = ()) -> "Scale":
        """Make a scale of what a store says.

        Args:
            stored: names of the D values in the store, `log1p(age)` for a logarithm; none if they have none.
            mean, deviation: (D,) each.
            log1p: the columns of which log(1 + x) was taken.
        """
        taken = {logarithm_of(column): column for column in log1p}
        logarithmic = [name in taken for name in stored] or [False] * len(mean)
        columns = [taken.get(name, name) for name in stored]
        return cls(columns, torch.tensor(logarithmic), torch.tensor(mean), torch.tensor(deviation))

    @property
    def stored(self) -> list[str]:
        """Names of the values in the store: `log1p(age)` where it has the logarithm."""
        pairs = zip(self.columns, self.logarithmic.tolist(), strict=False)
        return [logarithm_of(column) if taken else column for column, taken in pairs]


class MultimodalVAE(nn.Module):
    """Encoders q(c|x_j), q(s_j|x_j) and decoders p(x_j|s_j,c).

    Its objective sets `mean`, how the posteriors of several modalities become one, and `weights`, pi of the
    modalities in it. It may add to `private_scales`, the log-variances (private latent,) of the distributions
    N(0, .) that the private latents of generated modalities are drawn from; N(0, I) where there is none. By
    `learn_weights` it has `mean` take weights that are parameters.

    Args:
        modalities: in the order of the store.
        shared_latent, private_latent: dimensions of c and of each s_j (0: no subspaces).
        network_width: relative to the paper's.
        own_networks: modality -> networks in place of the usual ones.
        likelihoods: modality -> its likelihood; the default of its kind where there is none.
        likelihood_scale: of all modalities whose likelihood has a scale, or of each; where there is none, the
            default of the likelihood. `learned`: the logarithm of each is a parameter.
    """

    def __init__(
        self,
        modalities: list[Modality],
        *,
        shared_latent: int,
        private_latent: int,
        network_width: float = 1.0,
        own_networks: Mapping[str, Any] = {},
        likelihoods: Mapping[str, str] = {},
        likelihood_scale: LikelihoodScale = None,
    ):
        super().__init__()
        self.modalities = {m.name: m for m in modalities}
        self.shared_latent, self.private_latent = shared_latent, private_latent
        self.own_networks = own_networks
        self.mean: Mean = geometric
        self.weights = dict.fromkeys(self.modalities, 1.0)
        self.weight_logits: nn.Parameter | None
        self.register_parameter("weight_logits", None)
        self.likelihoods: dict[str, str] = {}
        self.likelihood_scales: dict[str, float | None] = {}
        self.log_scales = nn.ParameterDict()
        self.scales: dict[str, Scale] = {}
        """Of the vectors that people have in units of their own; a loaded model has those of its data."""
        self.forms: dict[str, str] = {}
        """How the rows of modalities were made, as their kind of dataset says; likewise."""
        self.encoders, self.heads, self.decoders = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for m in modalities:
            known = kind_of(m).LIKELIHOODS
            likelihood = likelihoods.get(m.name, next(iter(known)))
            scale = _scale_of(m.name, known[likelihood], likelihood_scale)
            if likelihood_scale == "learned" and scale is not None:
                self.log_scales[m.name] = nn.Parameter(torch.tensor(math.log(scale)))
            self.likelihoods[m.name], self.likelihood_scales[m.name] = likelihood, scale
            latent = shared_latent + private_latent
            body, features, decoder = networks.build(
                m.kind, m.shape, latent, network_width, likelihood, own_networks.get(m.name)
            )
            self.encoders[m.name], self.decoders[m.name] = body, decoder
            self.heads[m.name] = nn.Linear(features, 2 * latent)
        self.private_scales = nn.ParameterDict()
        self.to(memory_format=torch.channels_last)  # the layout convolutions are fastest in

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def prepare(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """Turn files, pictures, arrays and words into what `encode` and `generate` take.

        They are prepared as those the model was trained on; :mod:`mmjsd.modalities.preparation` says how.

        Args:
            given: modality -> what it is, or a list: ``{"image": "face.jpg", "text": ["smiling", "young"]}``.
                An image is its file, a PIL image, or an array of uint8 or of floats in 0..1, a text its
                words, a vector its values in the units of the data; vectors may also be a DataFrame that has
                the columns of `scales`. One thing beside lists stands for as many.

        Returns:
            modality -> inputs (B, ...) on the model's device: images 0..1, token ids, vectors.

        Raises:
            MmjsdError: no such modality, what cannot be shown faithfully, or lists of different lengths.
        """
        if isinstance(given, Mapping):
            given = {name: self._in_order(name, value) for name, value in given.items()}
        prepared = prepare(given, self.modalities.values(), self.forms)
        rows = {name: torch.from_numpy(x) for name, x in prepared.items()}
        rows = self.standardised(self._with_logarithms({n: x.to(self.device) for n, x in rows.items()}))
        return {name: kind_of(self.modalities[name]).as_input(x) for name, x in rows.items()}

    def _in_order(self, name: str, value: Any) -> Any:
        """The values of a DataFrame in the order of the model's columns; anything else as it is."""
        if not hasattr(value, "to_numpy") or not hasattr(value, "columns"):
            return value
        columns = self.scales[name].columns if name in self.scales else list(value.columns)
        if missing := [column for column in columns if column not in value.columns]:
            raise MmjsdError(f"{name}: has no column {missing[0]!r}; it needs {', '.join(columns)}")
        return value[columns].to_numpy()

    def _with_logarithms(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take log(1 + x) of the columns of vectors (B, D) of which the build took it, if all have one."""
        taken = {}
        for name, scale in self._scales().items():
            if name in values:
                x = values[name]
                if (low := scale.logarithmic & (x <= -1)).any():
                    row, place = low.nonzero()[0].tolist()
                    raise MmjsdError(
                        f"{name}: {scale.columns[place]} must be above -1, for its log(1 + x) is taken "
                        f"(got {x[row, place].item():g})"
                    )
                taken[name] = torch.where(scale.logarithmic, torch.log1p(x), x)
        return {**values, **taken}

    def _without_logarithms(self, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Undo what `_with_logarithms` does, of vectors (B, D)."""
        undone = {
            name: torch.where(scale.logarithmic, torch.expm1(samples[name]), samples[name])
            for name, scale in self._scales().items()
            if name in samples
        }
        return {**samples, **undone}

    def standardised(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring vectors (B, D), with logarithms, to what networks take; leave all else as it is."""
        scaled = {n: (values[n] - s.mean) / s.deviation for n, s in self._scales().items() if n in values}
        return {**values, **scaled}

    def in_units(self, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Undo what `standardised` does, of vectors (B, D)."""
        scaled = {n: samples[n] * s.deviation + s.mean for n, s in self._scales().items() if n in samples}
        return {**samples, **scaled}

    def _scales(self) -> dict[str, Scale]:
        """The scales on the model's device."""
        return {
            name: Scale(scale.columns, *(part.to(self.device) for part in scale[1:]))
            for name, scale in self.scales.items()
        }

    def encode(self, values: Mapping[str, Tensor], computed: Mapping[str, Tensor | None] = {}) -> Posteriors:
        """Compute the unimodal posteriors of the given modalities, (B, ...) each, experts in the order given.

        Args:
            values: modality -> inputs.
            computed: modality -> indices of the samples to encode; the posterior of the others is N(0, I).
                All where there are none.

        Raises:
            MmjsdError: none given, one the model does not have, or one of another shape.
        """
        shared, private = [], {}
        for name, x in self._checked(values).items():
            rows = computed.get(name)
            head = self.heads[name](self.encoders[name](x if rows is None else x[rows])).float()
            if rows is not None:
                head = head.new_zeros(len(x), head.shape[1]).index_copy(0, rows, head)
            means, log_variances = head.chunk(2, dim=-1)
            log_variances = log_variances.clamp(min=_LEAST_LOG_VARIANCE)
            sizes = [self.shared_latent, self.private_latent]
            (c_mean, s_mean), (c_var, s_var) = means.split(sizes, -1), log_variances.split(sizes, -1)
            shared.append(Gaussian(c_mean, c_var))
            private[name] = Gaussian(s_mean, s_var)
        return Posteriors(Gaussian.stack(shared), private)

    def posterior(self, experts: Gaussian, subset: tuple[str, ...]) -> Gaussian | Mixture:
        """q(c|x_A) of a subset A of modalities from its unimodal posteriors (A, B, D).

        One modality: its posterior. Several: their mean, as the objective has it, with the weights
        renormalised over A.
        """
        return experts.at(0) if len(subset) == 1 else self.mean(experts, self._weights_of(subset))

    def learn_weights(self, start: Tensor) -> None:
        """Make the weights that `mean` takes a parameter.

        Args:
            start: of the modalities and, last, the prior, (M + 1,), summing to 1.
        """
        self.weight_logits = nn.Parameter(torch.log(start.clamp(min=_LEAST_WEIGHT)).to(self.device))

    def learnt_weights(self) -> Tensor | None:
        """Give the weights that are learnt, (M + 1,), summing to 1, or None where none are.

        A softmax, but each stays at 1e-6 or more: the logarithms of all are finite, and so are gradients.
        """
        if self.weight_logits is None:
            return None
        rest = 1 - len(self.weight_logits) * _LEAST_WEIGHT
        return _LEAST_WEIGHT + rest * torch.softmax(self.weight_logits, 0)

    def _weights_of(self, subset: tuple[str, ...]) -> Tensor:
        """pi, or the weights that are learnt, renormalised over the subset: (A,)."""
        learnt = self.learnt_weights()
        if learnt is not None:
            names = list(self.modalities)
            weights = learnt.detach()[[names.index(name) for name in subset]]
            return weights / weights.sum()
        weights = torch.tensor([self.weights[name] for name in subset])
        if not weights.sum() > 0:
            weights = torch.ones_like(weights)  # modalities that never weighed in training weigh alike
        return (weights / weights.sum()).to(self.device)

    def decode(self, name: str, private: Tensor, shared: Tensor) -> Tensor:
        """Parameters of p(x_j | s_j, c): (B, private), (B, shared) -> mean, logits of a text, ..."""
        return self.decoders[name](torch.cat([private, shared], dim=-1))

    def decode_mean(self, name: str, private: Tensor, shared: Tensor) -> Tensor:
        """Mean of p(x_j | s_j, c): an image as it is, character probabilities (B, L, A) of a text, ..."""
        output = self.decode(name, private, shared)
        return kind_of(self.modalities[name]).likelihood_mean(output, self.likelihoods[name])

    def log_likelihood(self, name: str, output: Tensor, x: Tensor) -> Tensor:
        """log p(x_j | s_j, c) in nats from the decoder's output: -> (B,)."""
        kind, scale = kind_of(self.modalities[name]), self.likelihood_scale(name)
        return kind.log_likelihood(output, x, self.likelihoods[name], scale)

    def likelihood_scale(self, name: str) -> float | Tensor | None:
        """Tell the scale of p(x_j | s_j, c): a number, () where it is learnt, None if it has none."""
        if name not in self.log_scales:
            return self.likelihood_scales[name]
        # bounded softly, so that there is a gradient: what a decoder reproduces exactly would lead to 0
        return (_LEAST + softplus(self.log_scales[name] - _LEAST)).exp()

    @torch.no_grad()
    def generate(
        self,
        given: Mapping[str, Tensor] | None = None,
        n: int | None = None,
        generator: torch.Generator | None = None,
        targets: tuple[str, ...] | None = None,
    ) -> dict[str, Tensor]:
        """Draw samples of every modality, each the mean of its likelihood given sampled latents.

        Args:
            given: modality -> inputs (B, ...): c is sampled from their posterior. None: from the prior.
            n: number of samples; with `given`, of samples per input (1 when not said), consecutive.
            generator: source of randomness, on the model's device.
            targets: the modalities to generate. None: all.

        Returns:
            modality -> samples (n or B * n, ...); text as character probabilities, vectors in the units of
            the data.

        Raises:
            MmjsdError: neither `given` nor `n`, or inputs that do not fit the model.
        """
        samples = self.generate_from(self.draw_shared(given, n, generator), targets, generator)
        return self._without_logarithms(self.in_units(samples))

    def generate_from(
        self,
        shared: Tensor,
        targets: tuple[str, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Generate the target modalities (default: all) from c (B, D), private latents from their prior."""
        private = self.draw_private(len(shared), targets, generator)
        return {name: self.decode_mean(name, s, shared) for name, s in private.items()}

    def draw_shared(
        self,
        given: Mapping[str, Tensor] | None = None,
        n: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw c, (n or B * n, shared latent), as `generate` does from the same arguments.

        Raises:
            MmjsdError: neither `given` nor `n`, or inputs that do not fit the model.
        """
        if given:
            self._refuse_out_of_range(given)
            experts = self.encode({name: x.to(self.device) for name, x in given.items()}).shared
            experts = Gaussian(*(t.repeat_interleave(n or 1, dim=1) for t in experts))
            return self.posterior(experts, tuple(given)).rsample(generator)
        if n:
            return Gaussian.standard(n, self.shared_latent, device=self.device).rsample(generator)
        raise MmjsdError("generate: say how many samples (n), or what they are given")

    def draw_private(
        self, count: int, targets: tuple[str, ...] | None = None, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw private latents of the target modalities (default: all), (count, D) each."""
        names = self.modalities if targets is None else targets
        return {name: self.private_prior(name, count).rsample(generator) for name in names}

    def private_prior(self, name: str, *shape: int) -> Gaussian:
        """What the private latent of a generated modality is drawn from: (*shape, private latent)."""
        standard = Gaussian.standard(*shape, self.private_latent, device=self.device)
        if name not in self.private_scales:
            return standard
        return Gaussian(standard.mean, self.private_scales[name].expand_as(standard.mean))

    def _checked(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if not values:
            raise MmjsdError(f"encode: no modality given; the model has {', '.join(self.modalities)}")
        for name, x in values.items():
            if name not in self.modalities:
                raise MmjsdError(
                    f"encode: the model has no modality {name!r}; it has {', '.join(self.modalities)}"
                )
            shape, symbols = self.modalities[name].shape, kind_of(self.modalities[name]).ALPHABET
            if symbols is not None and x.is_floating_point():
                shape = (*shape, len(symbols))
            if tuple(x.shape[1:]) != shape:
                raise MmjsdError(f"encode: {name} must have shape (B, *{shape}), got {tuple(x.shape)}")
            if not x.is_floating_point() and (symbols is None or x.dtype != torch.int64):
                wanted = "floats" if symbols is None else "int64 or floats"
                raise MmjsdError(f"encode: {name} must be {wanted}, got {x.dtype}; `prepare` makes them")
        return values

    def _refuse_out_of_range(self, given: Mapping[str, Tensor]) -> None:
        for name, x in self._checked(given).items():
            least, greatest = kind_of(self.modalities[name]).RANGE
            if x.numel() and not (x.min() >= least and x.max() <= greatest):
                low, high = x.min().item(), x.max().item()
                raise MmjsdError(
                    f"generate: {name} must be in {least:.4g}..{greatest:.4g}, got {low:.4g}..{high:.4g}; "
                    "`prepare` makes such inputs"
                )


def _scale_of(name: str, default: float | None, scale: LikelihoodScale) -> float | None:
    """The scale of a modality's likelihood, of one that is learnt at first; None if it has none."""
    if isinstance(scale, Mapping):
        scale = scale.get(name)
    return default if default is None or scale in (None, "learned") else float(scale)
