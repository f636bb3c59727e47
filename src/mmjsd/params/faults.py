"""What is wrong with a parameter file, in words: one line a fault, each with its key."""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmjsd.errors import choice_of, did_you_mean
from mmjsd.params.model import Dataset, Evaluation, Params, Run, all_options
from mmjsd.params.types import Weights
from mmjsd.registry import entries, options_of

__all__ = ["cross_faults", "explain", "not_one_of", "without_effect"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_NAME = 100
#: What lies beside the folders that datasets and runs give their names to.
_TAKEN = re.compile(r"classifiers|figures|metrics|.*\.(csv|html|json|md|tsv)")

_LIMITS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}


def explain(fault: Mapping[str, Any], known: Collection[str]) -> str:
    """Put a fault that pydantic found into a line.

    Args:
        fault: one of its `errors()`.
        known: the keys of the section that it is in.
    """
    location = [str(part) for part in fault["loc"]]
    context = fault.get("ctx", {})
    got = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{'.'.join(location)}: unknown key; {did_you_mean(location[-1], known)}"
        case "missing":
            return f"{'.'.join(location)}: is needed"
        case kind if kind in _LIMITS:
            sign, key = _LIMITS[kind]
            message = f"must be {sign} {context[key]:g}"
        case "literal_error":
            message = f"must be {context['expected']}"
            if isinstance(got, str):
                message += "; " + did_you_mean(got, re.findall(r"'([^']*)'", context["expected"]))
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


def not_one_of(where: str, value: str, group: str) -> str:
    """A name that the registry does not have, as a line."""
    known = entries(group)
    hint = did_you_mean(value, known)
    return f"{where}: must be {choice_of(known)}; {hint} (got {_short(value)})"


def _short(value: Any) -> str:
    try:
        if isinstance(value, (dict, list, bool, type(None))):
            text = ""
            # piece by piece: aliases within aliases can make a short file a value of any length
            for piece in json.JSONEncoder(default=_briefly, allow_nan=True).iterencode(value):
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


# --- faults that involve more than one key ----------------------------------------------------------------


def cross_faults(params: Params) -> Iterator[str]:
    """Tell the faults that involve more than one key, of parameters as far as their sections are sound."""
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: must differ from each other (got {_short(params.seeds)})"
    yield from _embedding_faults(params.evaluation)
    for section in ("datasets", "runs"):
        yield from _name_faults(section, getattr(params, section))
    for name, dataset in params.datasets.items():
        if dataset.origin == "folder" and not os.path.isdir(dataset.source):
            got = repr(_short(dataset.source)) if len(dataset.source) > 60 else repr(dataset.source)
            yield f"datasets.{name}.source: must be standin, download or an existing folder (got {got})"
    for name, run in params.runs.items():
        yield from (f"runs.{name}.{fault}" for fault in _run_faults(run, params.datasets))


def _embedding_faults(evaluation: Evaluation) -> Iterator[str]:
    if getattr(evaluation, "embedding", None) != "inception":
        return
    weights = getattr(evaluation, "inception_weights", None)
    if not weights:
        yield "evaluation.inception_weights: the embedding inception needs a file of weights, or `download`"
    elif weights != "download" and not os.path.isfile(weights):
        yield f"evaluation.inception_weights: must be `download` or an existing file (got {weights!r})"


def _name_faults(section: str, names: Collection[str]) -> Iterator[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"{section}.{name}: a key names a folder: letters, digits, '_', '-' and '.' only"
        elif len(name) > _LONGEST_NAME:
            yield f"{section}.{name}: a key names a folder: at most {_LONGEST_NAME} characters"
        elif _TAKEN.fullmatch(name):
            yield f"{section}.{name}: files of the results have such a name; choose another"


def _run_faults(run: Run, datasets: Mapping[str, Dataset]) -> Iterator[str]:
    if run.kl_warmup_epochs > run.epochs:
        yield (
            f"kl_warmup_epochs: must be <= epochs, or beta is never reached "
            f"(got {run.kl_warmup_epochs} of {run.epochs} epochs)"
        )
    dataset = getattr(run, "dataset", None)
    if dataset is None:
        return
    if dataset not in datasets:
        yield f"dataset: no such dataset; {did_you_mean(dataset, datasets)} (got {dataset!r})"
    elif getattr(datasets[dataset], "kind", None) in entries("datasets"):
        yield from _weight_faults(run, datasets[dataset].modalities)


def _weight_faults(run: Run, modalities: tuple[str, ...]) -> Iterator[str]:
    known_objective = getattr(run, "objective", None) in entries("objectives")
    options = options_of("objectives", run.objective) if known_objective else all_options("objectives")
    for key, option in options.items():
        if option.annotation != Weights:
            continue
        known = (*modalities, "prior") if key == "weights" else modalities
        for modality in getattr(run, key):
            if modality not in known:
                yield f"{key}.{modality}: no such modality; the dataset has {', '.join(known)}"
    if weights := getattr(run, "weights", None):
        if missing := [m for m in (*modalities, "prior") if m not in weights]:
            yield f"weights: give all of them or none (missing: {', '.join(missing)})"
        elif max(weights[m] for m in modalities) < 1e-6:  # far smaller ones are 0 in float32
            yield "weights: at least one modality needs a weight >= 1e-06"
    if getattr(run, "style_weights", None) and not run.private_latent:
        yield "style_weights: without private_latent there is nothing to weigh; leave them out"


def without_effect(key: str, objective: str) -> str | None:
    """Why an option has no effect with an objective, if others have it and that one has not."""
    if key not in all_options("objectives") or key in options_of("objectives", objective):
        return None
    having = [name for name in entries("objectives") if key in options_of("objectives", name)]
    return f"{key}: has no effect with {objective}, only with {', '.join(having)}; leave it out"
