"""The parameter file: read, checked and resolved in one place.

A parameter file has `seeds`, `datasets`, `runs`, `sweeps` and the shared defaults `training` and
`evaluation`. A run names only what differs from `training`; :func:`load` resolves every run in full. A sweep
is nothing but more runs.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, create_model

from mmjsd.errors import MmjsdError
from mmjsd.params import faults, sweeps
from mmjsd.params.faults import Place
from mmjsd.params.locations import located
from mmjsd.params.model import (
    Dataset,
    Evaluation,
    Params,
    Run,
    Sweep,
    Training,
    dataset_model,
    evaluation_model,
    run_model,
    sweep_model,
    training_model,
)
from mmjsd.params.reading import read_yaml
from mmjsd.params.types import CLUSTERS, Section
from mmjsd.registry import entries

__all__ = [
    "CLUSTERS",
    "Dataset",
    "Evaluation",
    "ParameterError",
    "Params",
    "Run",
    "Training",
    "load",
    "make_dataset",
    "make_evaluation",
    "make_run",
    "read_yaml",
    "schema",
]


S = TypeVar("S", bound=Section)


class ParameterError(MmjsdError):
    """All faults of a parameter file, one line each: ``file: key: what is wrong``."""


def load(path: str | Path = "params.yaml") -> Params:
    """Read, check and resolve a parameter file.

    Raises:
        ParameterError: every fault of the file at once, each line as ``path: key: fault``.
    """
    try:
        raw = read_yaml(path)
    except FileNotFoundError:
        raise ParameterError(
            f"{path}: no such parameter file; work in a project (`mmjsd init FOLDER` lays one down)"
        ) from None
    except MmjsdError as error:
        raise ParameterError(str(error)) from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{path}: must be a mapping with the keys datasets and runs")
    params, lines = _Resolver(raw).resolve()
    if lines:
        told = "\n".join(" ".join(f"{path}: {line}".splitlines()) for line in lines)
        raise ParameterError(told.encode(errors="backslashreplace").decode())
    return params


def make_dataset(kind: str, **values: Any) -> Dataset:
    """A dataset of a kind, defaults included."""
    return dataset_model(kind)(kind=kind, **values)


def make_run(objective: str, **values: Any) -> Run:
    """A run with an objective, defaults included; options that the objective lacks are refused."""
    return run_model(objective)(objective=objective, **values)


def make_evaluation(**values: Any) -> Evaluation:
    """How models are judged, defaults included."""
    return evaluation_model()(**values)


def schema() -> str:
    """JSON schema of the parameter file, for editors."""
    dataset, run = dataset_model(None), run_model(None)
    types: dict[str, Any] = {"datasets": dict[str, dataset], "runs": dict[str, run]}  # type: ignore[valid-type]
    types |= {"training": training_model(), "evaluation": evaluation_model()}
    types |= {"sweeps": dict[str, sweep_model()]}  # type: ignore[misc]
    sections: dict[str, Any] = {name: (kind, Params.model_fields[name]) for name, kind in types.items()}
    document = create_model("Params", __base__=Params, **sections).model_json_schema()
    document["title"] = "mmjsd parameters"
    definitions = document["$defs"]
    for section, key, group in (
        ("Dataset", "kind", "datasets"),
        ("Run", "objective", "objectives"),
        ("Sweep", "objective", "objectives"),
    ):
        definitions[section]["properties"][key]["enum"] = list(entries(group))
    definitions["Sweep"]["properties"]["vary"]["propertyNames"] = {"enum": sorted(run.model_fields)}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


_FILE = Place()


class _Resolver:
    """Checks the sections of a file one by one, and goes on with what is sound of a faulty one."""

    def __init__(self, raw: dict[str, Any]):
        self.raw = raw
        self.lines: dict[str, None] = {}  # once each: the runs of a sweep share faults
        self.runs: dict[str, Run] = {}
        self.places: dict[str, Place] = {}

    def resolve(self) -> tuple[Params, list[str]]:
        outline = self.section(Params, self.raw)
        if not self.raw.keys() & {"runs", "sweeps"}:
            self.tell("runs: is needed")
        datasets = {name: self.dataset(name, raw) for name, raw in _mapping(self.raw.get("datasets")).items()}
        training = self.section(training_model(), self.raw.get("training", {}), Place("training"))
        place, judging = Place("evaluation"), self.raw.get("evaluation", {})
        evaluation = self.section(evaluation_model(), judging, place)
        self.tell(*faults.idle(evaluation, _mapping(judging), _mapping(judging), place))
        for name, raw in _mapping(self.raw.get("runs")).items():
            self.runs[name] = self.run(raw, Place(f"runs.{name}"))
            self.places[name] = Place(f"runs.{name}")
        params = Params.model_construct(
            seeds=outline.seeds,
            datasets=datasets,
            training=training,
            evaluation=evaluation,
            sweeps=self.swept(_mapping(self.raw.get("sweeps"))),
            runs=self.runs,
        )
        self.tell(*faults.cross_faults(params, self.places))
        return params, list(self.lines)

    def dataset(self, name: str, raw: Any) -> Dataset:
        kind = self.chosen(_mapping(raw).get("kind"), "datasets", f"datasets.{name}.kind")
        before = len(self.lines)
        dataset = self.section(dataset_model(kind), raw, Place(f"datasets.{name}"))
        if kind and len(self.lines) == before:
            self.tell(*faults.dataset_faults(name, dataset))
        return dataset

    def run(self, raw: Any, place: Place) -> Run:
        own, shared = _mapping(raw), _mapping(self.raw.get("training"))
        objective = self.chosen(own.get("objective"), "objectives", place.of("objective"))
        model = run_model(objective)
        if not isinstance(raw, dict):
            return self.section(model, raw, place)
        for key in list(own) if objective else ():
            if fault := faults.without_effect(key, str(objective), place):
                self.tell(fault)
                del own[key]
        # of the shared defaults, what concerns it; their faults are told where they stand
        inherited = {key: value for key, value in shared.items() if key in model.model_fields}
        both = {**inherited, **own}
        run = self.section(model, both, place, silent=inherited.keys() - own.keys())
        self.tell(*faults.idle(run, both, own, place))
        return run

    def swept(self, raws: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
        """Make the runs of all sweeps: the varied values of each run of each sweep."""
        outlines, number = {}, 0
        for name, raw in raws.items():
            # what its runs share is checked with them
            own = (
                {key: raw[key] for key in ("vary", "exclude") if key in raw} if isinstance(raw, dict) else raw
            )
            before = len(self.lines)
            outline = self.section(Sweep, own, Place(f"sweeps.{name}"))
            if len(self.lines) == before:
                outlines[name] = outline
                number += sweeps.number_of(outline.vary)
                if number > sweeps.MOST:
                    self.tell(faults.too_many(name, number))
                    outlines = {}
                    break
        found = {name: self.sweep(name, raws[name], outline) for name, outline in outlines.items()}
        return {name: found.get(name, {}) for name in raws}

    def sweep(self, name: str, raw: dict[str, Any], sweep: Sweep) -> dict[str, dict[str, Any]]:
        vary, exclude = sweep.vary, sweep.exclude
        told = [*faults.sweep_faults(name, raw, vary), *faults.exclude_faults(name, vary, exclude)]
        if told:
            self.tell(*told)
            return {}
        choices, idle = sweeps.excluding(vary, exclude)
        self.tell(*(faults.useless(name, exclude, index) for index in idle))
        if not choices:
            self.tell(f"sweeps.{name}.exclude: leaves no combination; delete an entry, or the sweep")
        shared = {key: value for key, value in raw.items() if key not in ("vary", "exclude")}
        before, found = len(self.lines), {}
        for choice in choices:
            place = Place(f"sweeps.{name}", choice)
            given = {key: vary[key][index] for key, index in choice.items()}
            run = self.run(shared | given, place)
            if len(self.lines) > before + faults.ENOUGH:
                break
            if len(self.lines) > before:
                continue  # its name is that of values as they are used, 1.0 where the file says 1
            values = {key: getattr(run, key) for key in given}
            key = sweeps.name_of(name, values)
            fault = faults.name_fault(name, key)
            if key in self.runs:
                fault = f"{place.section}: two of its combinations make the run {key}; exclude one of them"
            if fault:
                self.tell(fault)
            found[key], self.runs[key], self.places[key] = values, run, place
        return found

    def tell(self, *lines: str) -> None:
        self.lines |= dict.fromkeys(lines)

    def chosen(self, value: Any, group: str, where: str) -> str | None:
        """The value, if it is an entry of the group; another text is noted as a fault."""
        if not isinstance(value, str):
            return None  # a fault of its section
        if value in entries(group):
            return value
        self.tell(faults.not_one_of(where, value, group))
        return None

    def section(self, model: type[S], raw: Any, place: Place = _FILE, silent: Collection[str] = ()) -> S:
        """The section, or what is sound of it; its faults are noted, but for those of the silent keys."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            found = error.errors()
        for fault in found:
            inner = fault["loc"]
            if not (inner and inner[0] in silent):
                keys, names = located(model, inner)
                self.tell(faults.explain(fault, names, place.of(*keys)))
        faulty = {fault["loc"][0] for fault in found if fault["loc"]}
        sound = {key: value for key, value in _mapping(raw).items() if key not in faulty}
        for key, value in sound.items():
            section = model.model_fields[key].annotation
            if isinstance(section, type) and issubclass(section, Section):
                sound[key] = section.model_validate(value)  # it has no fault
        return model.model_construct(None, **sound)


def _mapping(raw: Any) -> dict[str, Any]:
    return dict(raw) if isinstance(raw, dict) else {}
