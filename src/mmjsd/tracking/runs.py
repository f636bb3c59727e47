"""MLflow: one run per parameter set and seed, ready to compare."""

import contextlib
import getpass
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import headline, with_summaries
from mmjsd.flat import flat
from mmjsd.provenance import environment
from mmjsd.provenance.files import atomic_write, digest_of, sha256_file
from mmjsd.provenance.records import read_record
from mmjsd.tracking.begun import unfinished_run
from mmjsd.tracking.connection import alone, connect, find_runs, quiet_mlflow
from mmjsd.tracking.faults import explain
from mmjsd.tracking.logged import Logged, as_key, curves
from mmjsd.tracking.notes import NOTE, note_of_experiment, note_of_run, note_of_sweep, set_note, view
from mmjsd.tracking.store import TrackingStore, tracking_store, without_passwords

__all__ = ["SAMPLES", "begin", "find_unfinished", "nest", "publish", "track"]

#: The folder of what was drawn while the run was trained.
SAMPLES = "samples"

#: The tag by which MLflow nests runs.
_PARENT = "mlflow.parentRunId"

#: A tag that `track` sets first of all.
_COMPLETED = "params.hash"


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

    The run that training has logged to is completed, if there is one (`live.json`). Earlier runs of the same
    key and commit are deleted once this one is complete.

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
    known = with_summaries(numbers)
    numbers |= {key: known[key] for key in headline().values() if key in known}
    made = environment.describe()
    tags = {
        **made,
        _COMPLETED: digest_of([run, dataset, evaluation]),
        "data.sha256": data,
        "data.source": str(dataset["source"]),
        **{f"sha256/{file}": digest for file, digest in {**record["inputs"], **record["outputs"]}.items()},
        **{k: str(v) for k, v in final.items() if k not in numbers},
        NOTE: note_of_run(run, dataset, experiment, made),
    }
    params = dict(flat({**run, "dataset": dataset, "evaluation": evaluation}))
    folder = folder.absolute()  # MLflow is used where its store is
    begun = unfinished_run(folder)
    with _logging(experiment, key, name, tags, folder / "mlflow.json", sweep, begun) as logged:
        logged.params(params)
        logged.dataset(str(store), experiment, data)
        logged.files(folder / "history.csv", folder / "metrics.json")
        logged.folder(folder / "figures")
        if (folder / SAMPLES).is_dir():
            logged.folder(folder / SAMPLES)
        model_id = logged.model(model, params)
        logged.metrics(((k, 0, v) for k, v in numbers.items()), model_id)
        logged.metrics(curves(history), model_id, logged.times())


def publish(files: Iterable[Path], out: Path, experiments: Mapping[str, Mapping[str, Any]]) -> None:
    """Log files that concern all runs, as artifacts of a run of their own, and write where to find it.

    Earlier such runs of the same commit are deleted. Experiments and sweeps are described.

    Args:
        files: the comparison and the report.
        out: the JSON file that says where they are.
        experiments: name -> the `kind` and `source` of its dataset, the `objectives` of its runs, the number
            of `seeds` of each, and its `sweeps`: name -> the `keys` that it varies and its number of `runs`.

    Raises:
        MmjsdError: they cannot be logged.
    """
    files = [file.absolute() for file in files]
    store, made, ids = tracking_store(), environment.describe(), dict[str, str]()
    tags = {**made, NOTE: f"Tables and report on the runs of {', '.join(experiments)}: see the artifacts."}
    with _logging("comparison", "comparison", "comparison", tags, out.absolute(), noted=ids) as logged:
        logged.files(*files)
        for name, about in experiments.items():
            ids[name] = _describe_experiment(store, {"name": name, **about}, made)


def _describe_experiment(store: TrackingStore, about: Mapping[str, Any], made: Mapping[str, str]) -> str:
    """Describe an experiment and its sweeps, and give it a view of the headline; return its id."""
    client, experiment_id = connect(store, about["name"])
    tags = client.get_experiment(experiment_id).tags
    note = note_of_experiment(about, made, experiment_id)
    set_note(note, tags, partial(client.set_experiment_tag, experiment_id))
    client.set_experiment_tag(experiment_id, *view())
    for name, sweep in about["sweeps"].items():
        nesting = nest(client, experiment_id, store, about["name"], {"name": name, **sweep})
        parent = client.get_run(nesting[_PARENT])
        note = note_of_sweep(sweep["keys"], sweep["runs"], about, made)
        set_note(note, parent.data.tags, partial(client.set_tag, parent.info.run_id))
    return experiment_id


@contextmanager
def _logging(
    experiment: str,
    key: str,
    name: str,
    tags: Mapping[str, str],
    out: Path,
    sweep: Mapping[str, Any] | None = None,
    unfinished: str | None = None,
    noted: Mapping[str, str] | None = None,
) -> Iterator[Logged]:
    """A run of MLflow, noted in `out`. Once complete it replaces its twins, those of the same key and commit.

    Those of other commits, and of other experiments of DVC, stay to be compared with. One of a sweep is a
    child of the sweep's run. An unfinished one is completed, if it is still there. Ids of experiments may be
    `noted` as well.

    Raises:
        MmjsdError: MLflow cannot be reached, for a server not within the minutes its client tries again
            (MLFLOW_HTTP_REQUEST_MAX_RETRIES), or cannot store the run.
    """
    store = tracking_store()
    tags = {"pipeline.key": key, **tags}
    try:
        with contextlib.chdir(store.folder), quiet_mlflow():
            client, experiment_id = connect(store, experiment)
            twins = [
                run.info.run_id
                for run in find_runs(client, experiment_id, f"tags.`pipeline.key` = '{key}'")
                if all(run.data.tags.get(tag) == tags.get(tag) for tag in ("git.commit", "dvc.experiment"))
            ]
            nesting = nest(client, experiment_id, store, experiment, sweep)
            logged = begin(client, experiment_id, name, tags | nesting, unfinished)
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
                if twin != logged.run_id:
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
        **({"parent_run_id": nesting[_PARENT]} if sweep else {}),
        **({"experiments": noted} if noted else {}),
    }
    atomic_write(out, json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"{name}: logged to MLflow experiment {experiment}", flush=True)


def begin(
    client: Any, experiment_id: str, name: str, tags: Mapping[str, str], unfinished: str | None
) -> Logged:
    """Go on with an unfinished run if it is still there, or create one."""
    tags = {as_key(tag): value for tag, value in {**_origin(tags), **tags}.items()}
    if unfinished and (before := find_unfinished(client, experiment_id, unfinished)):
        logged = Logged(client, experiment_id, unfinished)
        client.update_run(unfinished, "RUNNING", name)
        if NOTE in before.data.tags:  # of somebody who watched the training
            tags.pop(NOTE, None)
        logged.tags(tags)
        return logged
    run = client.create_run(experiment_id, tags=tags, run_name=name)
    return Logged(client, experiment_id, run.info.run_id)


def find_unfinished(client: Any, experiment_id: str, run_id: str) -> Any | None:
    """Find a run that nobody deleted and `track` has not begun to complete: what it logs, it logs once."""
    from mlflow import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    is_there = (run.info.lifecycle_stage, run.info.experiment_id) == ("active", experiment_id)
    return run if is_there and _COMPLETED not in run.data.tags else None


def nest(
    client: Any, experiment_id: str, store: TrackingStore, experiment: str, sweep: Mapping[str, Any] | None
) -> dict[str, str]:
    """Give the tags that make a run a child of its sweep's, which is created where there is none.

    It is one for all commits: a sweep that grows keeps its children together.
    """
    if not sweep:
        return {}
    key = f"{experiment}/{sweep['name']}"  # one part less than that of a run
    with alone(store):
        found = find_runs(client, experiment_id, f"tags.`pipeline.key` = '{key}'")
        tags = {"pipeline.key": key, "sweep.keys": ", ".join(sweep["keys"])}
        if found:
            parent = found[0]
            for tag, value in tags.items():
                if parent.data.tags.get(tag) != value:
                    client.set_tag(parent.info.run_id, tag, value)
        else:
            parent = client.create_run(experiment_id, tags=_origin({}) | tags, run_name=sweep["name"])
        client.set_terminated(parent.info.run_id)  # with each child: it lasts until the last
    return {"sweep": sweep["name"], _PARENT: parent.info.run_id}


def _origin(tags: Mapping[str, str]) -> dict[str, str]:
    """Where a run comes from, as MLflow's pages show it."""
    origin = {"mlflow.source.name": "mmjsd", "mlflow.source.type": "LOCAL"}
    if commit := tags.get("git.commit"):
        origin["mlflow.source.git.commit"] = commit
    with contextlib.suppress(KeyError, OSError):  # a user of a container has no name
        origin["mlflow.user"] = getpass.getuser()
    return origin
