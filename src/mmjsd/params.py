"""The parameter file: what it may say, every default, and the one place that resolves it.

A parameter file has ``seeds``, ``datasets``, ``runs`` and the shared defaults ``training`` and
``evaluation``. A run names only what differs from ``training``; :func:`load` resolves every run in full.
"""

import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmjsd.errors import MmjsdError

__all__ = [
    "CLUSTERS",
    "MODALITIES",
    "OPTIONS",
    "Dataset",
    "Evaluation",
    "ParameterError",
    "Params",
    "Run",
    "Training",
    "load",
    "schema",
]

#: The modalities of each kind of dataset, in the order of its store.
MODALITIES: dict[str, tuple[str, ...]] = {
    "mnist_svhn_text": ("mnist", "svhn", "text"),
    "celeba": ("image", "text"),
}

#: The options that each kind of dataset has.
OPTIONS: dict[str, tuple[str, ...]] = {
    "mnist_svhn_text": ("max_per_class", "pairs_per_sample", "standin_train", "standin_test"),
    "celeba": ("random_offset", "skip_unreadable", "standin_train", "standin_val", "standin_test"),
}

#: Of the precision/recall distributions: no set of images may have fewer.
CLUSTERS = 20

# limits beyond which a value can only be a mistake, and would fail in the middle of a run: products of the
# largest factors are finite in float32, the largest counts fit into memory
Weight = Annotated[float, Field(ge=0, le=1e4)]
Images = Annotated[int, Field(ge=CLUSTERS, le=500_000)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class ParameterError(MmjsdError):
    """All faults of a parameter file, one line each: ``file: key: what is wrong``."""


class _Section(BaseModel):
    # strict: "5" is not 5, and true is not 1; a typo in a key is an error, not a default
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class DatasetOptions(_Section):
    max_per_class: Annotated[int, Field(ge=2, le=10**6)] = 10000
    """Rows of a class used per split, at most."""
    pairs_per_sample: Annotated[int, Field(gt=0, le=100)] = 20
    """How often each row is paired."""
    standin_train: Images = 10000
    """Training images of each stand-in source."""
    standin_val: Annotated[int, Field(ge=10, le=500_000)] = 1000
    """Validation images of the stand-in of CelebA."""
    standin_test: Images = 2000
    """Test images of each stand-in source."""
    random_offset: bool = True
    """CelebA: start each text at a random place, as the paper does; at its first is easier to learn."""
    skip_unreadable: bool = False
    """CelebA: leave out images that are missing or damaged rather than stop."""


class Dataset(_Section):
    kind: Literal["mnist_svhn_text", "celeba"]
    """What the dataset consists of."""
    source: Annotated[str, Field(min_length=1)] = "standin"
    """`standin` (generated offline), `download` (the official files), or a folder that holds them."""
    seed: Seed = 0
    """Seed of the stand-in and of the pairing."""
    options: DatasetOptions = DatasetOptions()

    @property
    def modalities(self) -> tuple[str, ...]:
        return MODALITIES[self.kind]

    @property
    def has_attributes(self) -> bool:
        """Whether the labels are binary attributes rather than a class."""
        return self.kind == "celeba"

    @property
    def own_options(self) -> dict[str, Any]:
        """The options that this kind of dataset has."""
        return {name: getattr(self.options, name) for name in OPTIONS[self.kind]}


class Training(_Section):
    """Model and training options shared by all runs; any run may override any of them."""

    shared_latent: Annotated[int, Field(gt=0, le=4096)] = 20
    """Dimensions of the shared latent c."""
    private_latent: Annotated[int, Field(ge=0, le=4096)] = 0
    """Dimensions of each modality's private latent s_j; 0: no modality-specific subspaces."""
    network_width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Width of the networks (hidden units, channels) relative to those of the paper."""
    dynamic_prior: Literal["geometric", "arithmetic"] = "geometric"
    """Abstract mean of mmJSD: `geometric` (closed form) or `arithmetic` (mixture, Monte Carlo)."""
    beta: Weight = 2.5
    """Weight of all divergences."""
    beta_content: Weight = 1.0
    """Weight of the shared latent's divergence, times beta."""
    beta_style: Weight = 1.0
    """Weight of the private latents' divergences, times beta."""
    kl_warmup_epochs: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Epochs over which beta grows from 0, step by step; 0: it has its value from the start."""
    style_weights: dict[str, Weight] = {}
    """b_j: weight of one modality's private divergence, times beta_style; 1 where not given."""
    weights: dict[str, Weight] = {}
    """pi: weight of each modality, and of `prior`, in the divergence; equal where none is given."""
    reconstruction_weights: dict[str, Weight] = {}
    """w_j: weight of each log-likelihood; largest data size over own size where not given."""
    likelihood_scale: Annotated[float, Field(ge=1e-4, le=1e4)] = 0.75
    """Scale of the Laplace likelihood of images (values in 0..1)."""
    epochs: Annotated[int, Field(gt=0, le=10**6)] = 100
    """Passes through the training pairs."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 256
    """Samples of one step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Learning rate of Adam."""
    gradient_clipping: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Largest norm of a step's gradient, all parameters together; longer ones are scaled down. null: any."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|(cuda|xpu)(:(0|[1-9][0-9]?))?)$")] = "auto"
    """`auto` (a GPU if one works, or `cpu`), `cpu`, `cuda[:N]` (NVIDIA, AMD), `mps` (Apple), `xpu[:N]`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast of the networks; `auto`: bfloat16 on processors that compute it natively, else float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; `auto`: when the run is long enough to repay it, and it works; `on`: or stop."""
    resident_bytes: Annotated[int, Field(ge=0, le=2**50)] | None = None
    """Most training data kept in the memory of the device; more is streamed. null: half of what is free."""
    threads: Threads = 2
    """Processor threads of one run; the last bits of the numbers depend on it."""


class Run(Training):
    dataset: str
    """Key of a dataset."""
    objective: Literal["mmjsd", "mvae", "mmvae"]
    """`mmjsd` (Jensen-Shannon), `mvae` (product of experts) or `mmvae` (mixture of experts)."""


class Evaluation(_Section):
    """How trained models are judged."""

    train_samples: Annotated[int, Field(ge=10, le=10**6)] = 500
    """Training samples the logistic regression of the representation is fitted on, at most."""
    test_samples: Annotated[int, Field(ge=10, le=10**6)] | None = None
    """Test pairs of the coherence, at most: the first of a fixed permutation; null: all of them."""
    random_samples: Annotated[int, Field(ge=10, le=10**6)] = 10000
    """Samples from the prior of the random coherence."""
    classifier_epochs: Annotated[int, Field(gt=0, le=10**4)] = 10
    """Passes through the rows of a modality its classifier is trained for."""
    quality_samples: Annotated[int, Field(ge=CLUSTERS, le=10**6)] = 10000
    """Real and generated images that the quality compares, at most."""
    embedding: Literal["classifier", "inception"] = "classifier"
    """Where it compares them: features of the dataset's own classifier, or of Inception (FID proper)."""
    inception_weights: str | None = None
    """torch-fidelity's file of Inception weights, or `download`: fetched by torch-fidelity."""
    likelihood_pairs: Annotated[int, Field(ge=2, le=10**6)] = 1000
    """Test pairs of the log-likelihoods, at most: the first of a fixed permutation."""
    importance_samples: Annotated[int, Field(gt=0, le=10**4)] = 100
    """K: samples of the latents of each pair by which its log-likelihoods are estimated."""
    threads: Threads = 2
    """Processor threads of one evaluation; the last bits of the numbers depend on it."""


class Params(_Section):
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)] = [1]
    """Every run is trained once per seed."""
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    """Key -> dataset; the key names the store, the results folder and the MLflow experiment."""
    training: Training = Training()
    """Defaults of all runs."""
    evaluation: Evaluation = Evaluation()
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    """Key -> run; the key names the results folder and the MLflow run."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_NAME = 100
#: What lies beside the folders that datasets and runs give their names to.
_TAKEN = re.compile(r"classifiers|figures|metrics|.*\.(csv|html|json|md|tsv)")


def _cross_faults(params: Params) -> Iterator[str]:
    """Faults that involve more than one key."""
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: must differ from each other (got {_short(params.seeds)})"
    if params.evaluation.embedding == "inception":
        weights = params.evaluation.inception_weights
        if not weights:
            yield (
                "evaluation.inception_weights: the embedding inception needs a file of weights, or `download`"
            )
        elif weights != "download" and not os.path.isfile(weights):
            yield f"evaluation.inception_weights: must be `download` or an existing file (got {weights!r})"
    for section in ("datasets", "runs"):
        for name in getattr(params, section):
            if not _NAME.fullmatch(name):
                yield f"{section}.{name}: a key names a folder: letters, digits, '_', '-' and '.' only"
            elif len(name) > _LONGEST_NAME:
                yield f"{section}.{name}: a key names a folder: at most {_LONGEST_NAME} characters"
            elif _TAKEN.fullmatch(name):
                yield f"{section}.{name}: files of the results have such a name; choose another"
    for name, dataset in params.datasets.items():
        if hasattr(dataset, "kind") and isinstance(dataset.options, DatasetOptions):
            for option in sorted(dataset.options.model_fields_set.difference(OPTIONS[dataset.kind])):
                known = ", ".join(OPTIONS[dataset.kind])
                yield f"datasets.{name}.options.{option}: not an option of {dataset.kind}; known are {known}"
        source = getattr(dataset, "source", "standin")
        if source not in ("standin", "download") and not os.path.isdir(source):
            yield f"datasets.{name}.source: must be standin, download or an existing folder (got {source!r})"
    for name, run in params.runs.items():
        if run.kl_warmup_epochs > run.epochs:
            yield (
                f"runs.{name}.kl_warmup_epochs: must be <= epochs, or beta is never reached "
                f"(got {run.kl_warmup_epochs} of {run.epochs} epochs)"
            )
        key = getattr(run, "dataset", None)
        if key is not None and key not in params.datasets:
            yield f"runs.{name}.dataset: no such dataset{_did_you_mean(key, params.datasets)} (got {key!r})"
        elif key is not None and hasattr(params.datasets[key], "kind"):
            yield from (
                f"runs.{name}.{fault}" for fault in _weight_faults(run, params.datasets[key].modalities)
            )


def _weight_faults(run: Run, modalities: tuple[str, ...]) -> Iterator[str]:
    for key in ("weights", "style_weights", "reconstruction_weights"):
        known = (*modalities, "prior") if key == "weights" else modalities
        for modality in getattr(run, key):
            if modality not in known:
                yield f"{key}.{modality}: no such modality; the dataset has {', '.join(known)}"
    if run.weights:
        if missing := [m for m in (*modalities, "prior") if m not in run.weights]:
            yield f"weights: give all of them or none (missing: {', '.join(missing)})"
        elif max(run.weights[m] for m in modalities) < 1e-6:  # far smaller ones are 0 in float32
            yield "weights: at least one modality needs a weight >= 1e-06"
    if run.style_weights and not run.private_latent:
        yield "style_weights: without private_latent there is nothing to weigh; leave them out"


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (1e-3 is one, 010 and 1:30 are none), `on` and `off` as words, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {_short(key)} must be text (put it in quotes)", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_REPLACED = {f"tag:yaml.org,2002:{tag}" for tag in ("bool", "int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] not in _REPLACED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d{0,99})$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(\.\d+|\d+\.\d*([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+[eE][-+]?\d+|\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def load(path: str | Path = "params.yaml") -> Params:
    """Read, check and resolve a parameter file.

    Raises:
        ParameterError: every fault of the file at once, each line as ``path: key: fault``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        raw = yaml.load(text, _Loader)
    except FileNotFoundError:
        raise ParameterError(f"{path}: no such parameter file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(
            f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or 'not UTF-8'})"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ParameterError(f"{path}: not valid YAML{where}: {problem}") from None
    except (ValueError, KeyError, IndexError, AttributeError):
        raise ParameterError(f"{path}: not valid YAML: a value does not fit its tag (!!...)") from None
    except RecursionError:
        raise ParameterError(f"{path}: nested too deeply or an alias refers to itself") from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{path}: must be a mapping with the keys datasets and runs")
    return _resolve(raw, str(path))


def _resolve(raw: dict[str, Any], path: str) -> Params:
    shared = raw["training"] if isinstance(raw.get("training"), dict) else {}
    given = raw["runs"] if isinstance(raw.get("runs"), dict) else {}
    runs = {name: {**shared, **run} if isinstance(run, dict) else run for name, run in given.items()}
    lines: list[str] = []
    faulty: set[tuple] = set()
    params = None
    try:
        params = Params.model_validate({**raw, **({"runs": runs} if given else {})})
    except ValidationError as error:
        for fault in error.errors():
            location = fault["loc"]
            faulty.add(location[:3])
            of_run = len(location) > 2 and location[0] == "runs" and isinstance(given[location[1]], dict)
            if of_run and location[2] in shared and location[2] not in given[location[1]]:
                continue  # a fault of the shared defaults, reported there
            lines.append(_explain(fault))
    lines += _cross_faults(params or _sound_part(raw, runs, faulty))
    if params is None or lines:
        told = "\n".join(" ".join(f"{path}: {line}".splitlines()) for line in lines)
        raise ParameterError(told.encode(errors="backslashreplace").decode())
    return params


def _sound_part(raw: dict[str, Any], runs: dict[str, Any], faulty: set[tuple]) -> Params:
    """What is left of a faulty file without its faulty keys, so that its other faults are found too."""

    def kept(entry: Any, *where: str) -> dict:
        known = entry.items() if isinstance(entry, dict) else ()
        return {key: value for key, value in known if (*where, key) not in faulty}

    def sound(section: str, model: type[BaseModel], entries: Any) -> dict:
        return {
            name: model.model_construct(
                **kept(entry, section, name)
                | ({"private_latent": 1} if (section, name, "private_latent") in faulty else {})
            )
            for name, entry in (entries.items() if isinstance(entries, dict) else ())
            if isinstance(entry, dict)
        }

    return Params.model_construct(
        seeds=raw.get("seeds", [1]) if not any(where[0] == "seeds" for where in faulty) else [1],
        datasets=sound("datasets", Dataset, raw.get("datasets")),
        runs=sound("runs", Run, runs),
        evaluation=Evaluation.model_construct(**kept(raw.get("evaluation"), "evaluation")),
    )


_FIELDS = {"datasets": Dataset, "runs": Run, "training": Training, "evaluation": Evaluation}


def _explain(fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    context = fault.get("ctx", {})
    got = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            section: Any = Params if len(location) == 1 else _FIELDS[location[0]]
            if location[0] == "datasets" and location[2:-1] == ["options"]:
                section = DatasetOptions
            return f"{'.'.join(location)}: unknown key{_did_you_mean(location[-1], section.model_fields)}"
        case "missing":
            return f"{'.'.join(location)}: is needed"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
            sign, key = {
                "greater_than": (">", "gt"),
                "greater_than_equal": (">=", "ge"),
                "less_than": ("<", "lt"),
                "less_than_equal": ("<=", "le"),
            }[kind]
            message = f"must be {sign} {context[key]:g}"
        case "literal_error":
            message = f"must be {context['expected']}"
            if isinstance(got, str):
                message += _did_you_mean(got, re.findall(r"'([^']*)'", context["expected"]))
        case "int_type" | "int_from_float":
            message = "must be a whole number"
            got = json.dumps(got, ensure_ascii=False) if isinstance(got, str) else got
        case "float_type":
            message = "must be a number"
            got = json.dumps(got, ensure_ascii=False) if isinstance(got, str) else got
        case "finite_number":
            message = "must be finite"
        case "string_type":
            message = "must be text"
        case "string_pattern_mismatch":
            message = "must be auto, cpu, cuda, cuda:N, mps, xpu or xpu:N"
        case "too_short" | "string_too_short":
            message = "must not be empty"
        case "dict_type" | "model_type" | "model_attributes_type":
            message = "must be a mapping"
        case "list_type":
            message = "must be a list"
        case _:
            message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{'.'.join(location)}: {message} (got {_short(got)})"


def _short(value: Any) -> str:
    try:
        if isinstance(value, (dict, list, bool, type(None))):
            text = ""
            # piece by piece: aliases within aliases can make a short file a value of any length
            for piece in json.JSONEncoder(default=_briefly).iterencode(value):
                text += piece
                if len(text) > 60:
                    break
        else:
            text = str(value)
    except ValueError:
        text = "what cannot be shown"  # a number of thousands of digits, an alias that refers to itself
    return text if len(text) <= 60 else text[:57] + "..."


def _briefly(value: Any) -> str:
    """Of what YAML has and JSON has not: dates, bytes, sets."""
    return f"a {type(value).__name__}"


def _did_you_mean(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def schema() -> str:
    """JSON schema of the parameter file, for editors."""
    document = Params.model_json_schema()
    # in the file a run may leave out whatever `training` gives
    document["title"] = "mmjsd parameters"
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
