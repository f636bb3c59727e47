"""The steps of the pipeline, in their order. Their paths are relative to the working directory."""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mmjsd import registry
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import presentations
from mmjsd.params import CLUSTERS, Dataset, Evaluation, Params, Run, make_evaluation, make_run
from mmjsd.params.sources import place_of
from mmjsd.pipeline.step import Step, entry
from mmjsd.project import FILES
from mmjsd.provenance.files import sha256_file
from mmjsd.provenance.records import staleness
from mmjsd.reporting.catalogue import CAPTIONS, Entry, dataset_figures, run_figures
from mmjsd.tracking.begun import NOTE, unfinished_run
from mmjsd.tracking.store import why_gone
from mmjsd.variables import cores

if TYPE_CHECKING:  # slow to import
    from mmjsd.data.store import Store
    from mmjsd.models.vae import MultimodalVAE
    from mmjsd.training.history import Row

__all__ = ["STEPS", "used_datasets"]

#: Values from papers, shown beside ours.
PUBLISHED = FILES / "docs/published.yaml"

#: Of the report.
TEMPLATE = Path(__file__).parents[1] / "reporting" / "report.html.j2"

_RUN_FOLDER = "results/{dataset}/{run}/seed-{seed}"
_OTHER_DATA = {"action": "store_true", "help": "even if the store is not the one it was trained on"}
_PUBLISHED_OPTION = {
    "--published": {
        "type": Path,
        "default": PUBLISHED,
        "metavar": "FILE",
        "help": "YAML of values from papers, shown beside yours (default: those that come with mmjsd)",
    }
}


def used_datasets(params: Params) -> list[str]:
    """List the keys of the datasets that have runs; no other is built."""
    return [key for key in params.datasets if any(run.dataset == key for run in params.runs.values())]


class Build(Step):
    """The multimodal store of a dataset."""

    command, keys = "data build", ("dataset",)
    help = "build the store of a dataset"
    message = "building the store of {dataset}"
    folder, record, log = "data", "{dataset}.record.json", "{dataset}/data"
    memory, runtime = 4000, 120
    priority = 1

    def outputs(self) -> list[str]:
        return ["{dataset}.h5"]

    def params(self) -> dict[str, Any]:
        dataset = self.dataset
        settings = {"kind": dataset.kind, "source": dataset.origin, "seed": dataset.seed}
        settings["options"] = dataset.own_options
        if dataset.origin == "folder":
            # hundreds of thousands of images are not read to see whether they are the same
            folders = [path for path in self._found().values() if path.is_dir()]
            settings["folders"] = [dataset.described.extent(path) for path in folders]
        return settings

    def sources(self) -> dict[str, Path]:
        if self.dataset.origin != "folder":
            return {}
        return {name: path for name, path in sorted(self._found().items()) if path.is_file()}

    def _found(self) -> dict[str, Path]:
        return self.dataset.described.find_sources(Path(self.dataset.source))

    def code(self) -> list[str]:
        kind = registry.reference("datasets", self.dataset.kind)
        return [f"{kind}:build", *_modality_kinds()]

    def cores(self) -> int:
        return cores() if registry.constant_of("datasets", self.dataset.kind, "ON_ALL_CORES", False) else 1

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        key, source = self.values["dataset"], self.dataset.source
        registry.resolve("datasets", params["kind"]).build(
            self.path("{dataset}.h5"),
            source=source,
            source_folder=place_of(source, key),
            seed=params["seed"],
            **params["options"],
        )
        _store(key, self.dataset)

    @classmethod
    def choices(cls, params: Params) -> Iterator[dict[str, Any]]:
        yield from ({"dataset": key} for key in used_datasets(params))


class Classify(Step):
    """The classifier of one modality of a dataset, the judge of what is generated."""

    command, keys = "classify", ("dataset", "modality")
    help = "train the classifier of one modality"
    message = "training the {modality} classifier of {dataset}"
    folder, record = "results/{dataset}/classifiers/{modality}", "record.json"
    log = "{dataset}/classifiers/{modality}"
    memory, runtime = 4000, 120

    def __init__(self, params: Params, options: Any = None, **keys: Any):
        super().__init__(params, options, **keys)
        modality, dataset = keys["modality"], keys["dataset"]
        entry(dict.fromkeys(self.dataset.modalities), modality, f"modality of {dataset}")

    def outputs(self) -> list[str]:
        return ["model.safetensors", "metrics.json"]

    def params(self) -> dict[str, Any]:
        evaluation = self.given.evaluation
        settings = {"modality": self.values["modality"], "epochs": evaluation.classifier_epochs}
        settings |= {"seed": self.dataset.seed, "threads": evaluation.threads, "device": evaluation.device}
        return settings

    def inputs(self) -> list[Path]:
        return [_store_of(self)]

    def code(self) -> list[str]:
        return ["mmjsd.models.classifiers:train_classifier", *_modality_kinds()]

    def threads(self) -> int:
        return self.given.evaluation.threads

    def device(self) -> str:
        return self.given.evaluation.device

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.models.classifiers import train_classifier

        train_classifier(
            _store(self.values["dataset"], self.dataset, self.given.evaluation.split),
            folder=self.path(),
            **params,
        )

    @classmethod
    def choices(cls, params: Params) -> Iterator[dict[str, Any]]:
        for key in used_datasets(params):
            yield from cls.of_dataset(params, key)

    @classmethod
    def of_dataset(cls, params: Params, key: str) -> Iterator[dict[str, Any]]:
        """Give the keys of the classifiers of one dataset: of data without labels there are none."""
        dataset = params.datasets[key]
        yield from ({"dataset": key, "modality": name} for name in dataset.modalities if dataset.labels)


class _OfRun(Step):
    """A step of each run and seed."""

    keys = ("run", "seed")
    folder = _RUN_FOLDER
    memory, runtime = 4000, 120

    @classmethod
    def choices(cls, params: Params) -> Iterator[dict[str, Any]]:
        yield from ({"run": run, "seed": seed} for run in params.runs for seed in params.seeds)

    def tracked(self) -> dict[str, Any]:
        """Give what finds its run in MLflow: the experiment, and the key of its own."""
        dataset, run, seed = (self.values[key] for key in ("dataset", "run", "seed"))
        return {"experiment": dataset, "key": f"{dataset}/{run}/{seed}"}

    def tracked_name(self) -> dict[str, Any]:
        """Give what that is called, and the sweep that it is of, if it is of one."""
        run, seed = self.values["run"], self.values["seed"]
        sweeps = self.given.sweeps.items()
        of = [{"name": name, "keys": list(runs[run])} for name, runs in sweeps if runs.get(run)]
        name = run if len(self.given.seeds) == 1 else f"{run}/seed-{seed}"
        return {"name": name, **({"sweep": of[0]} if of else {})}


class Train(_OfRun):
    """The trained model of one run and seed."""

    command = "train"
    help = "train a run, or continue its training"
    message = "training {run}, seed {seed}"
    record, log = "training.record.json", "{dataset}/{run}/seed-{seed}/train"
    adjustable = tuple(Run.ADJUSTABLE)
    priority = 1
    runtime = 480
    options: ClassVar = {
        "--replace": {"action": "store_true", "help": "discard unfinished work of other parameters"}
    }

    def outputs(self) -> list[str]:
        return ["model.safetensors", "history.csv"]

    def scratch(self) -> list[str]:
        return ["checkpoint.pt"]

    def params(self) -> dict[str, Any]:
        return {**self.run.recorded, "seed": self.values["seed"]}

    def inputs(self) -> list[Path]:
        return [_store_of(self), *map(Path, dict.fromkeys(self.run.networks.values()))]

    def code(self) -> list[str]:
        return ["mmjsd.training.loop:train", *_code_of(self.run, self.dataset)]

    def threads(self) -> int:
        return self.run.threads

    def processes(self) -> int:
        return self.run.processes

    def device(self) -> str:
        return self.run.device

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.interruption import deferred
        from mmjsd.pipeline.company import in_company
        from mmjsd.training.loop import train

        store = _store(params["dataset"], self.dataset, self.given.evaluation.split)
        aside = {name: getattr(self.run, name) for name in Run.ASIDE}
        with (
            deferred() as signals,
            in_company(signals) as asked_to_end,
            self._watching(params, fingerprint) as after_epoch,
        ):
            train(
                make_run(**{key: value for key, value in params.items() if key != "seed"}, **aside),
                store,
                self.path(),
                name=self.values["run"],
                seed=params["seed"],
                fingerprint=fingerprint,
                replace=self.chosen["replace"],
                asked_to_end=asked_to_end,
                after_epoch=after_epoch,
            )

    @contextmanager
    def _watching(
        self, params: dict[str, Any], fingerprint: str
    ) -> Iterator[Callable[[list["Row"], "MultimodalVAE"], None]]:
        """Give what is called after each epoch: it draws samples, and logs live."""
        from mmjsd import distributed

        if distributed.rank() > 0:
            yield lambda history, model: None  # the first of several processes does
            return
        samples, every = self.path("samples"), self.run.sample_every

        def draw(history: list["Row"], model: "MultimodalVAE") -> None:
            if len(history) == 1:
                shutil.rmtree(samples, ignore_errors=True)  # of a training before
            if every and len(history) % every == 0:
                from mmjsd.reporting.figures import draw_samples

                number = f"{len(history):0{len(str(self.run.epochs))}}"
                draw_samples(samples / f"epoch-{number}.png", model, params["seed"])

        if self.run.tracking == "after":
            yield draw
            return
        from mmjsd.tracking.live import logging_live

        with logging_live(
            self.path(),
            **{**self.tracked(), **self.tracked_name()},
            params=params,
            fingerprint=fingerprint,
            resumed=self.path("checkpoint.pt").exists(),
        ) as log:

            def draw_and_log(history: list["Row"], model: "MultimodalVAE") -> None:
                draw(history, model)
                log(history)

            yield draw_and_log


class Evaluate(_OfRun):
    """The metrics of one run and seed.

    Args:
        metrics: their names; all by default.
    """

    command = "evaluate"
    help = "compute the metrics of a trained run"
    message = "evaluating {run}, seed {seed}"
    record, log = "evaluation.record.json", "{dataset}/{run}/seed-{seed}/evaluate"
    options: ClassVar = {
        "--other-data": _OTHER_DATA,
        "--only": {
            "action": "append",
            "default": [],
            "metavar": "METRIC",
            "help": "compute this metric again and keep the others (may be given several times)",
        },
    }

    def __init__(
        self, params: Params, options: Any = None, *, metrics: Collection[str] | None = None, **keys: Any
    ):
        super().__init__(params, options, **keys)
        self.metrics = registry.entries("metrics") if metrics is None else metrics
        self.only = self.chosen.get("only", [])

    def outputs(self) -> list[str]:
        return [
            "metrics.json",
            *(file for shown in presentations() if shown.name in self.metrics for file in shown.files),
        ]

    def params(self) -> dict[str, Any]:
        names = Evaluation.model_fields.keys() - {"classifier_epochs"}
        names |= {option for name in self.metrics for option in registry.options_of("metrics", name)}
        # of a file the content counts and not the place
        return self.given.evaluation.model_dump(include=names - self.sources().keys())

    def inputs(self) -> list[Path]:
        judges = [
            path
            for choice in Classify.of_dataset(self.given, self.run.dataset)
            for path in _outputs(Classify(self.given, **choice))
        ]
        return [self.path("model.safetensors"), self.path("history.csv"), _store_of(self), *judges]

    def sources(self) -> dict[str, Path]:
        evaluation = self.given.evaluation
        if evaluation.embedding != "inception" or evaluation.inception_weights == "download":
            return {}
        return {"inception_weights": Path(evaluation.inception_weights)}

    def code(self) -> list[str]:
        metrics = [registry.reference("metrics", name) for name in self.metrics]
        posteriors = [name for name in self.given.evaluation.posteriors if name in registry.entries("means")]
        means = [registry.reference("means", name) for name in posteriors]
        return ["mmjsd.evaluation.running:evaluate", *metrics, *means, *_code_of(self.run, self.dataset)]

    def threads(self) -> int:
        return self.given.evaluation.threads

    def device(self) -> str:
        return self.given.evaluation.device

    def forced(self) -> bool:
        return super().forced() or bool(self.only)

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        previous = self._previous() if self.only else {}
        from mmjsd.evaluation.running import evaluate

        places = {name: str(path) for name, path in self.sources().items()}
        evaluate(
            self.path(),
            _store(self.run.dataset, self.dataset, self.given.evaluation.split),
            self.path().parents[1] / "classifiers",
            make_evaluation(**params, **places),
            other_data=self.chosen["other_data"],
            only=self.only,
            previous=previous,
        )

    def _previous(self) -> dict[str, Any]:
        """The metrics beside those to be computed, if they are what would be computed now."""
        for name in self.only:
            registry.reference("metrics", name)
        others = [name for name in self.metrics if name not in self.only]
        kept = Evaluate(self.given, metrics=others, run=self.values["run"], seed=self.values["seed"]).product
        if reason := staleness(kept, part=True):
            raise MmjsdError(
                f"{kept.outputs[0]}: {', '.join(others)} cannot be kept ({reason}); evaluate without --only"
            )
        return read_metrics(kept.outputs[0])


class Figures(_OfRun):
    """The figures of one run and seed."""

    command = "figures"
    help = "draw the figures of a trained run"
    message = "drawing {run}, seed {seed}"
    record, log = "figures.record.json", "{dataset}/{run}/seed-{seed}/figures"
    options: ClassVar = {"--other-data": _OTHER_DATA}

    def outputs(self) -> list[str]:
        return _pictures(self._drawn())

    def _drawn(self) -> Mapping[str, Entry]:
        dataset = self.dataset
        return run_figures(
            dataset.modalities,
            subspaces=self.run.private_latent > 0,
            labels=dataset.labels,
            vectors="vector" in dataset.described.MODALITIES.values(),
            mixture=self.given.evaluation.mixture_components is not None,
            all_subsets=self.given.evaluation.all_subsets,
        )

    def params(self) -> dict[str, Any]:
        evaluation = self.given.evaluation
        params = {"threads": evaluation.threads, "device": evaluation.device, "split": evaluation.split}
        params |= {"mixture_components": evaluation.mixture_components}
        return params | {"all_subsets": evaluation.all_subsets}

    def inputs(self) -> list[Path]:
        return [self.path("model.safetensors"), self.path("metrics.json"), _store_of(self)]

    def code(self) -> list[str]:
        makers = [drawn.maker for drawn in self._drawn().values()]
        return ["mmjsd.reporting.figures:draw_run", *makers, *_code_of(self.run, self.dataset)]

    def threads(self) -> int:
        return self.given.evaluation.threads

    def device(self) -> str:
        return self.given.evaluation.device

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.reporting.figures import draw_run

        store = _store(self.run.dataset, self.dataset, self.given.evaluation.split)
        draw_run(self.path(), store, other_data=self.chosen["other_data"], **params)


class Curves(Step):
    """The figures that compare the runs of a dataset."""

    command, keys = "curves", ("dataset",)
    help = "draw the figures that compare a dataset's runs"
    message = "drawing the comparison of the runs of {dataset}"
    folder, record, log = "results/{dataset}", "figures.record.json", "{dataset}/figures"
    memory = 2000

    def outputs(self) -> list[str]:
        return _pictures(self._drawn())

    def params(self) -> dict[str, Any]:
        return {
            "runs": {run: [folder.as_posix() for folder in found] for run, found in self._folders().items()},
            "embedding": self.given.evaluation.embedding,
            "source": self.dataset.origin,
            "labels": self.dataset.labels,
            **({"sweeps": sweeps, "metrics": _presented()} if (sweeps := self._sweeps()) else {}),
        }

    def inputs(self) -> list[Path]:
        names = ("history.csv", "prd.csv", "metrics.json")
        return [folder / name for found in self._folders().values() for folder in found for name in names]

    def _sweeps(self) -> dict[str, dict[str, Any]]:
        return _sweeps_of(self.given, self.values["dataset"])

    def _folders(self) -> dict[str, list[Path]]:
        """The folders of all seeds of each run."""
        return {
            key: [Train(self.given, run=key, seed=seed).path() for seed in self.given.seeds]
            for key, run in self.given.runs.items()
            if run.dataset == self.values["dataset"]
        }

    def code(self) -> list[str]:
        makers = [drawn.maker for drawn in self._drawn().values()]
        return ["mmjsd.reporting.figures:draw_dataset", *makers]

    def _drawn(self) -> dict[str, Entry]:
        embedding, labels = self.given.evaluation.embedding, self.dataset.labels
        return dataset_figures(embedding, self._sweeps(), labels=labels)

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.reporting.figures import draw_dataset

        runs = {run: [Path(folder) for folder in found] for run, found in params["runs"].items()}
        about = {"sweeps": params.get("sweeps"), "labels": params["labels"]}
        draw_dataset(self.path("figures"), runs, params["embedding"], params["source"], **about)

    @classmethod
    def choices(cls, params: Params) -> Iterator[dict[str, Any]]:
        yield from Build.choices(params)


class Track(_OfRun):
    """The MLflow run of one run and seed; its parameters are those that are logged."""

    command = "track"
    help = "log an evaluated run to MLflow"
    message = "logging {run}, seed {seed}, to MLflow"
    record, log = "tracking.record.json", "{dataset}/{run}/seed-{seed}/track"
    memory = 2000

    def outputs(self) -> list[str]:
        return ["mlflow.json"]

    def params(self) -> dict[str, Any]:
        return {
            **self.tracked_name(),
            "run": {**self.run.recorded, "seed": self.values["seed"]},
            "dataset": self.dataset.model_dump(),
            "evaluation": self.given.evaluation.model_dump(),
        }

    def inputs(self) -> list[Path]:
        names = ("model.safetensors", "history.csv", "metrics.json", Evaluate.record)
        return [*map(self.path, names), _store_of(self), *_outputs(Figures(self.given, **self._own_keys()))]

    def _own_keys(self) -> dict[str, Any]:
        return {key: self.values[key] for key in self.keys}

    def code(self) -> list[str]:
        # the model is logged as a pickle, which names the classes that it consists of
        return ["mmjsd.tracking.runs:track", *_code_of(self.run, self.dataset)]

    def scratch(self) -> list[str]:
        return [NOTE]

    def effect(self) -> str | None:
        if unfinished_run(self.path()):
            return "the MLflow run that training has begun is not complete"
        return why_gone(self.path("mlflow.json"))

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.tracking.runs import track

        track(self.path(), _store_of(self), **self.tracked(), **params)


class _OfAll(Step):
    """A step on all runs."""

    def rows(self) -> list[dict[str, Any]]:
        """One row a run and seed, of the tables and the report."""
        params = self.given
        sweeps = {run: sweep for sweep, runs in params.sweeps.items() for run in runs}
        return [
            {
                "dataset": run.dataset,
                "kind": params.datasets[run.dataset].kind,
                "source": params.datasets[run.dataset].source,
                "run": key,
                "seed": seed,
                "objective": run.objective,
                "subspaces": run.private_latent > 0,
                "folder": (folder := Train(params, run=key, seed=seed).path()).as_posix(),
                "metrics": (folder / "metrics.json").as_posix(),
                **({"sweep": sweeps.get(key, "")} if sweeps else {}),
            }
            for key, run in params.runs.items()
            for seed in params.seeds
        ]

    def inputs(self) -> list[Path]:
        return [Path(row["metrics"]) for row in self.rows()]

    def sources(self) -> dict[str, Path]:
        # part of the pipeline, wherever that lies, and not of the working directory
        published = self.chosen.get("published", PUBLISHED) if self.options else None
        return {"published": published} if published and published.is_file() else {}

    def params(self) -> dict[str, Any]:
        return {"rows": self.rows(), "metrics": _presented()}


class Compare(_OfAll):
    """The tables that compare all runs; its parameters are their rows."""

    command, help = "compare", "write the tables that compare all runs"
    message = "comparing the runs"
    record, log = "comparison.record.json", "compare"
    options: ClassVar = _PUBLISHED_OPTION

    def outputs(self) -> list[str]:
        return ["comparison.csv", "comparison.md"]

    def code(self) -> list[str]:
        return ["mmjsd.reporting.tables:compare"]

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.reporting.tables import compare

        compare(params["rows"], self.chosen["published"], *_outputs(self))


class Summarise(_OfAll):
    """The headlines and training curves of all runs, as DVC reads them."""

    command, help = "summarise", "write the headlines and training curves of all runs for DVC"
    message = "summing up the runs for DVC"
    record, log = "summary.record.json", "summarise"

    def outputs(self) -> list[str]:
        headlines = [f"metrics/{row['dataset']}/{row['run']}/seed-{row['seed']}.json" for row in self.rows()]
        return [*headlines, "curves.csv"]

    def inputs(self) -> list[Path]:
        return [*super().inputs(), *(Path(row["folder"]) / "history.csv" for row in self.rows())]

    def code(self) -> list[str]:
        return ["mmjsd.reporting.summary:summarise"]

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.reporting.summary import summarise

        *headlines, curves = _outputs(self)
        summarise(params["rows"], self.path("metrics"), headlines, curves)


class Report(_OfAll):
    """The report on all runs."""

    command, help = "report", "write the report on all runs as one HTML file"
    message = "writing the report"
    record, log = "report.record.json", "report"
    options: ClassVar = _PUBLISHED_OPTION

    def outputs(self) -> list[str]:
        return ["report.html"]

    def params(self) -> dict[str, Any]:
        params, rows = self.given, self.rows()
        return {
            **super().params(),
            "datasets": {
                key: {**params.datasets[key].model_dump(), "figures": f"results/{key}/figures"}
                for key in dict.fromkeys(row["dataset"] for row in rows)
            },
            "runs": {key: run.recorded for key, run in params.runs.items()},
            "evaluation": params.evaluation.model_dump(),
            "template": sha256_file(TEMPLATE),
        }

    def inputs(self) -> list[Path]:
        rows = self.rows()
        runs = [{"run": row["run"], "seed": row["seed"]} for row in rows]
        datasets = dict.fromkeys(row["dataset"] for row in rows)
        return [
            *super().inputs(),
            *(Path(row["folder"]) / Evaluate.record for row in rows),
            *(path for keys in runs for path in _outputs(Figures(self.given, **keys))),
            *(path for key in datasets for path in _outputs(Curves(self.given, dataset=key))),
        ]

    def code(self) -> list[str]:
        return ["mmjsd.reporting.report:write_report"]

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.reporting.report import write_report

        given = {key: params[key] for key in ("rows", "datasets", "runs", "evaluation")}
        write_report(
            **given,
            published=self.chosen["published"],
            template=TEMPLATE,
            out=self.path("report.html"),
        )


class Publish(_OfAll):
    """The MLflow run that has the comparison and the report of all runs."""

    command, help = "publish", "log the comparison and the report to MLflow"
    message = "logging the comparison and the report to MLflow"
    record, log = "publication.record.json", "publish"

    def outputs(self) -> list[str]:
        return ["mlflow.json"]

    def params(self) -> dict[str, Any]:
        given = self.given
        experiments = {key: self._experiment(key) for key in used_datasets(given)}
        return {"runs": list(given.runs), "seeds": given.seeds, "experiments": experiments}

    def _experiment(self, dataset: str) -> dict[str, Any]:
        """What the description of the experiment of a dataset says."""
        params = self.given
        return {
            "kind": params.datasets[dataset].kind,
            "source": params.datasets[dataset].source,
            "objectives": [run.objective for run in params.runs.values() if run.dataset == dataset],
            "seeds": len(params.seeds),
            "sweeps": {
                sweep: {"keys": list(next(iter(runs.values()))), "runs": len(runs)}
                for sweep, runs in _sweeps_of(params, dataset).items()
            },
        }

    def inputs(self) -> list[Path]:
        return [*_outputs(Compare(self.given)), *_outputs(Report(self.given))]

    def code(self) -> list[str]:
        return ["mmjsd.tracking.runs:publish"]

    def effect(self) -> str | None:
        return why_gone(self.path("mlflow.json"))

    def work(self, params: dict[str, Any], fingerprint: str) -> None:
        from mmjsd.tracking.runs import publish

        publish(self.inputs(), self.path("mlflow.json"), params["experiments"])


STEPS: tuple[type[Step], ...] = (
    *(Build, Classify, Train, Evaluate, Figures, Curves, Track, Compare, Summarise, Report, Publish),
)
"""Each after those whose files it reads."""


def _sweeps_of(params: Params, dataset: str) -> dict[str, dict[str, Any]]:
    """The runs of a dataset that are of sweeps, and the values that these vary."""
    own = {
        sweep: {run: values for run, values in found.items() if params.runs[run].dataset == dataset}
        for sweep, found in params.sweeps.items()
    }
    return {sweep: found for sweep, found in own.items() if found}


def _outputs(step: Step) -> list[Path]:
    return [step.path(name) for name in step.outputs()]


def _presented() -> list[dict[str, Any]]:
    """What metrics say of themselves, which is read and not imported."""
    return [shown._asdict() for shown in presentations()]


def _pictures(names: Iterable[str]) -> list[str]:
    return [*(f"figures/{name}.png" for name in names), f"figures/{CAPTIONS}"]


def _store_of(step: Step) -> Path:
    return Path("data") / f"{step.values['dataset']}.h5"


def _modality_kinds() -> list[str]:
    """The kinds of modality, of which what is used is found."""
    return [f"{place}:*" for place in registry.entries("modalities").values()]


def _code_of(run: Run, dataset: Dataset) -> list[str]:
    """What a model of a run consists of: objective, dynamic prior, networks."""
    objective = registry.reference("objectives", run.objective)
    mean = run.objective_options.get("dynamic_prior")
    means = [registry.reference("means", mean)] if mean else []
    networks = [place for name, place in registry.entries("networks").items() if _is_of(name, dataset)]
    return [objective, *means, *networks, *_modality_kinds()]


def _is_of(network: str, dataset: Dataset) -> bool:
    """Whether networks may be those of a modality of the dataset, whose shape may not be known yet."""
    forms = dataset.described.MODALITIES.values()
    return any(form in (network, network.partition(" ")[0]) for form in forms)


def _store(key: str, dataset: Dataset, split: str = "test") -> "Store":
    """The store of a dataset, if it is of its kind and has enough to train and be judged on the split."""
    from mmjsd.data.store import read_store, shortage

    store = read_store(Path("data") / f"{key}.h5")
    if (store.kind, store.modalities) != (dataset.kind, dataset.modalities) or not (
        {"train", "test"} <= store.splits.keys()
    ):
        raise MmjsdError(
            f"{store.path}: is no store of {dataset.kind} with the splits train and test; "
            f"make it again with `mmjsd data build {key}`"
        )
    # told by the first step that can know, and not after training
    if split not in store.splits:
        makers = [name for name in ("validation_share", "split") if hasattr(dataset.options, name)]
        maker = f"give it one by datasets.{key}.options.{makers[0]}, or " if makers else ""
        raise MmjsdError(f"{store.path}: has no split {split} to judge on; {maker}set evaluation.split: test")
    if fault := shortage(store, CLUSTERS, split):
        raise MmjsdError(f"{store.path}: {fault}; give datasets.{key} a source that has more")
    return store
