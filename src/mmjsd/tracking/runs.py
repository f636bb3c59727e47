"""MLflow: one run per parameter set and seed, ready to compare."""

import contextlib
import getpass
import json
import logging
import math
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.flat import flat
from mmjsd.provenance.environment import describe
from mmjsd.provenance.files import atomic_write, digest_of, sha256_file
from mmjsd.provenance.locks import exclusive
from mmjsd.provenance.records import read_record
from mmjsd.tracking.faults import explain
from mmjsd.tracking.store import TrackingStore, tracking_store, without_passwords

if TYPE_CHECKING:  # slow to import
    from torch.nn import Module

__all__ = ["publish", "track"]

#: Where MLflow believes files to be until `_settle` says where. It would write the path of the folder into
#: its SQL as it is, quotes and all.
_NOWHERE = "file:///nowhere/mlruns"

#: The tag by which MLflow nests runs.
_PARENT = "mlflow.parentRunId"


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
    sweep: Mapping[str, Any] | None = None,
) -> None:
    """Log an evaluated run and write `mlflow.json`, which says where to find it.

    Earlier runs of the same key and commit are deleted once the new one is complete.

    Args:
        folder: results/<dataset>/<run>/seed-<n>, with model.safetensors, history.csv, metrics.json, the
            record of their evaluation, and figures.
        store: the store it was trained on.
        experiment: name of the MLflow experiment.
        key: dataset/run/seed, the tag `pipeline.key`.
        name: of the MLflow run.
        run, dataset, evaluation: all resolved parameters.
        sweep: that the run is of, its `name` and the `keys` that it varies. The run is logged as a child of
            the sweep's, which is logged with the first of them.

    Raises:
        MmjsdError: a missing or damaged file, or the run cannot be logged.
    """
    from mmjsd.training.history import read_history
    from mmjsd.training.model_file import load_model

    history = read_history(folder / "history.csv")
    metrics = read_metrics(folder / "metrics.json")
    model, _ = load_model(folder)
    record = read_record(folder / "evaluation.record.json")
    data = sha256_file(store)
    # what training has as last value of its curves is not logged twice
    final = {k: v for k, v in metrics.items() if not k.startswith("train/")}
    numbers = {k: v for k, v in final.items() if not isinstance(v, str)}
    tags = {
        "params.hash": digest_of([run, dataset, evaluation]),
        "data.sha256": data,
        "data.source": str(dataset["source"]),
        **{f"sha256/{file}": digest for file, digest in {**record["inputs"], **record["outputs"]}.items()},
        **{k: str(v) for k, v in final.items() if k not in numbers},
    }
    params = dict(flat({**run, "dataset": dataset, "evaluation": evaluation}))
    folder = folder.absolute()  # MLflow is used where its store is
    with _logging(experiment, key, name, tags, folder / "mlflow.json", sweep) as logged:
        logged.params(params)
        logged.dataset(str(store), experiment, data)
        logged.files(folder / "history.csv", folder / "metrics.json")
        logged.folder(folder / "figures")
        model_id = logged.model(model, params)
        logged.metrics(((k, 0, v) for k, v in numbers.items()), model_id)
        logged.metrics(_curves(history), model_id)


def publish(files: Iterable[Path], out: Path) -> None:
    """Log files that concern all runs, as artifacts of a run of their own, and write where to find it.

    Earlier such runs of the same commit are deleted.

    Args:
        files: the comparison and the report.
        out: the JSON file that says where they are.

    Raises:
        MmjsdError: they cannot be logged.
    """
    files = [file.absolute() for file in files]
    with _logging("comparison", "comparison", "comparison", {}, out.absolute()) as logged:
        logged.files(*files)


def _curves(history: list[dict[str, float]]) -> Iterator[tuple[str, int, float]]:
    for row in history:
        for column, value in row.items():
            if column != "epoch":
                yield f"train/{column}", int(row["epoch"]), value


class _Logged(NamedTuple):
    """A run of MLflow, by its id: which run or model the process has as active one is no matter."""

    client: Any
    experiment_id: str
    run_id: str

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(_key(name), str(value)) for name, value in params.items()]
        self.client.log_batch(self.run_id, params=entries, synchronous=True)

    def metrics(self, values: Iterable[tuple[str, int, float]], model_id: str) -> None:
        """Names, steps and values, of those that are finite; they are the model's, too."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(_key(name), value, now, step, model_id=model_id, run_id=self.run_id)
            for name, step, value in values
            if math.isfinite(value)
        ]
        self.client.log_batch(self.run_id, metrics=entries, synchronous=True)

    def dataset(self, path: str, name: str, sha256: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, sha256[:36], "local", json.dumps({"uri": path}, allow_nan=False))
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])

    def files(self, *paths: Path) -> None:
        for path in paths:
            self.client.log_artifact(self.run_id, str(path))

    def folder(self, path: Path) -> None:
        self.client.log_artifacts(self.run_id, str(path), path.name)

    def model(self, model: "Module", params: Mapping[str, Any]) -> str:
        """What `mlflow.pytorch.log_model` does for the active run; the id of the model."""
        import mlflow.pytorch
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        created = self.client.create_logged_model(
            self.experiment_id, "model", self.run_id, params={_key(k): str(v) for k, v in params.items()}
        )
        about = Model(
            artifact_path=created.artifact_location,
            run_id=self.run_id,
            model_uuid=created.model_id,
            model_id=created.model_id,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model"
            try:
                mlflow.pytorch.save_model(
                    model,
                    path,
                    mlflow_model=about,
                    serialization_format="pickle",
                    # given, for finding them out would load the model in another process
                    pip_requirements=[f"mmjsd=={version('mmjsd')}", f"torch=={version('torch')}"],
                )
            except RuntimeError as error:  # PyTorch does not say why it cannot write
                raise MmjsdError(
                    f"{folder}: the model cannot be written there ({' '.join(str(error).split())[:100]}); "
                    "make room, or name another folder in TMPDIR"
                ) from None
            self.client.log_model_artifacts(created.model_id, path)
        self.client.log_outputs(self.run_id, [LoggedModelOutput(created.model_id, 0)])
        self.client.finalize_logged_model(created.model_id, "READY")
        return created.model_id


@contextmanager
def _logging(
    experiment: str,
    key: str,
    name: str,
    tags: Mapping[str, str],
    out: Path,
    sweep: Mapping[str, Any] | None = None,
) -> Iterator[_Logged]:
    """A run of MLflow, noted in `out`. Once complete it replaces its twins, those of the same key and commit.

    Those of other commits, and of other experiments of DVC, stay to be compared with. One of a sweep is a
    child of the sweep's run.

    Raises:
        MmjsdError: MLflow cannot be reached, for a server not within the minutes its client tries again
            (MLFLOW_HTTP_REQUEST_MAX_RETRIES), or cannot store the run.
    """
    store = tracking_store()
    tags = {"pipeline.key": key, **describe(), **tags}
    try:
        with contextlib.chdir(store.folder), _quiet_mlflow():
            client, experiment_id = _connect(store, experiment)
            twins = [
                run.info.run_id
                for run in _runs(client, experiment_id, f"tags.`pipeline.key` = '{key}'")
                if all(run.data.tags.get(tag) == tags.get(tag) for tag in ("git.commit", "dvc.experiment"))
            ]
            if sweep:
                parent = _parent(client, experiment_id, store, experiment, sweep)
                tags |= {"sweep": sweep["name"], _PARENT: parent}
            tags = {_key(tag): value for tag, value in tags.items()}
            run = client.create_run(experiment_id, tags=_origin(tags) | tags, run_name=name)
            logged = _Logged(client, experiment_id, run.info.run_id)
            try:
                yield logged
            except BaseException as error:
                with contextlib.suppress(Exception):  # it may be MLflow that fails
                    client.set_terminated(
                        logged.run_id, "FAILED" if isinstance(error, Exception) else "KILLED"
                    )
                raise
            client.set_terminated(logged.run_id)
            for twin in twins:
                client.delete_run(twin)
    except MmjsdError:
        raise
    except Exception as error:  # of MLflow, or of what it uses to reach databases and stores of artifacts
        if cause := explain(error, is_server=store.is_server):
            told = f"{store.uri}: {name} cannot be logged: {cause}"
            raise MmjsdError(without_passwords(told)) from None
        raise
    content = {
        "run_id": logged.run_id,
        "experiment": experiment,
        "name": name,
        "tracking_uri": store.shown,
        **({"parent_run_id": parent} if sweep else {}),
    }
    atomic_write(out, json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"{name}: logged to MLflow experiment {experiment}", flush=True)


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """MLflow without telemetry and its messages: what is wrong is told in one line."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when it is imported
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow  # noqa: F401  # sets the levels

    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _connect(store: TrackingStore, experiment: str) -> tuple[Any, str]:
    """A client, and the id of the experiment, which is created where there is none."""
    import mlflow

    if store.is_server:
        client = mlflow.MlflowClient(store.uri, store.uri)
        return client, _experiment(client, experiment, None)
    database = store.database
    # the first connection creates the tables, and two at once ruin the database
    with _alone(store):
        if database:
            if database.exists():
                _check(database)
            else:
                _create(database, store)
        client = mlflow.MlflowClient(store.address, store.address)
        experiment_id = _experiment(client, experiment, _NOWHERE if database else None)
        if database:
            _settle(database, experiment_id, store)
    return client, experiment_id


def _alone(store: TrackingStore) -> AbstractContextManager[bool]:
    """What no two processes do at once, with a store and from a project."""
    # whoever may write to the database may also lock it
    return exclusive(Path(f"{store.database or store.folder / 'mlflow.db'}.lock"), mode=0o666)


def _parent(
    client: Any, experiment_id: str, store: TrackingStore, experiment: str, sweep: Mapping[str, Any]
) -> str:
    """The id of the run that the runs of a sweep are children of, created where there is none.

    It is one for all commits: a sweep that grows keeps its children together.
    """
    key = f"{experiment}/{sweep['name']}"  # one part less than that of a run
    with _alone(store):
        found = _runs(client, experiment_id, f"tags.`pipeline.key` = '{key}'")
        tags = {"pipeline.key": key, "sweep.keys": ", ".join(sweep["keys"])}
        if found:
            parent = found[0]
            for tag, value in tags.items():
                if parent.data.tags.get(tag) != value:
                    client.set_tag(parent.info.run_id, tag, value)
        else:
            parent = client.create_run(experiment_id, tags=_origin({}) | tags, run_name=sweep["name"])
        client.set_terminated(parent.info.run_id)  # with each child: it lasts until the last
    return parent.info.run_id


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    from mlflow import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_location=artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another process was faster
    if experiment.lifecycle_stage == "deleted":
        # its name is taken; what was deleted with it, or before, stays so
        runs = _runs(client, experiment.experiment_id, deleted=True)
        client.restore_experiment(experiment.experiment_id)
        for run in runs:
            client.delete_run(run.info.run_id)
    return experiment.experiment_id


def _runs(client: Any, experiment_id: str, condition: str = "", *, deleted: bool = False) -> list[Any]:
    from mlflow.entities import ViewType

    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    page = client.search_runs([experiment_id], condition, view)
    found = list(page)
    while page.token:
        page = client.search_runs([experiment_id], condition, view, page_token=page.token)
        found += page
    return found


def _check(database: Path) -> None:
    """Find at once what keeps MLflow from using a database, for it would try again for two minutes.

    Raises:
        MmjsdError: it is of a newer MLflow.
        sqlite3.Error: it cannot be opened or written to.
    """
    import mlflow

    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.execute("begin immediate")
        tables = connection.execute("select name from sqlite_master where name = 'alembic_version'")
        schema = connection.execute("select * from alembic_version").fetchone() if tables.fetchone() else None
    known = Path(mlflow.__file__).parent / "store/db_migrations/versions"
    if schema and not any(known.glob(f"{schema[0]}_*.py")):
        raise MmjsdError(
            f"{database}: is of another version of MLflow than {version('mlflow')} (schema {schema[0]}); "
            "install the one that made it, or name another database in MLFLOW_TRACKING_URI"
        )


def _create(database: Path, store: TrackingStore) -> None:
    """A database with the tables of MLflow, which a process killed meanwhile would leave unusable."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = database.with_name(f"{database.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    new = folder / database.name
    address = TrackingStore(f"sqlite:///{os.path.relpath(new, store.folder)}", store.folder).address
    SqlAlchemyStore(address, _NOWHERE)
    _settle(new, SqlAlchemyStore.DEFAULT_EXPERIMENT_ID, store)
    os.replace(new, database)
    shutil.rmtree(folder)


def _settle(database: Path, experiment_id: str, store: TrackingStore) -> None:
    """Have the artifacts of an experiment where they belong, also after the project was moved or copied.

    MLflow makes each path absolute, and would write on into the folder of then. It understands relative ones
    as well, but has to be told behind its back. What is elsewhere on purpose stays there.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        query = "select artifact_location from experiments where experiment_id = ?"
        (there,) = connection.execute(query, [experiment_id]).fetchone()
        place = re.fullmatch(r"(?:file:)?/.*/mlruns(/\d+)?", there)
        here = f"{store.artifacts}{place[1] or ''}" if place else there
        if here == there:
            return
        update = "update experiments set artifact_location = ? where experiment_id = ?"
        connection.execute(update, [here, experiment_id])
        for table, key, column in (
            ("runs", "run_uuid", "artifact_uri"),
            ("logged_models", "model_id", "artifact_location"),
        ):
            query = f"select {key}, {column} from {table} where experiment_id = ?"
            for identifier, old in connection.execute(query, [experiment_id]).fetchall():
                new = old.replace(there, here, 1)
                if old.startswith(f"{there}/") and _path(new, store).exists():
                    connection.execute(f"update {table} set {column} = ? where {key} = ?", [new, identifier])


def _path(artifacts: str, store: TrackingStore) -> Path:
    path = unquote(urlsplit(artifacts).path) if artifacts.startswith("file:") else artifacts
    return store.folder / path


def _origin(tags: Mapping[str, str]) -> dict[str, str]:
    """Where a run comes from, as MLflow's pages show it."""
    origin = {"mlflow.source.name": "mmjsd", "mlflow.source.type": "LOCAL"}
    if commit := tags.get("git.commit"):
        origin["mlflow.source.git.commit"] = commit
    with contextlib.suppress(KeyError, OSError):  # a user of a container has no name
        origin["mlflow.user"] = getpass.getuser()
    return origin


def _key(name: str) -> str:
    """A name of a file or value as MLflow permits it as a key."""
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))[:250]
