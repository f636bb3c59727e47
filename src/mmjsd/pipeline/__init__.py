"""The pipeline: its steps, and all products of a parameter file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmjsd.errors import MmjsdError
from mmjsd.params import Params
from mmjsd.pipeline.step import Step
from mmjsd.pipeline.steps import PUBLISHED, STEPS, Compare, Evaluate, Train, used_datasets
from mmjsd.provenance.records import read_record

if TYPE_CHECKING:  # slow to import
    from mmjsd.reporting.results import Study

__all__ = ["STEPS", "Step", "comparable", "gpus", "steps", "study"]


def steps(params: Params, options: Mapping[str, Any] | None = None) -> list[Step]:
    """List all steps that the parameters ask for, each after those whose files it reads."""
    return [step(params, options, **keys) for step in STEPS for keys in step.choices(params)]


def comparable(params: Params, first: str, second: str) -> dict[str, list[Path]]:
    """Give the folders of all seeds of two runs, which have been evaluated on the same dataset.

    Raises:
        MmjsdError: there is no such run, it is not evaluated, or they cannot be compared.
    """
    if first == second:
        raise MmjsdError(f"{first}: would be compared with itself; name two runs")
    found = {run: [Evaluate(params, run=run, seed=seed) for seed in params.seeds] for run in (first, second)}
    datasets = [steps[0].values["dataset"] for steps in found.values()]
    if len({*datasets}) > 1:
        raise MmjsdError(
            f"{first} and {second}: are of different datasets, {' and '.join(datasets)}; "
            "compare runs of one dataset"
        )
    for step in (step for steps in found.values() for step in steps):
        for name in ("metrics.json", step.record):
            if not step.path(name).is_file():
                raise MmjsdError(f"{step.path(name)}: not there yet; `mmjsd {step.name}` makes it")
    return {run: [step.path() for step in steps] for run, steps in found.items()}


def study(params: Params, file: Path) -> "Study":
    """Collect what the page of results says of a parameter file, all of whose runs have been evaluated.

    Raises:
        MmjsdError: a run is not evaluated, or was with other parameters, or a store is damaged.
    """
    from mmjsd.data.store import read_store
    from mmjsd.reporting.results import Study
    from mmjsd.reporting.tables import read_published

    remedy = f"`snakemake --cores all --configfile {file}` makes it"
    rows = Compare(params).rows()
    made = []
    for row in rows:
        for kind in (Train, Evaluate):
            product = kind(params, run=row["run"], seed=row["seed"]).product
            if not product.record.is_file():
                raise MmjsdError(f"{product.record}: not there yet; {remedy}")
            record = read_record(product.record)
            if record["params"] != product.params:
                raise MmjsdError(
                    f"{product.record}: was made with other parameters than {file} has; {remedy} again"
                )
        made.append(record["made"])
    stores = {key: read_store(Path("data") / f"{key}.h5") for key in used_datasets(params)}
    sizes = {
        key: {name: len(split.pairs) for name, split in store.splits.items()} for key, store in stores.items()
    }
    return Study(file, rows, made, params.sweeps, sizes, read_published(PUBLISHED))


def gpus(device: str, *, elsewhere: bool = False) -> int:
    """Count the GPUs that a step with this `device` parameter asks for.

    Args:
        device: the parameter.
        elsewhere: jobs run on other machines, of which this one knows nothing: a GPU is asked for by name,
            and `auto` takes what its job is given. Here, it is one where there is any.
    """
    if elsewhere:
        return int(device not in ("auto", "cpu"))
    return int(device != "cpu" and any(Path("/dev").glob("nvidia[0-9]*")))
