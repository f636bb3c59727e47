"""The steps of the pipeline, defined once for Snakemake and the command line.

Each function names one product: where it lies (relative to the working directory), what it is made from and
the parameters it depends on. Changing a parameter therefore concerns the products that list it, and what is
made from those.
"""

import difflib
import importlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmjsd import registry
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.presentation import presentations
from mmjsd.params import Params
from mmjsd.records import Product, digest_of, sha256_file
from mmjsd.reporting.catalogue import CAPTIONS, dataset_figures, run_figures

__all__ = [
    "BUILDERS",
    "HEADLINES",
    "PUBLISHED",
    "classifier",
    "comparison",
    "curves",
    "dataset",
    "evaluation",
    "figures",
    "gpus",
    "products",
    "publication",
    "report",
    "source_folder",
    "store",
    "summary",
    "tracking",
    "training",
    "used_datasets",
]

#: The module whose `build` makes the store of each kind of dataset. Names, for importing them takes long.
BUILDERS = {"mnist_svhn_text": "mmjsd.data.digits", "celeba": "mmjsd.data.faces"}

#: Values from papers, shown beside ours.
PUBLISHED = Path("docs/published.yaml")

#: Where the headlines of all runs lie, and nothing else.
HEADLINES = Path("results/metrics")

#: Of the report.
TEMPLATE = Path(__file__).parent / "reporting" / "report.html.j2"

_BENCHMARKS = Path("logs/benchmarks")


def products(params: Params, published: Path = PUBLISHED) -> list[Product]:
    """All products, each after those it is made from."""
    runs = [(run, seed) for run in params.runs for seed in params.seeds]
    used = used_datasets(params)
    return [
        *(dataset(params, key) for key in used),
        *(classifier(params, key, modality) for key in used for modality in params.datasets[key].modalities),
        *(training(params, run, seed) for run, seed in runs),
        *(evaluation(params, run, seed) for run, seed in runs),
        *(figures(params, run, seed) for run, seed in runs),
        *(curves(params, key) for key in used),
        *(tracking(params, run, seed) for run, seed in runs),
        comparison(params, published),
        summary(params),
        report(params, published),
        publication(params),
    ]


def used_datasets(params: Params) -> list[str]:
    """Keys of the datasets that have runs; no other is built."""
    return [key for key in params.datasets if any(run.dataset == key for run in params.runs.values())]


def source_folder(params: Params, key: str) -> Path:
    """Where the source files of a dataset lie, or are put."""
    source = _entry(params.datasets, key, "dataset").source
    if source == "standin":
        return Path("sources/standin") / key
    return Path("sources/official") if source == "download" else Path(source)


def dataset(params: Params, key: str) -> Product:
    """The multimodal store of a dataset."""
    chosen = _entry(params.datasets, key, "dataset")
    settings = {**chosen.model_dump(), "options": chosen.own_options}
    sources: dict[str, Path] = {}
    if chosen.source != "standin":
        settings["options"] = {k: v for k, v in settings["options"].items() if not k.startswith("standin_")}
    if chosen.source not in ("standin", "download"):
        builder = importlib.import_module(BUILDERS[chosen.kind])
        found = builder.find_sources(Path(chosen.source))
        sources = {name: path for name, path in sorted(found.items()) if path.is_file()}
        settings["source"] = "folder"  # which files it has counts, not where it lies
        # hundreds of thousands of images are not read to see whether they are the same
        settings["folders"] = [builder.extent(path) for path in found.values() if path.is_dir()]
    built = store(key)
    return Product(
        name=f"data build {key}",
        record=built.with_suffix(".record.json"),
        outputs=(built,),
        params=settings,
        inputs=(),
        code=(BUILDERS[chosen.kind],),
        benchmark=_BENCHMARKS / key / "data.tsv",
        sources=sources,
    )


def classifier(params: Params, key: str, modality: str) -> Product:
    """The classifier of one modality of a dataset, the judge of what is generated."""
    chosen = _entry(params.datasets, key, "dataset")
    _entry(dict.fromkeys(chosen.modalities), modality, f"modality of {key}")
    folder = _classifier_folder(key, modality)
    return Product(
        name=f"classify {key} {modality}",
        record=folder / "record.json",
        outputs=(folder / "model.pt", folder / "metrics.json"),
        params={"modality": modality, "epochs": params.evaluation.classifier_epochs, "seed": chosen.seed},
        inputs=(store(key),),
        code=("mmjsd.models.classifiers",),
        benchmark=_BENCHMARKS / key / "classifiers" / f"{modality}.tsv",
    )


def training(params: Params, run: str, seed: int) -> Product:
    """The trained model of one run and seed."""
    chosen = _entry(params.runs, run, "run")
    folder = _run_folder(params, run, seed)
    return Product(
        name=f"train {run} --seed {seed}",
        record=folder / "training.record.json",
        outputs=(folder / "model.pt", folder / "history.csv"),
        params={**chosen.model_dump(), "seed": seed},
        inputs=(store(chosen.dataset),),
        code=("mmjsd.training",),
        benchmark=_BENCHMARKS / folder.relative_to("results") / "train.tsv",
        scratch=(folder / "checkpoint.pt",),
    )


def evaluation(params: Params, run: str, seed: int, metrics: Collection[str] | None = None) -> Product:
    """The metrics of one run and seed: all, or those of these names."""
    names = registry.entries("metrics") if metrics is None else metrics
    chosen = _entry(params.runs, run, "run")
    folder = _run_folder(params, run, seed)
    judges = [
        path
        for modality in params.datasets[chosen.dataset].modalities
        for path in classifier(params, chosen.dataset, modality).outputs
    ]
    options = {option for name in names for option in registry.options_of("metrics", name)}
    settings = params.evaluation.model_dump(include={*options, "threads"})
    sources = {}
    if settings.get("embedding") == "inception" and settings["inception_weights"] != "download":
        sources["inception_weights"] = Path(settings.pop("inception_weights"))
    files = [file for metric in presentations() if metric.name in names for file in metric.files]
    return Product(
        name=f"evaluate {run} --seed {seed}",
        record=folder / "evaluation.record.json",
        outputs=(folder / "metrics.json", *(folder / file for file in files)),
        params=settings,
        inputs=(folder / "model.pt", folder / "history.csv", store(chosen.dataset), *judges),
        code=(
            "mmjsd.evaluation.running",
            *(registry.reference("metrics", name).partition(":")[0] for name in names),
        ),
        benchmark=_BENCHMARKS / folder.relative_to("results") / "evaluate.tsv",
        sources=sources,
    )


def figures(params: Params, run: str, seed: int) -> Product:
    """The figures of one run and seed."""
    chosen = _entry(params.runs, run, "run")
    folder = _run_folder(params, run, seed)
    dataset_of = params.datasets[chosen.dataset]
    labels = "attributes" if dataset_of.has_attributes else "class"
    drawn = run_figures(dataset_of.modalities, subspaces=chosen.private_latent > 0, labels=labels)
    return Product(
        name=f"figures {run} --seed {seed}",
        record=folder / "figures.record.json",
        outputs=_pictures(folder / "figures", drawn),
        params={},
        inputs=(folder / "model.pt", folder / "metrics.json", store(chosen.dataset)),
        code=("mmjsd.reporting.figures", *(entry.module for entry in drawn.values())),
        benchmark=_BENCHMARKS / folder.relative_to("results") / "figures.tsv",
    )


def curves(params: Params, key: str) -> Product:
    """The figures that compare the runs of a dataset."""
    chosen = _entry(params.datasets, key, "dataset")
    folders, drawn = _folders(params, key), dataset_figures(params.evaluation.embedding)
    return Product(
        name=f"curves {key}",
        record=Path("results") / key / "figures.record.json",
        outputs=_pictures(Path("results") / key / "figures", drawn),
        params={
            "runs": {run: [folder.as_posix() for folder in folders[run]] for run in folders},
            "embedding": params.evaluation.embedding,
            # they tell whether the data are real, not where they lie
            "source": chosen.source if chosen.source in ("standin", "download") else "folder",
        },
        inputs=tuple(
            folder / file
            for found in folders.values()
            for folder in found
            for file in ("history.csv", "prd.csv")
        ),
        code=("mmjsd.reporting.figures", *(entry.module for entry in drawn.values())),
        benchmark=_BENCHMARKS / key / "figures.tsv",
    )


def tracking(params: Params, run: str, seed: int) -> Product:
    """The MLflow run of one run and seed; its parameters are those that are logged."""
    chosen = _entry(params.runs, run, "run")
    folder = _run_folder(params, run, seed)
    return Product(
        name=f"track {run} --seed {seed}",
        record=folder / "tracking.record.json",
        outputs=(folder / "mlflow.json",),
        params={
            "name": run if len(params.seeds) == 1 else f"{run}/seed-{seed}",
            "run": {**chosen.model_dump(), "seed": seed},
            "dataset": params.datasets[chosen.dataset].model_dump(),
            "evaluation": params.evaluation.model_dump(),
        },
        inputs=(
            *(folder / "model.pt", folder / "history.csv", folder / "metrics.json", store(chosen.dataset)),
            *figures(params, run, seed).outputs,
        ),
        code=("mmjsd.tracking",),
        benchmark=_BENCHMARKS / folder.relative_to("results") / "track.tsv",
    )


def comparison(params: Params, published: Path = PUBLISHED) -> Product:
    """The tables that compare all runs; its parameters are their rows and the published values."""
    rows = _rows(params)
    return Product(
        name="compare",
        record=Path("results/comparison.record.json"),
        outputs=(Path("results/comparison.csv"), Path("results/comparison.md")),
        # by content: the file is part of the pipeline, wherever that lies, and not of the working directory
        params={
            "rows": rows,
            "published": sha256_file(published) if published.is_file() else None,
            "presentation": _presentation(),
        },
        inputs=tuple(Path(row["metrics"]) for row in rows),
        code=("mmjsd.reporting.tables",),
        benchmark=_BENCHMARKS / "compare.tsv",
    )


def summary(params: Params) -> Product:
    """The headlines and training curves of all runs, as DVC reads them."""
    rows = _rows(params)
    headlines = [HEADLINES / row["dataset"] / row["run"] / f"seed-{row['seed']}.json" for row in rows]
    histories = [Path(row["folder"]) / "history.csv" for row in rows]
    return Product(
        name="summarise",
        record=Path("results/summary.record.json"),
        outputs=(*headlines, Path("results/curves.csv")),
        params={"rows": rows, "presentation": _presentation()},
        inputs=(*(Path(row["metrics"]) for row in rows), *histories),
        code=("mmjsd.reporting.summary",),
        benchmark=_BENCHMARKS / "summarise.tsv",
    )


def report(params: Params, published: Path = PUBLISHED) -> Product:
    """The report on all runs."""
    rows = _rows(params)
    keys = dict.fromkeys(row["dataset"] for row in rows)
    pictures = [
        *(path for row in rows for path in figures(params, row["run"], row["seed"]).outputs),
        *(path for key in keys for path in curves(params, key).outputs),
    ]
    return Product(
        name="report",
        record=Path("results/report.record.json"),
        outputs=(Path("results/report.html"),),
        params={
            "rows": rows,
            "datasets": {
                key: {**params.datasets[key].model_dump(), "figures": f"results/{key}/figures"}
                for key in keys
            },
            "runs": {key: run.model_dump() for key, run in params.runs.items()},
            "evaluation": params.evaluation.model_dump(),
            "published": sha256_file(published) if published.is_file() else None,
            "template": sha256_file(TEMPLATE),
            "presentation": _presentation(),
        },
        inputs=(*(Path(row["metrics"]) for row in rows), *pictures),
        code=("mmjsd.reporting.report",),
        benchmark=_BENCHMARKS / "report.tsv",
    )


def publication(params: Params) -> Product:
    """The MLflow run that has the comparison and the report of all runs."""
    return Product(
        name="publish",
        record=Path("results/publication.record.json"),
        outputs=(Path("results/mlflow.json"),),
        params={"runs": list(params.runs), "seeds": params.seeds},
        inputs=(*comparison(params).outputs, *report(params).outputs),
        code=("mmjsd.tracking",),
        benchmark=_BENCHMARKS / "publish.tsv",
    )


def gpus(device: str) -> int:
    """How many GPUs a step with this `device` parameter uses: one where there is any, unless told not to."""
    return int(device != "cpu" and any(Path("/dev").glob("nvidia[0-9]*")))


def _rows(params: Params) -> list[dict[str, Any]]:
    """One row a run and seed, of the tables and the report."""
    return [
        {
            "dataset": run.dataset,
            "kind": params.datasets[run.dataset].kind,
            "source": params.datasets[run.dataset].source,
            "run": key,
            "seed": seed,
            "objective": run.objective,
            "subspaces": run.private_latent > 0,
            "folder": _run_folder(params, key, seed).as_posix(),
            "metrics": (_run_folder(params, key, seed) / "metrics.json").as_posix(),
        }
        for key, run in params.runs.items()
        for seed in params.seeds
    ]


def _presentation() -> str:
    """What metrics say of themselves in tables, which is read and not imported."""
    return digest_of([metric._asdict() for metric in presentations()])


def _folders(params: Params, dataset: str) -> dict[str, list[Path]]:
    """The folders of all seeds of each run of a dataset."""
    return {
        key: [_run_folder(params, key, seed) for seed in params.seeds]
        for key, run in params.runs.items()
        if run.dataset == dataset
    }


def _pictures(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    return (*(folder / f"{name}.png" for name in names), folder / CAPTIONS)


def store(key: str) -> Path:
    """Where the store of a dataset lies; unlike `dataset`, without looking at its source files."""
    return Path("data") / f"{key}.h5"


def _classifier_folder(key: str, modality: str) -> Path:
    return Path("results") / key / "classifiers" / modality


def _run_folder(params: Params, run: str, seed: int) -> Path:
    return Path("results") / params.runs[run].dataset / run / f"seed-{seed}"


def _entry(entries: Mapping[str, Any], key: str, what: str) -> Any:
    if key in entries:
        return entries[key]
    near = difflib.get_close_matches(key, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(entries)}"
    raise MmjsdError(f"{key}: no such {what}; {hint}")
