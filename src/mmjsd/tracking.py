"""MLflow: one run per parameter set and seed, ready to compare."""

import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmjsd.environment import describe
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.flat import flat
from mmjsd.records import atomic_write, digest_of, read_record, sha256_file

__all__ = ["STORE", "publish", "track"]

#: Where runs are kept unless MLFLOW_TRACKING_URI says otherwise.
STORE = "sqlite:///mlflow.db"

_BATCH = 1000  # values that MLflow takes at once


def track(
    folder: Path,
    store: Path,
    *,
    experiment: str,
    key: str,
    name: str,
    run: Mapping[str, Any],
    dataset: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> None:
    """Log an evaluated run and write `mlflow.json`, which says where to find it.

    Earlier runs of the same key and commit are deleted once the new one is complete.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.pt, history.csv, metrics.json, the record of
            their evaluation, and figures.
        store: the store it was trained on.
        experiment: name of the MLflow experiment.
        key: dataset/run/seed, the tag `pipeline.key`.
        name: of the MLflow run.
        run, dataset, evaluation: all resolved parameters.
    """
    from mmjsd.training import load_model, read_history

    history = read_history(folder / "history.csv")
    metrics = read_metrics(folder / "metrics.json")
    model, _ = load_model(folder)
    record = read_record(folder / "evaluation.record.json")
    data = sha256_file(store)
    # what training has as last value of its curves is not logged twice
    final = {k: v for k, v in metrics.items() if not k.startswith("train/")}
    numbers = {k: v for k, v in final.items() if _is_number(v)}
    tags = {
        "params.hash": digest_of([run, dataset, evaluation]),
        "data.sha256": data,
        "data.source": str(dataset["source"]),
        **{f"sha256/{file}": digest for file, digest in {**record["inputs"], **record["outputs"]}.items()},
        **{k: str(v) for k, v in final.items() if k not in numbers},
    }
    with _logging(experiment, key, name, tags, folder / "mlflow.json") as (mlflow, log_batch):
        mlflow.log_params(dict(flat({**run, "dataset": dataset, "evaluation": evaluation})))
        mlflow.log_input(_described(store, experiment, data), context="training")
        mlflow.log_metrics({k: v for k, v in numbers.items() if math.isfinite(v)})
        curves = list(_curves(history))
        for start in range(0, len(curves), _BATCH):
            log_batch(metrics=curves[start : start + _BATCH])
        for file in ("history.csv", "metrics.json"):
            mlflow.log_artifact(str(folder / file))
        mlflow.log_artifacts(str(folder / "figures"), "figures")
        mlflow.pytorch.log_model(
            model,
            name="model",
            serialization_format="pickle",
            # given, for finding them out would load the model in another process
            pip_requirements=[f"mmjsd=={version('mmjsd')}", f"torch=={version('torch')}"],
        )


def publish(files: Iterable[Path], out: Path) -> None:
    """Log files that concern all runs, as artifacts of a run of their own, and write where to find it.

    Earlier such runs of the same commit are deleted.

    Args:
        files: the comparison and the report.
        out: the JSON file that says where they are.
    """
    with _logging("comparison", "comparison", "comparison", {}, out) as (mlflow, _):
        for file in files:
            mlflow.log_artifact(str(file))


@contextmanager
def _logging(
    experiment: str, key: str, name: str, tags: Mapping[str, str], out: Path
) -> Iterator[tuple[Any, Callable[..., None]]]:
    """A run of MLflow, noted in `out`. Once complete it replaces its twins, those of the same key and commit.

    Those of other commits, and of other experiments of DVC, stay to be compared with.

    Yields:
        mlflow, with the run as the active one, and its `log_batch`.

    Raises:
        MmjsdError: MLflow cannot be reached, for a server not within the minutes its client tries again
            (MLFLOW_HTTP_REQUEST_MAX_RETRIES), or cannot store the run.
    """
    # before MLflow is imported, which reads them then
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    uri = os.environ.get("MLFLOW_TRACKING_URI", STORE)
    mlflow.set_tracking_uri(uri)
    try:
        client, experiment_id = _connect(uri, experiment)
        tags = {"pipeline.key": key, **describe(), **tags}
        same_key = client.search_runs([experiment_id], filter_string=f"tags.`pipeline.key` = '{key}'")
        told = ("git.commit", "dvc.experiment")
        twins = [run for run in same_key if all(run.data.tags.get(name) == tags.get(name) for name in told)]
        with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags) as started:
            yield mlflow, partial(client.log_batch, started.info.run_id)
        for twin in twins:
            client.delete_run(twin.info.run_id)
    except (mlflow.MlflowException, SQLAlchemyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MmjsdError(
            f"{uri}: {name} cannot be logged ({reason}); see that MLflow is there and has space, "
            "and type the same command again"
        ) from None
    content = {"run_id": started.info.run_id, "experiment": experiment, "name": name, "tracking_uri": uri}
    atomic_write(out, json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"{name}: logged to MLflow experiment {experiment}", flush=True)


def _connect(uri: str, experiment: str) -> tuple[Any, str]:
    """A client, and the id of the experiment, which is created where there is none."""
    import mlflow

    local = uri.startswith("sqlite:///")
    database = Path(uri.removeprefix("sqlite:///") if local else "mlflow.db")
    # the first connection creates the tables, and two at once ruin the database
    with FileLock(f"{database}.lock"):
        if local and not database.exists():
            _create(database)
        client = mlflow.MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found:
            return client, found.experiment_id
        folder = Path("mlruns").resolve().as_uri() if local else None
        return client, client.create_experiment(experiment, artifact_location=folder)


def _create(database: Path) -> None:
    """A database with the tables of MLflow, which a process killed meanwhile would leave unusable."""
    import mlflow

    folder = database.with_name(f"{database.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mlflow.MlflowClient(f"sqlite:///{folder / database.name}").search_experiments()
    os.replace(folder / database.name, database)
    shutil.rmtree(folder)


def _described(store: Path, name: str, sha256: str) -> Any:
    """The dataset as MLflow shows it, without reading it."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a local file is so in more than one way
        source = resolve_dataset_source(str(store))
    described: Any = MetaDataset  # MLflow's annotations call it abstract
    return described(source, name=name, digest=sha256[:36])


def _curves(history: list[dict[str, float]]) -> Iterator[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for row in history:
        for column, value in row.items():
            if column != "epoch" and math.isfinite(value):
                yield Metric(f"train/{column}", value, now, int(row["epoch"]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
