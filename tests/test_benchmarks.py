"""That the benchmarks run where the tests do, and on GPUs that are not there."""

import contextlib
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from mmjsd import cli, registry
from mmjsd.data.batches import ResidentSplit
from mmjsd.params import make_run
from support.pretended import pretended_gpu
from support.project import REPOSITORY
from support.training import train_judges_briefly

FOLDER = REPOSITORY / "benchmarks"
SHARED = {"measuring", "loops", "plain"}
OWN_TEST = {"gpu"}
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - SHARED - OWN_TEST)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def step(folder: Path, *command: str) -> None:
    with contextlib.chdir(folder):
        assert cli.main(command) == 0


def run(name: str, monkeypatch: pytest.MonkeyPatch, results: Path, *options: str) -> dict[str, Any]:
    """Run a benchmark in this process; give its JSON."""
    monkeypatch.setattr("sys.argv", [name, "--quick", "--json", str(results), *options])
    train_judges_briefly(monkeypatch)
    module = importlib.import_module(name)
    if hasattr(module, "mmjsd"):  # a step in a process of its own
        monkeypatch.setattr(module, "mmjsd", step)
    module.main()
    return json.loads(results.read_text())


@pytest.mark.e2e
@pytest.mark.parametrize("name", NAMES)
def test_each_prints_tables_and_writes_json(name, monkeypatch, capsys, tmp_path):
    content = run(name, monkeypatch, tmp_path / "out.json")
    assert list(content) == ["benchmark", "options", "environment", "tables", "results"]
    assert content["benchmark"] == name
    assert content["options"]["quick"] is True
    known = {"git.commit", "version.torch", "machine.processor", "machine.cores"}
    assert known <= content["environment"].keys()
    assert content["results"]
    assert all(isinstance(value, int | float) for value in content["results"].values())
    printed = capsys.readouterr().out
    for title, rows in content["tables"].items():
        assert title in printed
        assert {tuple(row) for row in rows} == {tuple(rows[0])}
    for name in content["results"]:
        assert name in printed


def test_the_page_names_each():
    page = (FOLDER / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}.py" not in page] == []


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_steps_on_a_gpu(monkeypatch, capsys, tmp_path, kind):
    with pretended_gpu(kind):
        content = run("step", monkeypatch, tmp_path / "out.json", "--precisions", "float32")
    steps, shares = content["tables"].values()
    assert all(f"{kind}:0" in title for title in content["tables"])
    assert {f"{objective} float32" for objective in registry.entries("objectives")} <= {
        row["step"] for row in steps
    }
    for row in steps:
        assert row["samples/s"] * row["ms"] / 1000 == pytest.approx(16)
    for objective in registry.entries("objectives"):
        assert sum(row[objective] for row in shares) == pytest.approx(1)


def test_determinism_has_a_gpu_among_its_runs(monkeypatch):
    module = importlib.import_module("determinism")
    monkeypatch.setattr(module.torch.accelerator, "is_available", lambda: False)
    assert not any("gpu" in run for run in module.parameters(10)["runs"])
    for kind in ("cuda", "mps", "xpu"):
        with pretended_gpu(kind):
            runs = module.parameters(10)["runs"]
        assert {
            runs[f"{p}-gpu{again}"]["device"] for p in ("float32", "bfloat16") for again in ("", "-again")
        } == {kind}


# --- What they share --------------------------------------------------------------------------------------


def test_turns_skip_and_go_back_and_forth():
    measuring, called = importlib.import_module("measuring"), []
    calls = {name: lambda name=name: called.append(name) for name in "ab"}
    times = measuring.in_turns(calls, turns=2, repeat=2, skip=1)
    assert {name: len(taken) for name, taken in times.items()} == {"a": 2, "b": 2}
    assert "".join(called) == "aabb" + "aaabbb" + "bbbaaa"


def test_a_ratio_is_that_of_the_turns():
    measuring = importlib.import_module("measuring")
    # the machine is ten times as slow in the second turn, and something else disturbs the third
    assert measuring.ratio([2.0, 20.0, 9.0], [1.0, 10.0, 1.0]) == 2.0


def test_a_failing_process_is_told_in_a_line():
    measuring = importlib.import_module("measuring")
    with pytest.raises(measuring.MmjsdError, match="exit code 3: told"):
        measuring.process(["sh", "-c", "echo told; exit 3"])
    spent = measuring.process(["sh", "-c", "echo fine"])
    assert spent.output == "fine\n"
    assert spent.megabytes > 0


def test_a_training_goes_on_a_step_at_a_time():
    """A call is a step, and one more of each epoch its end."""
    loops = importlib.import_module("loops")
    computed: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: computed.append(1))
    shared = {"dataset": "random", "epochs": 3, "batch_size": 10, "threads": 1, "device": "cpu"}
    try:
        steps = loops.training(make_run("mmjsd", **shared, compile="off"), loops.random_split(20, 40))
        for count in range(1, 5):
            steps()
            assert len(computed) == count
        steps()
        assert len(computed) == 4  # the end of the epoch
        steps()
        assert len(computed) == 5
    finally:
        hook.remove()
        steps.close()


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_the_plain_networks_are_ours(objective):
    loops, plain, step = map(importlib.import_module, ("loops", "plain", "step"))
    if objective not in plain.OBJECTIVES:
        pytest.skip("not written plainly")
    chosen = make_run(objective, dataset="random", batch_size=4, device="cpu")
    split, cpu = loops.random_split(10, 10), torch.device("cpu")
    theirs = plain.Plain(chosen, cpu)
    ours = step.Parts(chosen, split, cpu).objective.model
    sizes = [sum(p.numel() for p in module.parameters()) for module in (theirs.networks, ours)]
    assert sizes[0] == sizes[1]
    values = ResidentSplit(split, cpu).batch(torch.arange(4)).values
    loss = theirs.step([values["mnist"], values["svhn"], plain.one_hot(values["text"])])
    assert torch.isfinite(loss)
