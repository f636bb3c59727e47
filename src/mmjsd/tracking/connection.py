"""How MLflow is reached: quietly, with tables that one process alone creates, and files that may be moved."""

import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mmjsd.errors import MmjsdError
from mmjsd.provenance.locks import exclusive
from mmjsd.tracking.store import TrackingStore

__all__ = ["alone", "connect", "find_runs", "quiet_mlflow"]

#: Where MLflow believes files to be until `_settle` says where. It would write the path of the folder into
#: its SQL as it is, quotes and all.
_NOWHERE = "file:///nowhere/mlruns"


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Use MLflow without telemetry and its messages: what is wrong is told in one line."""
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


def connect(store: TrackingStore, experiment: str) -> tuple[Any, str]:
    """Give a client, and the id of the experiment, which is created where there is none.

    Raises:
        MmjsdError: the database is of another version of MLflow.
        Exception: of MLflow, or of what it uses; :func:`mmjsd.tracking.faults.explain` says what it means.
    """
    import mlflow

    if store.is_server:
        client = mlflow.MlflowClient(store.uri, store.uri)
        return client, _experiment(client, experiment, None)
    database = store.database
    # the first connection creates the tables, and two at once ruin the database
    with alone(store):
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


def alone(store: TrackingStore) -> AbstractContextManager[bool]:
    """Surround what no two processes do at once, with a store and from a project."""
    # whoever may write to the database may also lock it
    return exclusive(Path(f"{store.database or store.folder / 'mlflow.db'}.lock"), mode=0o666)


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    from mlflow import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            # MLflow's pages then show runs and their curves first, and not traces of language models
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return client.create_experiment(name, artifact_location=artifacts, tags=kind)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another process was faster
    if experiment.lifecycle_stage == "deleted":
        # its name is taken; what was deleted with it, or before, stays so
        runs = find_runs(client, experiment.experiment_id, deleted=True)
        client.restore_experiment(experiment.experiment_id)
        for run in runs:
            client.delete_run(run.info.run_id)
    return experiment.experiment_id


def find_runs(client: Any, experiment_id: str, condition: str = "", *, deleted: bool = False) -> list[Any]:
    """List all runs of an experiment of which a condition holds, in the language of MLflow."""
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
