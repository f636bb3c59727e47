"""What the pipeline leaves in MLflow's default store, which parallel steps create at once."""

import json
import sqlite3

from project import Outcome, Project


def test_one_run_each_in_the_default_store(made: tuple[Project, Outcome]) -> None:
    folder = made[0].folder
    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = database.execute("select name, status, lifecycle_stage from runs order by name").fetchall()
        experiments = database.execute("select name, artifact_location from experiments").fetchall()
    assert runs == [(name, "FINISHED", "active") for name in ("comparison", "js", "moe")]
    assert ("tiny", (folder / "mlruns").as_uri()) in experiments
    place = json.loads((folder / "results/tiny/js/seed-1/mlflow.json").read_bytes())
    assert place["tracking_uri"] == "sqlite:///mlflow.db"
