"""What is wrong with a parameter file, in words: one line a fault, each with its key."""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmjsd import registry
from mmjsd.errors import choice_of, did_you_mean
from mmjsd.params import sweeps
from mmjsd.params.model import Dataset, Evaluation, Params, Run, all_options, run_model
from mmjsd.params.sources import ORIGINS
from mmjsd.params.types import OnlyWith, Section, Weights
from mmjsd.registry import entries, options_of, resolve
from mmjsd.subsets import MOST

__all__ = [
    "ENOUGH",
    "Place",
    "cross_faults",
    "dataset_faults",
    "exclude_faults",
    "explain",
    "idle",
    "name_fault",
    "not_one_of",
    "sweep_faults",
    "too_many",
    "useless",
    "without_effect",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VALUE = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST_NAME = 100
ENOUGH = 100
"""Lines on one sweep: its other runs are left alone, for a short file can give thousands of them as many."""
#: What lies beside the folders that datasets and runs give their names to.
_TAKEN = re.compile(r"classifiers|figures|metrics|.*\.(csv|html|json|md|tsv)")

#: How a source is named that is one of these.
_ORIGIN = {"standin": "standin", "download": "download", "folder": "an existing folder"}

_LIMITS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
#: Sections of which a file has one at least.
_EITHER = {"runs": "sweeps", "sweeps": "runs"}


class Place(NamedTuple):
    """Where a section stands in the file, as its faults are told."""

    section: str = ""
    """Its own key, or the sweep that a run is of; nothing: the whole file."""
    varied: Mapping[str, int] = {}
    """Of a sweep's run: key -> index of the value."""

    def of(self, *keys: Any) -> str:
        """Tell where a key stands, of a varied one its value."""
        index = f"[{self.varied[keys[0]]}]" if keys and keys[0] in self.varied else ""
        first = [self.whole(keys[0]) + index] if keys else filter(None, [self.section])
        return ".".join([*first, *map(str, keys[1:])])

    def whole(self, key: str) -> str:
        """Tell where a key stands, of a varied one all of its values."""
        return ".".join(filter(None, [self.section, "vary" if key in self.varied else "", key]))


def explain(fault: Mapping[str, Any], known: Collection[str], where: str) -> str:
    """Put a fault that pydantic found into a line.

    Args:
        fault: one of its `errors()`.
        known: the keys of the section that it is in.
        where: the key that it is of.
    """
    context = fault.get("ctx", {})
    got = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {did_you_mean(str(fault['loc'][-1]), known)}"
        case "missing":
            return f"{where}: is needed"
        case "union_tag_not_found":
            return f"{where}.{context['discriminator'][1:-1]}: is needed"
        case "union_tag_invalid":
            where = f"{where}.{context['discriminator'][1:-1]}"
            known, got = re.findall(r"'([^']*)'", context["expected_tags"]), context["tag"]
            message = f"must be {choice_of(known)}; {did_you_mean(got, known)}"
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
            if where in _EITHER:
                message += f"; leave the key out where there are {_EITHER[where]}"
        case "dict_type" | "model_type" | "model_attributes_type":
            message = "must be a mapping"
        case "list_type":
            message = "must be a list"
        case _:
            message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{where}: {message} (got {_short(got)})"


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


def cross_faults(params: Params, places: Mapping[str, Place]) -> Iterator[str]:
    """Tell the faults that involve more than one key, of parameters as far as their sections are sound.

    Args:
        params: whose they are.
        places: where each run stands.
    """
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: must differ from each other (got {_short(params.seeds)})"
    yield from _embedding_faults(params.evaluation)
    yield from _posterior_faults(params.evaluation)
    yield from _name_faults("datasets", params.datasets)
    yield from _name_faults("runs", [name for name, place in places.items() if not place.varied])
    yield from _name_faults("sweeps", params.sweeps)
    for name, dataset in params.datasets.items():
        known = getattr(dataset, "kind", None) in entries("datasets")
        origins = registry.constant_of("datasets", dataset.kind, "ORIGINS", ORIGINS) if known else ORIGINS
        if dataset.origin not in origins or (
            dataset.origin == "folder" and not os.path.isdir(dataset.source)
        ):
            got = repr(_short(dataset.source)) if len(dataset.source) > 60 else repr(dataset.source)
            *words, last = [_ORIGIN[origin] for origin in origins]
            choice = " or ".join([", ".join(words), last] if words else [last])
            yield f"datasets.{name}.source: must be {choice} (got {got})"
        if known and params.evaluation.subsets == "all" and (count := len(dataset.modalities)) > MOST:
            yield (
                f"evaluation.subsets: must be auto for datasets.{name}: all are {2**count - 1:,} subsets of "
                f"its {count} modalities, and of more than {MOST} only some can be looked at (got all)"
            )
    told: dict[str, set[str]] = {}
    for name, run in params.runs.items():
        place = places[name]
        lines = told.setdefault(place.section, set())
        for fault in _run_faults(run, params.datasets) if len(lines) <= ENOUGH else ():
            key, _, rest = fault.partition(":")
            line = f"{place.of(*key.split('.', 1))}:{rest}"
            lines.add(line)
            yield line


def dataset_faults(name: str, dataset: Dataset) -> Iterator[str]:
    """Tell what its kind finds wrong with options that are sound one by one."""
    find = getattr(resolve("datasets", dataset.kind), "faults", None)
    yield from (f"datasets.{name}.options.{line}" for line in (find(dataset.options) if find else ()))


def _embedding_faults(evaluation: Evaluation) -> Iterator[str]:
    if getattr(evaluation, "embedding", None) != "inception":
        return
    weights = getattr(evaluation, "inception_weights", None)
    if not weights:
        yield "evaluation.inception_weights: the embedding inception needs a file of weights, or `download`"
    elif weights != "download" and not os.path.isfile(weights):
        yield f"evaluation.inception_weights: must be `download` or an existing file (got {weights!r})"


def _posterior_faults(evaluation: Evaluation) -> Iterator[str]:
    posteriors = evaluation.posteriors
    if "own" not in posteriors:
        yield f"evaluation.posteriors: add own, which the tables show (got {_short(posteriors)})"
    if len(set(posteriors)) < len(posteriors):
        yield f"evaluation.posteriors: must differ from each other (got {_short(posteriors)})"


def _name_faults(section: str, names: Collection[str]) -> Iterator[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            of_sweeps = "; the `=` is for the runs of sweeps" if "=" in name and section == "runs" else ""
            yield f"{section}.{name}: a key names a folder: letters, digits, '_', '-' and '.' only{of_sweeps}"
        elif len(name) > _LONGEST_NAME:
            yield f"{section}.{name}: a key names a folder: at most {_LONGEST_NAME} characters"
        elif _TAKEN.fullmatch(name) and section != "sweeps":  # whose key is the start of names
            yield f"{section}.{name}: files of the results have such a name; choose another"


def _run_faults(run: Run, datasets: Mapping[str, Dataset]) -> Iterator[str]:
    if run.kl_warmup_epochs > run.epochs:
        yield (
            f"kl_warmup_epochs: must be <= epochs, or beta is never reached "
            f"(got {run.kl_warmup_epochs} of {run.epochs} epochs)"
        )
    if run.processes > run.batch_size:
        yield f"processes: must be <= batch_size (got {run.processes} for {run.batch_size} samples)"
    if run.processes > 1 and (":" in run.device or run.device == "mps"):
        yield f"processes: each needs a GPU of its own, and device names one ({run.device}); leave out which"
    dataset = getattr(run, "dataset", None)
    if dataset is None:
        return
    if dataset not in datasets:
        yield f"dataset: no such dataset; {did_you_mean(dataset, datasets)} (got {dataset!r})"
    elif getattr(datasets[dataset], "kind", None) in entries("datasets"):
        yield from _network_faults(run, datasets[dataset].modalities)
        yield from _likelihood_faults(run, datasets[dataset].described.MODALITIES)
        yield from _modality_faults(run, datasets[dataset].modalities)


def _modality_faults(run: Run, modalities: tuple[str, ...]) -> Iterator[str]:
    if not modalities:  # of a dataset whose options are at fault, which is told already
        return
    fields = type(run).model_fields.items()
    named = {key: getattr(run, key) for key, field in fields if field.annotation == Weights}
    if isinstance(run.missing, dict):
        named["missing"] = run.missing
    for key, names in named.items():
        known = (*modalities, "prior") if key == "weights" else modalities
        for modality in names:
            if modality not in known:
                yield f"{key}.{modality}: no such modality; the dataset has {', '.join(known)}"
    if run.missing and len(modalities) == 1:
        yield f"missing: the dataset has {modalities[0]} alone, which every sample keeps; leave it out"
    if weights := getattr(run, "weights", None):
        if missing := [m for m in (*modalities, "prior") if m not in weights]:
            yield f"weights: give all of them or none (missing: {', '.join(missing)})"
        elif max(weights[m] for m in modalities) < 1e-6:  # far smaller ones are 0 in float32
            yield "weights: at least one modality needs a weight >= 1e-06"


def _network_faults(run: Run, modalities: tuple[str, ...]) -> Iterator[str]:
    for name, file in run.networks.items():
        if name not in modalities:
            yield f"networks.{name}: no such modality; the dataset has {', '.join(modalities)}"
        elif not os.path.isfile(file):
            yield f"networks.{name}: must be an existing file (got {_short(file)!r})"


def _likelihood_faults(run: Run, modalities: Mapping[str, str]) -> Iterator[str]:
    """Tell the likelihoods that no such modality has, and the scales without effect.

    Args:
        run: that has them.
        modalities: name -> kind and, where that is fixed, shape.
    """
    if not modalities:
        return
    scales: dict[str, dict[str, float | None]] = {}
    for name, form in modalities.items():
        kind = form.partition(" ")[0]
        known = registry.constant_of("modalities", kind, "LIKELIHOODS", {})
        likelihood = run.likelihoods.get(name, next(iter(known)))
        if likelihood not in known:
            got = _short(likelihood)
            yield f"likelihoods.{name}: must be {choice_of(known)}, which {kind}s have (got {got})"
        scales[name] = {likelihood: known.get(likelihood, 1.0)}  # of an unknown one nothing more is told
    own = run.likelihood_scale if isinstance(run.likelihood_scale, Mapping) else {}
    for key, names in (("likelihoods", run.likelihoods), ("likelihood_scale", own)):
        for name in names:
            if name not in modalities:
                yield f"{key}.{name}: no such modality; the dataset has {', '.join(modalities)}"
    for name in own:
        for likelihood, scale in scales.get(name, {}).items():
            if scale is None:
                yield f"likelihood_scale.{name}: its likelihood, {likelihood}, has no scale; leave it out"
    if run.likelihood_scale is not None and not own and not any(any(s.values()) for s in scales.values()):
        yield "likelihood_scale: no modality has a likelihood with a scale; leave it out"


def without_effect(key: str, objective: str, place: Place) -> str | None:
    """Why an option has no effect with an objective, if others have it and that one has not."""
    if key not in all_options("objectives") or key in options_of("objectives", objective):
        return None
    having = [name for name in entries("objectives") if key in options_of("objectives", name)]
    remedy = "leave it out"
    if "objective" in place.varied:
        remedy = f"exclude the combination, `exclude: [{{objective: {objective}}}]`, or {remedy}"
    return f"{place.whole(key)}: has no effect with {objective}, only with {', '.join(having)}; {remedy}"


def idle(section: Section, raw: Mapping[str, Any], own: Collection[str], place: Place) -> Iterator[str]:
    """Tell which options of a section have no effect with the values of others.

    Args:
        section: what is sound of it.
        raw: what it was made of.
        own: the keys that it says itself; what it inherits may be for others.
        place: where it stands.
    """
    faulty = raw.keys() - section.model_fields_set
    for key, field in type(section).model_fields.items():
        if key not in own or key in faulty or not getattr(section, key):  # or says that there is none of it
            continue
        for need in field.metadata:
            if not isinstance(need, OnlyWith) or need.key in faulty or not hasattr(section, need.key):
                continue
            if not need.is_met(getattr(section, need.key)):
                varied = {key, need.key} & place.varied.keys()
                remedy = "exclude the combination, or leave it out" if varied else "leave it out"
                yield f"{place.of(key)}: has no effect without {need}; {remedy}"


# --- sweeps -----------------------------------------------------------------------------------------------


def sweep_faults(name: str, raw: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Tell what is wrong with the keys and values that a sweep varies.

    Args:
        name: of the sweep.
        raw: all that it says.
        vary: the keys with their values, of which there is at least one each.
    """
    place, known = Place(f"sweeps.{name}", dict.fromkeys(vary, 0)), run_model(None).model_fields
    own = [*known, "vary", "exclude"]
    yield from (
        f"{place.section}.{key}: unknown key; {did_you_mean(key, own)}" for key in raw if key not in own
    )
    for key, values in vary.items():
        if key in ("seed", "seeds"):
            yield f"{place.whole(key)}: every run is trained once per seed; list them in `seeds`"
        elif key not in known:
            yield f"{place.whole(key)}: no run has this key; {did_you_mean(key, known)}"
        elif key in raw:
            yield f"{place.section}.{key}: is varied, too; leave out one of the two"
        first: dict[Any, int] = {}
        for index, value in enumerate(values):
            here = f"{place.whole(key)}[{index}]"
            if not isinstance(value, (bool, int, float, str)):
                yield f"{here}: must be a number, true, false or text, to name a run by (got {_short(value)})"
            elif isinstance(value, str) and not _VALUE.fullmatch(value):
                got = json.dumps(_short(value), ensure_ascii=False)
                yield f"{here}: names a folder: letters, digits, '_', '-' and '.' only (got {got})"
            elif (earlier := first.setdefault(sweeps.same(value), index)) != index:
                yield f"{here}: is the same as [{earlier}]; leave one of them out (got {_short(value)})"


def exclude_faults(name: str, vary: Mapping[str, Sequence[Any]], exclude: Sequence[Any]) -> Iterator[str]:
    """Tell which entries cannot exclude anything."""
    for index, entry in enumerate(exclude):
        here = f"sweeps.{name}.exclude[{index}]"
        if not isinstance(entry, dict) or not entry:
            yield f"{here}: must be a mapping of varied keys to values (got {_short(entry)})"
            continue
        for key, value in entry.items():
            if key not in vary:
                yield f"{here}.{key}: is not varied; {did_you_mean(key, vary, 'varied are')}"
            elif not isinstance(value, (bool, int, float, str)):
                yield f"{here}.{key}: must be one of the values (got {_short(value)})"


def useless(name: str, exclude: Sequence[Any], index: int) -> str:
    """An entry that excludes nothing, as a line."""
    return (
        f"sweeps.{name}.exclude[{index}]: excludes no combination that is there without it; correct or "
        f"delete it (got {_short(exclude[index])})"
    )


def too_many(name: str, number: int) -> str:
    """More combinations than can be meant, as a line."""
    return (
        f"sweeps.{name}.vary: makes more than {sweeps.MOST:,} combinations of all sweeps; vary fewer values "
        f"(got {_short(number)})"
    )


def name_fault(sweep: str, name: str) -> str | None:
    """Why a run of a sweep cannot have its name."""
    if len(name) <= _LONGEST_NAME:
        return None
    return (
        f"sweeps.{sweep}: the run {name[:60]}... would have a name of {len(name)} characters, and a folder "
        f"has at most {_LONGEST_NAME}; shorten the sweep's key or vary fewer keys"
    )
