"""A database of MLflow, which takes a second to make one."""

import contextlib
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has no runs; to be copied."""
    import mlflow

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with contextlib.chdir("/"):
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
