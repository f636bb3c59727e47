"""What is logged to a run of MLflow, and in which form."""

import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmjsd.errors import MmjsdError

if TYPE_CHECKING:  # slow to import
    from torch.nn import Module

__all__ = ["Logged", "as_key", "curves"]


class Logged(NamedTuple):
    """A run of MLflow, by its id: which run or model the process has as active one is no matter."""

    client: Any
    experiment_id: str
    run_id: str

    def tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(name, value) for name, value in tags.items()]
        self.client.log_batch(self.run_id, tags=entries, synchronous=True)

    def params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(as_key(name), str(value)) for name, value in params.items()]
        self.client.log_batch(self.run_id, params=entries, synchronous=True)

    def metrics(
        self,
        values: Iterable[tuple[str, int, float]],
        model_id: str | None = None,
        times: Mapping[int, int] | None = None,
    ) -> None:
        """Names, steps and values, of those that are finite; they are the model's, too, if one is named.

        A step of which the time is known has that one, in milliseconds: MLflow keeps once what it gets again
        with the same time.
        """
        from mlflow.entities import Metric

        times, now = times or {}, int(time.time() * 1000)
        entries = [
            Metric(as_key(name), value, times.get(step, now), step, model_id=model_id, run_id=self.run_id)
            for name, step, value in values
            if math.isfinite(value)
        ]
        self.client.log_batch(self.run_id, metrics=entries, synchronous=True)

    def times(self) -> dict[int, int]:
        """The epochs that are logged, and when they were."""
        points = self.client.get_metric_history(self.run_id, "train/loss")
        return {point.step: point.timestamp for point in points}

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
            self.experiment_id, "model", self.run_id, params={as_key(k): str(v) for k, v in params.items()}
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


def curves(history: Iterable[Mapping[str, float]]) -> Iterator[tuple[str, int, float]]:
    """Give name, epoch and value of all that the rows of a history say."""
    for row in history:
        for column, value in row.items():
            if column != "epoch":
                yield f"train/{column}", int(row["epoch"]), value


def as_key(name: str) -> str:
    """Turn a name of a file or value into a key that MLflow permits."""
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))[:250]
