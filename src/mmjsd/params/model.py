"""The sections of a parameter file: what each may say, and every default.

What an objective, a metric or a kind of dataset can be told is declared where it is defined, as keyword-only
arguments, and read from there (:mod:`mmjsd.static`): a new one brings its own keys.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, create_model

from mmjsd.params.sources import Origin, effective, origin
from mmjsd.params.types import (
    Count,
    Device,
    Missing,
    OnlyWith,
    PosteriorName,
    Scales,
    Section,
    Seed,
    Threads,
)
from mmjsd.registry import entries, options_of, resolve
from mmjsd.static import Option

__all__ = [
    "Dataset",
    "Evaluation",
    "Params",
    "Run",
    "Sweep",
    "Training",
    "all_options",
    "dataset_model",
    "described",
    "evaluation_model",
    "fields",
    "run_model",
    "sweep_model",
    "training_model",
]


class Dataset(Section):
    kind: str
    """What the dataset consists of."""
    source: Annotated[str, Field(min_length=1)] = "standin"
    """`standin` (generated offline), `download` (the official files), or a folder that holds them."""
    seed: Seed = 0
    """Seed of the stand-in, of the pairing, and of a split that is drawn."""
    options: Section = Section()

    @property
    def origin(self) -> Origin:
        """What its source is."""
        return origin(self.source)

    @property
    def own_options(self) -> dict[str, Any]:
        """The options of its kind, without those that its source has no use for."""
        return effective(self.source, self.options.model_dump())

    @cached_property
    def described(self) -> Any:
        """Its kind, as its options describe it."""
        return described(self.kind, self.own_options)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the store."""
        return tuple(self.described.MODALITIES)

    @property
    def labels(self) -> str | None:
        """`class`, `attributes`, or None where there are none."""
        return self.described.LABELS


class Training(Section):
    """Model and training options shared by all runs; any run may override any of them."""

    shared_latent: Annotated[int, Field(gt=0, le=4096)] = 20
    """Dimensions of the shared latent c."""
    private_latent: Annotated[int, Field(ge=0, le=4096)] = 0
    """Dimensions of each modality's private latent s_j; 0: no modality-specific subspaces."""
    network_width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Width of the networks (hidden units, channels) relative to those of the paper."""
    networks: dict[str, str] = Field(default_factory=dict)
    """Modality -> file of your own with `encoder(shape, width)` and `decoder(shape, latent, width)`."""
    likelihoods: dict[str, str] = Field(default_factory=dict)
    """Modality -> likelihood: of images `laplace` (default), `normal` or `bernoulli`, of vectors `normal`
    (default) or `laplace`, of texts `categorical`."""
    likelihood_scale: Scales | None = None
    """Scale of the Laplace or normal likelihoods: a number, a number for each modality, or `learned` with the
    weights, one for each modality. null: Laplace 0.75, normal 1."""
    kl_warmup_epochs: Annotated[int, Field(ge=0, le=10**6), OnlyWith("beta", above=0)] = 0
    """Epochs over which beta grows from 0, step by step; 0: it has its value from the start."""
    epochs: Annotated[int, Field(gt=0, le=10**6)] = 100
    """Passes through the training pairs."""
    missing: Missing | None = None
    """Share of the training samples that lose a modality at random: of every modality, or of those named. A
    sample that would lose all keeps one. null: none."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 256
    """Samples of one step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Learning rate of Adam."""
    gradient_clipping: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Largest norm of a step's gradient, all parameters together; longer ones are scaled down. null: any."""
    device: Device = "auto"
    """`auto` (a GPU if one works, or `cpu`), `cpu`, `cuda[:N]` (NVIDIA, AMD), `mps` (Apple), `xpu[:N]`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast of the networks; `auto`: bfloat16 on processors that compute it natively, else float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; `auto`: when the run is long enough to repay it, and it works; `on`: or stop."""
    resident_bytes: Annotated[int, Field(ge=0, le=2**50)] | None = None
    """Most training data kept in the memory of the device; more is streamed. null: half of what is free."""
    threads: Threads = 2
    """Processor threads of a process; the last bits of the numbers depend on it."""
    processes: Annotated[int, Field(gt=0, le=4096)] = 1
    """Processes that share each batch, each on a GPU of its own or on processor cores; the last bits of the
    numbers depend on it."""
    tracking: Literal["live", "after"] = "live"
    """When MLflow has the curves of a run: after each epoch, or once it is evaluated."""
    sample_every: Annotated[int, Field(gt=0, le=10**6)] | None = None
    """Epochs after which samples are drawn, into the run's folder `samples` and MLflow. null: never."""


class Run(Training):
    ASIDE: ClassVar = frozenset({"resident_bytes", "tracking", "sample_every"})
    """What changes no number of a run, and so is in no record."""
    NEWER: ClassVar = frozenset({"missing"})
    """What is in no record where it is null: those of before it was a key are still up to date."""
    ADJUSTABLE: ClassVar = frozenset({"processes"})
    """What may change before a training goes on: there may be another number of GPUs by then."""

    dataset: str
    """Key of a dataset."""
    objective: str
    """The objective that is minimised."""

    @property
    def objective_options(self) -> dict[str, Any]:
        """What its objective is told."""
        return {name: getattr(self, name) for name in options_of("objectives", self.objective)}

    @property
    def recorded(self) -> dict[str, Any]:
        """All that its result depends on."""
        unused = {name for name in self.NEWER if getattr(self, name) is None}
        return self.model_dump(exclude={*self.ASIDE, *unused})


class Evaluation(Section):
    """How trained models are judged."""

    classifier_epochs: Annotated[int, Field(gt=0, le=10**4)] = 50
    """Passes through the rows of a modality that its classifier is trained for, at most: it stops once rows
    that are held out show no improvement."""
    split: Literal["test", "val"] = "test"
    """What runs are compared on; `val`, where the data have it, while options are chosen."""
    posteriors: Annotated[list[PosteriorName], Field(min_length=1)] = ["own"]  # noqa: RUF012, pydantic copies it
    """How the posteriors of several modalities become one: `own`, as the objective of a run has it, and any
    other that its model is to be judged by, `product`, `mixture` or a dynamic prior. The keys of these
    metrics end in `@product`, ..."""
    subsets: Literal["auto", "all"] = "auto"
    """Of the modalities, those that metrics and figures are given: `auto`, all of up to five modalities, and
    of more a number in proportion to theirs, with ten that are generated given each; `all`, 2^M - 1 of M
    modalities, which may be ten."""
    sampler: Literal["prior", "mixture"] = "prior"
    """What random samples are from; `mixture`: also from a mixture fitted to the posteriors of training
    samples. The keys of these metrics have `random_mixture` in place of `random`."""
    sampler_components: Annotated[Count, OnlyWith("sampler", "mixture")] = 10
    """Gaussians of that mixture."""
    threads: Threads = 2
    """Processor threads of one evaluation, classifier or set of figures; the last bits depend on it."""
    device: Device = "auto"
    """What these compute on, as `device` of a run."""

    @property
    def all_subsets(self) -> bool:
        """Whether all subsets are looked at, however many modalities there are."""
        return self.subsets == "all"

    @property
    def mixture_components(self) -> int | None:
        """The components of the mixture sampler, or None without one."""
        return self.sampler_components if self.sampler == "mixture" else None

    if TYPE_CHECKING:  # the options of the metrics

        def __getattr__(self, name: str) -> Any: ...


#: What the name of a run can tell, and values of varied keys.
_VALUE = {"type": ["boolean", "number", "string"]}
_Value = Annotated[Any, WithJsonSchema(_VALUE)]
_Values = Annotated[
    Any, WithJsonSchema({"type": "object", "additionalProperties": _VALUE, "minProperties": 1})
]


class Sweep(Section):
    """What a sweep says beside what its runs have in common."""

    vary: Annotated[dict[str, Annotated[list[_Value], Field(min_length=1)]], Field(min_length=1)]
    """Key of a run -> its values: there is a run for each combination of them."""
    exclude: list[_Values] = Field(default_factory=list)
    """Combinations to leave out: those that have all the values of one of these entries."""


class Params(Section):
    # once loaded, `runs` has those of the sweeps too, and `sweeps` is: key -> run -> varied key -> value
    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [key]} for key in ("runs", "sweeps")]}
    )

    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)] = [1]  # noqa: RUF012, pydantic copies it
    """Every run is trained once per seed."""
    datasets: Annotated[dict[str, Any], Field(min_length=1)]
    """Key -> dataset; the key names the store, the results folder and the MLflow experiment."""
    training: Any = Field(default_factory=dict)
    """Defaults of all runs."""
    evaluation: Any = Field(default_factory=dict)
    """How trained models are judged."""
    runs: Annotated[dict[str, Any], Field(min_length=1)] = Field(default_factory=dict)
    """Key -> run; the key names the results folder and the MLflow run."""
    sweeps: Annotated[dict[str, Any], Field(min_length=1)] = Field(default_factory=dict)
    """Key -> what its runs share, and the values of what they differ in. Each combination is a run, named
    as digits-beta=1.0-objective=mvae."""


def described(kind: str, options: Mapping[str, Any]) -> Any:
    """Import a kind of dataset; where its modalities depend on its options, as these describe it.

    Raises:
        MmjsdError: there is no such kind.
    """
    module = resolve("datasets", kind)
    return module.of(options) if hasattr(module, "of") else module


@cache
def dataset_model(kind: str | None) -> type[Dataset]:
    """The section of a dataset of a kind, with the options that its builder declares; None: of any."""
    declared = all_options("datasets") if kind is None else options_of("datasets", kind)
    options = create_model("Options", __base__=Section, **fields(declared))
    return create_model("Dataset", __base__=Dataset, options=(options, options()))


@cache
def run_model(objective: str | None) -> type[Run]:
    """The section of a run, with the options that its objective declares; None: of any."""
    declared = all_options("objectives") if objective is None else options_of("objectives", objective)
    return create_model("Run", __base__=Run, **fields(declared))


@cache
def sweep_model() -> type[Sweep]:
    """The section of a sweep, with all that its runs may share."""
    runs = run_model(None).model_fields
    names = ("dataset", "objective")  # a run needs them; a sweep may vary them
    shared = {key: (str, Field(default_factory=str, description=runs[key].description)) for key in names}
    return create_model("Sweep", __base__=(training_model(), Sweep), **shared)  # type: ignore[call-overload]


@cache
def training_model() -> type[Training]:
    """The shared defaults: the options of every objective are known there."""
    return create_model("Training", __base__=Training, **fields(all_options("objectives")))


@cache
def evaluation_model() -> type[Evaluation]:
    """The section of the evaluation, with the options that the metrics declare."""
    return create_model("Evaluation", __base__=Evaluation, **fields(all_options("metrics")))


def all_options(group: str) -> dict[str, Option]:
    """The options of every entry of a group of the registry."""
    return {name: option for entry in entries(group) for name, option in options_of(group, entry).items()}


def fields(options: Mapping[str, Option]) -> dict[str, Any]:
    """Options as `pydantic.create_model` takes them."""
    return {
        name: (option.annotation, Field(option.default, description=option.text or None))
        for name, option in options.items()
    }
