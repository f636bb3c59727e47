"""Real DVC beside real Snakemake, in a git repository of its own: they agree on what is up to date."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
import yaml

from mmjsd.cli import main
from support.project import Outcome, Project, finished, read_until, wait_for
from support.repository import Repository


def runs_made(outcome: Outcome) -> set[str]:
    """The runs that were trained."""
    assert outcome.code == 0, outcome.output
    return set(re.findall(r"training ([\w.=-]+), seed", " ".join(outcome.jobs)))


@pytest.fixture(scope="module")
def adopted(made: tuple[Project, Outcome], tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """What a finished `snakemake` left, taken over by DVC, committed and pushed; no test may change it."""
    folder = tmp_path_factory.mktemp("dvc") / "repository"
    shutil.copytree(made[0].folder, folder)
    shutil.rmtree(folder / ".snakemake", ignore_errors=True)
    repository = Repository(folder)
    repository.begin()
    before = repository.contents()
    outcome = repository.dvc("repro")
    assert outcome.code == 0, outcome.output
    assert outcome.jobs <= {"all stores are built"}
    assert repository.contents() == before
    repository.dvc("remote", "add", "--default", "storage", str(folder.parent / "storage"))
    repository.commit("What was made")
    assert repository.dvc("push").code == 0
    return repository


@pytest.fixture
def repository(adopted: Repository, tmp_path: Path) -> Repository:
    """A copy of it."""
    return Repository(Path(shutil.copytree(adopted.folder, tmp_path / "repository", symlinks=True)))


def clone_of(repository: Repository, folder: Path) -> Repository:
    repository.git("clone", "-q", str(repository.folder), str(folder))
    return Repository(folder)


def test_after_snakemake_and_dvc_both_say_up_to_date(adopted: Repository) -> None:
    adopted.agree()
    again = adopted.dvc("repro")
    assert "Data and pipelines are up to date" in again.output, again.output


def test_a_clone_with_pulled_artifacts_is_up_to_date(repository: Repository, tmp_path: Path) -> None:
    clone = clone_of(repository, tmp_path / "clone")
    pulled = clone.dvc("pull")
    assert pulled.code == 0, pulled.output
    assert "up to date" in clone.dvc("status").output
    # but for what MLflow has: its database stayed behind
    logging = {f"logging {run}, seed 1, to MLflow" for run in ("js", "moe")}
    assert clone.snakemake().jobs == logging | {"logging the comparison and the report to MLflow"}
    assert clone.dvc("repro").jobs == set()
    clone.agree()
    checked = clone.call("mmjsd", "provenance", "results/tiny/js/seed-1")
    assert checked.code == 0, checked.output
    assert "every hash holds" in checked.output
    clone.change("moe", beta=1.5)
    assert runs_made(clone.snakemake("--dry-run")) == {"moe"}


def test_the_store_has_one_number_everywhere(adopted: Repository) -> None:
    import mlflow

    metrics = json.loads((adopted.folder / "results/tiny/js/seed-1/metrics.json").read_bytes())
    number = metrics["meta/data_sha256"]
    (record,) = [json.loads((adopted.folder / name).read_bytes()) for name in ("data/tiny.record.json",)]
    assert record["outputs"] == {"data/tiny.h5": number}
    assert number in adopted.call("sha256sum", "data/tiny.h5").output
    assert number in (adopted.folder / "results/report.html").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{adopted.folder / 'mlflow.db'}")
    place = json.loads((adopted.folder / "results/tiny/js/seed-1/mlflow.json").read_bytes())
    assert client.get_run(place["run_id"]).data.tags["data.sha256"] == number
    lock = yaml.safe_load((adopted.folder / "dvc.lock").read_text())
    (data,) = lock["stages"]["data"]["outs"]
    listed = json.loads(
        (adopted.folder / f".dvc/cache/files/md5/{data['md5'][:2]}/{data['md5'][2:]}").read_text()
    )
    (store,) = [entry["md5"] for entry in listed if entry["relpath"] == "tiny.h5"]
    cached = adopted.folder / f".dvc/cache/files/md5/{store[:2]}/{store[2:]}"
    assert cached.read_bytes() == (adopted.folder / "data/tiny.h5").read_bytes()


def test_an_added_sweep_is_made_and_a_removed_one_leaves_the_tables(repository: Repository) -> None:
    before = (repository.folder / "params.yaml").read_text()
    sweep = {"dataset": "tiny", "objective": "mvae", "vary": {"beta": [1.0, 10]}}
    repository.write({**yaml.safe_load(before), "sweeps": {"poe": sweep}})
    runs = {"poe-beta=1.0", "poe-beta=10.0"}
    assert runs_made(repository.dvc("repro")) == runs
    repository.agree()
    # the tables, the report and MLflow
    folder = repository.folder
    with (folder / "results/comparison.csv").open(newline="") as file:
        assert {row["run"]: row["sweep"] for row in csv.DictReader(file)} == (
            {"js": "", "moe": "", **dict.fromkeys(runs, "poe")}
        )
    assert "Headline metrics of the sweep <code>poe</code>" in (folder / "results/report.html").read_text()
    with sqlite3.connect(folder / "mlflow.db") as database:
        children = database.execute(
            "select child.name, parent.name from runs child join tags using (run_uuid) join runs parent "
            "on parent.run_uuid = tags.value where tags.key = 'mlflow.parentRunId'"
        ).fetchall()
        assert sorted(children) == [(run, "poe") for run in sorted(runs)]
        assert database.execute("select count(*) from runs where name = 'poe'").fetchone() == (1,)
    # DVC has the same names
    shown, changed = (repository.dvc(*words).output for words in (("metrics", "show"), ("params", "diff")))
    assert all(f"results/metrics/tiny/{run}/seed-1.json" in shown for run in runs)
    assert "sweeps.poe.vary.beta" in changed
    (header, *_) = csv.reader(repository.dvc("exp", "show", "--csv").output.splitlines())
    assert {f"results/metrics/tiny/{run}/seed-1.json:coherence/random" for run in runs} <= set(header)

    (repository.folder / "params.yaml").write_text(before)
    outcome = repository.dvc("repro")
    assert runs_made(outcome) == set()
    repository.agree()
    assert "poe" not in repository.dvc("metrics", "show").output
    assert "poe" not in (repository.folder / "results/comparison.md").read_text()


def test_no_branch_keeps_a_model_of_another(repository: Repository) -> None:
    """The other one's is made by an experiment, which has one name in DVC and MLflow."""
    import mlflow

    js, moe, commit = repository.of("js"), repository.of("moe"), repository.git("rev-parse", "HEAD")
    repository.git("checkout", "-q", "-b", "other")
    experiment = ["--name", "small", "--set-param", "+runs.moe.shared_latent=7"]
    assert runs_made(repository.dvc("exp", "run", *experiment)) == {"moe"}
    repository.agree()
    assert repository.of("js") == js
    other = repository.of("moe")
    model = "results/tiny/moe/seed-1/model.safetensors"
    assert moe[model] != other[model]
    assert "shared_latent" in repository.dvc("params", "diff").output
    assert "results/metrics/tiny/moe/seed-1.json" in repository.dvc("metrics", "diff").output
    assert "small" in repository.dvc("exp", "show", "--csv").output
    client = mlflow.MlflowClient(f"sqlite:///{repository.folder / 'mlflow.db'}")
    of_tiny = [client.get_experiment_by_name("tiny").experiment_id]
    (run,) = client.search_runs(of_tiny, filter_string="tags.`dvc.experiment` = 'small'")
    assert run.data.params["shared_latent"] == "7"
    assert run.data.tags["git.commit"] == commit
    repository.commit("A smaller latent")

    # with `dvc checkout`: the very files of then
    repository.git("checkout", "-q", "main")
    assert repository.dvc("checkout").code == 0
    assert repository.of("moe") == moe
    repository.agree()

    # without: the model of the other branch is there, seen as such, and made again
    repository.git("checkout", "-q", "other")
    assert "moe/seed-1/training.record.json: to be made again (other params: shared_latent)" in (
        repository.snakemake("--dry-run").output
    )
    assert "up to date" not in repository.dvc("status").output
    assert runs_made(repository.snakemake()) == {"moe"}
    assert runs_made(repository.dvc("repro")) == set()
    repository.agree()
    assert repository.of("moe")[model] == other[model]


def test_an_artifact_edited_by_hand_is_found_and_made_again(repository: Repository) -> None:
    judge = repository.folder / "results/tiny/classifiers/text/model.safetensors"
    intact = judge.read_bytes()
    judge.write_bytes(intact[:-1] + b"x")
    told = repository.call("mmjsd", "provenance", "results/tiny/js/seed-1")
    assert told.code == 1
    assert "results/tiny/classifiers/text/model.safetensors: is not what was recorded" in told.output
    assert "Traceback" not in told.output
    outcome = repository.dvc("repro")
    assert runs_made(outcome) == set()
    assert "training the text classifier of tiny" in outcome.jobs
    assert judge.read_bytes() == intact
    repository.agree()


def test_a_product_that_is_rebuilt_the_same_leaves_the_others(repository: Repository) -> None:
    with (repository.folder / "src/mmjsd/data/kinds/mnist_svhn_text.py").open("a") as code:
        code.write("\nassert True\n")
    before = repository.bytes()
    outcome = repository.snakemake()
    assert outcome.code == 0, outcome.output
    assert (
        "data/tiny.record.json: to be made again (other code: mmjsd.data.kinds.mnist_svhn_text)"
        in outcome.output
    )
    assert outcome.output.count("to be made again") == 1
    log = (repository.folder / "logs/tiny/js/seed-1/train.log").read_text()
    assert log == "results/tiny/js/seed-1/training.record.json: is up to date\n"
    after = repository.bytes()
    assert {name for name in before if after[name] != before[name]} == {"data/tiny.record.json"}
    repository.dvc("repro")
    repository.agree()


def test_a_queued_experiment_runs_the_code_of_its_commit(repository: Repository) -> None:
    """In a temporary copy, which is gone afterwards; it logs to the project."""
    del repository.environment["PYTHONPATH"]
    repository.change("moe", beta=2.5)  # the default, so nothing changes
    repository.commit("Say beta")
    queued = repository.dvc("exp", "run", "--queue", "--name", "queued", "--set-param", "runs.moe.beta=5")
    assert queued.code == 0, queued.output
    code = repository.folder / "src/mmjsd/training/loop.py"
    intact = code.read_text()
    code.write_text(f"{intact}\nraise RuntimeError('edited meanwhile')\n")
    ran = repository.dvc("exp", "run", "--run-all")
    assert ran.code == 0, ran.output
    shown = repository.dvc("exp", "show", "--csv").output
    (line,) = [line for line in shown.splitlines() if "queued" in line]
    assert "Failed" not in line, line
    assert "Success" in repository.dvc("queue", "status").output
    code.write_text(intact)

    with sqlite3.connect(repository.folder / "mlflow.db") as database:
        logged = database.execute(
            "select r.run_uuid, r.name from runs r join tags t on r.run_uuid = t.run_uuid"
            " where t.key = 'dvc.experiment' and t.value = 'queued' and r.lifecycle_stage = 'active'"
        ).fetchall()
    # the others are there already, and not logged once more
    assert sorted(name for _, name in logged) == ["comparison", "moe"]
    for run, _ in logged:
        assert list((repository.folder / "mlruns" / run / "artifacts").iterdir())
    assert repository.dvc("exp", "apply", "queued").code == 0
    place = json.loads((repository.folder / "results/tiny/moe/seed-1/mlflow.json").read_bytes())
    assert (place["run_id"], "moe") in logged
    repository.agree()


def test_code_makes_again_what_depends_on_it_and_no_more(repository: Repository) -> None:
    """The code of the copy, whatever is installed."""
    del repository.environment["PYTHONPATH"]
    code = repository.folder / "src/mmjsd/reporting/tables.py"
    text = code.read_text()
    code.write_text("# a comment\n" + text + "\n\ndef more() -> int:\n    return 1\n")
    before = repository.contents()
    outcome = repository.dvc("repro")
    assert outcome.jobs == set(), outcome.output
    assert repository.contents() == before
    repository.agree()
    code.write_text(text + "\nimport sys\n\nsys.stdout.write('the code of this copy\\n')\n")
    outcome = repository.dvc("repro")
    assert "results/comparison.record.json: to be made again (other code" in outcome.output
    assert "comparing the runs" in outcome.jobs, outcome.output
    assert not any(job.startswith(("training", "evaluating", "building")) for job in outcome.jobs)
    assert "the code of this copy" in (repository.folder / "logs/compare.log").read_text()
    repository.agree()


def test_one_goes_on_where_the_other_was_ended(repository: Repository) -> None:
    """Killed, or asked to end by a signal to the whole group, as a terminal or a job scheduler sends it."""
    repository.change("js", epochs=60)
    checkpoint = "results/tiny/js/seed-1/checkpoint.pt"
    log = repository.folder / "logs/tiny/js/seed-1/train.log"

    def begun(*command: str) -> subprocess.Popen[str]:
        process = repository.start_command(*command)
        read_until(process, r"epoch \d+/60")
        return process

    def first_epoch() -> int:
        return int(re.findall(r"epoch (\d+)/60", log.read_text())[0])

    process = begun("snakemake", "--cores", "2")
    wait_for(repository.folder / checkpoint)
    os.killpg(process.pid, signal.SIGKILL)
    finished(process)
    assert first_epoch() == 1
    for number in (signal.SIGINT, signal.SIGTERM):
        process = begun("dvc", "repro")
        os.killpg(process.pid, number)
        assert finished(process).code != 0
        assert first_epoch() > 1
        saved = f"{checkpoint}: saved; the same command goes on from there"
        assert log.read_text().splitlines()[-1] == saved
    process = begun("dvc", "repro")
    os.killpg(process.pid, signal.SIGKILL)
    finished(process)
    assert runs_made(repository.snakemake()) == {"js"}
    assert first_epoch() > 1
    assert runs_made(repository.dvc("repro")) == set()
    repository.agree()


def test_git_sees_nothing_but_the_lock(repository: Repository) -> None:
    """After each documented command, in a clone and in a copy."""
    commands = [
        ["snakemake", "--cores", "2"],
        ["dvc", "repro"],
        ["dvc", "exp", "run", "--name", "tried", "--set-param", "runs.js.beta=2.5"],
        ["dvc", "metrics", "diff"],
        ["mmjsd", "provenance", "results/tiny/js/seed-1"],
        ["mmjsd", "params", "check"],
    ]
    repository.change("js", beta=2.5)
    repository.commit("Say beta")
    for command in commands:
        outcome = repository.call(*command)
        assert outcome.code == 0, outcome.output
        changed = set(repository.git("status", "--porcelain").split()[1::2])
        assert changed <= {"dvc.lock"}, (command, changed)
    assert (repository.folder / "sources").is_dir()


def test_curves_of_all_runs_are_in_one_plot(repository: Repository) -> None:
    shown = repository.dvc("plots", "show", "--out", "plots")
    assert shown.code == 0, shown.output
    page = (repository.folder / "plots/index.html").read_text()
    assert '"run": "js"' in page
    assert '"run": "moe"' in page
    assert '"field": "run"' in page
    assert repository.dvc("plots", "diff", "HEAD~1", "--json").code == 0


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_into_the_cache_are_replaced_and_never_written_through(
    repository: Repository, link: str
) -> None:
    repository.dvc("config", "cache.type", link)
    assert repository.dvc("checkout", "--relink").code == 0
    with contextlib.chdir(repository.folder):
        for step in ("data build tiny", "classify tiny text", "train js", "evaluate js", "figures js"):
            assert main([*step.split(), "--force"]) == 0
    outcome = repository.dvc("repro")
    assert outcome.code == 0, outcome.output
    assert {"comparing the runs", "logging js, seed 1, to MLflow", "writing the report"} <= outcome.jobs
    repository.agree()
    for file in (repository.folder / ".dvc/cache/files/md5").glob("*/*"):
        if file.suffix != ".dir":
            assert f"{file.parent.name}{file.name}" in repository.call("md5sum", str(file)).output


def test_what_is_missing_in_cache_and_remote_is_told_and_made_again(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".dvc/cache")
    shutil.rmtree(repository.folder / "results/tiny/moe")
    repository.dvc("remote", "modify", "storage", "url", str(repository.folder / "nowhere"))
    pulled = repository.dvc("pull")
    assert pulled.code != 0
    assert "Traceback" not in pulled.output
    assert runs_made(repository.dvc("repro")) == {"moe"}
    repository.agree()


def test_a_damaged_lock_is_told_and_can_be_taken_from_git(repository: Repository) -> None:
    for text in ("not: [a lock", "schema: '2.0'\nstages: {data: 3}\n", ""):
        (repository.folder / "dvc.lock").write_text(text)
        outcome = repository.dvc("repro")
        if outcome.code:
            assert "dvc.lock" in outcome.output
            assert "Traceback" not in outcome.output
        repository.git("checkout", "dvc.lock")
    repository.agree()


def test_a_lock_of_other_data_is_found(repository: Repository) -> None:
    lock = repository.folder / "dvc.lock"
    number = yaml.safe_load(lock.read_text())["stages"]["results"]["outs"][0]["md5"]
    lock.write_text(lock.read_text().replace(number, "0" * 32 + ".dir"))
    assert "results" in repository.dvc("status").output
    assert runs_made(repository.dvc("repro")) == set()
    repository.agree()
    assert number in lock.read_text()


# --- A remote like S3 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A server that speaks S3, for this test alone: its address and credentials."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    server.stop()


def test_artifacts_come_back_from_s3(
    repository: Repository, tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=s3["AWS_ENDPOINT_URL"]).Bucket("runs")
    bucket.create()
    repository.dvc("remote", "add", "--default", "--force", "cloud", "s3://runs/mmjsd")
    refused = repository.dvc("push", **s3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert refused.code != 0
    assert "Traceback" not in refused.output
    pushed = repository.dvc("push", **s3)
    assert pushed.code == 0, pushed.output
    before = repository.bytes()
    for folder in (".dvc/cache", "data", "results"):
        shutil.rmtree(repository.folder / folder)
    # broken mid-transfer: an object is lost, then comes back
    victim = max(bucket.objects.all(), key=lambda item: item.size)
    content = victim.get()["Body"].read()
    victim.delete()
    broken = repository.dvc("pull", **s3)
    assert broken.code != 0
    assert "Traceback" not in broken.output
    bucket.put_object(Key=victim.key, Body=content)
    pulled = repository.dvc("pull", **s3)
    assert pulled.code == 0, pulled.output
    assert repository.bytes() == before
    repository.agree()
