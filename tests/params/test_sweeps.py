import json
import time

import jsonschema
import pytest
import yaml

from mmjsd import params, pipeline
from mmjsd.params import sweeps

HEAD = "datasets: {d: {kind: mnist_svhn_text}, e: {kind: mnist_svhn_text}}\n"


def one_sweep(content: str, before: str = "") -> str:
    """A file with one sweep `s` that says this."""
    return f"{HEAD}{before}sweeps:\n  s: {{{content}}}\n"


def objective(vary: str, more: str = "") -> str:
    return one_sweep(f"dataset: d, objective: mmjsd, vary: {{{vary}}}{more}")


class TestExpansion:
    def test_each_combination_is_a_run_named_by_its_values(self, load):
        found = load(
            f"{HEAD}runs: {{own: {{dataset: d, objective: mmvae}}}}\n"
            "sweeps: {s: {dataset: d, epochs: 4, vary: {objective: [mmjsd, mvae], beta: [1.0, 2.5, 5]}}}"
        )
        names = [f"s-beta={beta}-objective={o}" for beta in ("1.0", "2.5", "5.0") for o in ("mmjsd", "mvae")]
        assert list(found.runs) == ["own", *names]
        assert list(found.sweeps["s"]) == names
        assert found.sweeps["s"]["s-beta=5.0-objective=mvae"] == {"beta": 5.0, "objective": "mvae"}
        run = found.runs["s-beta=5.0-objective=mvae"]
        assert (run.dataset, run.epochs, run.beta, run.objective) == ("d", 4, 5.0, "mvae")
        assert found.runs["own"].epochs != 4

    def test_its_runs_are_those_written_by_hand(self, load):
        options = "batch_size: 16, style_weights: {svhn: 2}, private_latent: 3"
        before = "training: {epochs: 3, dynamic_prior: arithmetic}\n"
        of_sweep = load(
            one_sweep(f"dataset: d, {options}, vary: {{objective: [mmjsd, mvae], beta: [2]}}", before)
        )
        by_hand = load(
            f"{HEAD}{before}runs:\n"
            f"  a: {{dataset: d, {options}, objective: mmjsd, beta: 2}}\n"
            f"  b: {{dataset: d, {options}, objective: mvae, beta: 2}}\n"
        )
        assert list(of_sweep.runs.values()) == list(by_hand.runs.values())
        for step in ("train", "evaluate", "figures"):
            of_step = [[s for s in pipeline.steps(p) if s.command == step] for p in (of_sweep, by_hand)]
            assert len(of_step[0]) == 2
            for swept, hand in zip(*of_step, strict=True):
                assert json.dumps(swept.params()) == json.dumps(hand.params())
                assert swept.code() == hand.code()

    def test_numbers_are_named_as_they_are_used(self, load):
        found = load(objective("batch_size: [8], likelihood_scale: [1e-3, 1e4, 3], compile: [on]"))
        assert list(found.runs) == [
            f"s-batch_size=8-compile=on-likelihood_scale={scale}" for scale in ("0.001", "10000.0", "3.0")
        ]
        assert [sweeps.written(value) for value in (1e-05, 1e16, True, 0, "a")] == (
            ["1e-05", "1e16", "true", "0", "a"]
        )

    def test_combinations_with_all_values_of_an_entry_are_left_out(self, load):
        found = load(
            objective(
                "objective: [mmjsd, mvae], beta: [1.0, 2.0], epochs: [1, 2]",
                ", exclude: [{objective: mvae, beta: 1}, {epochs: 2, beta: 2}]",
            ).replace("objective: mmjsd, ", "", 1)
        )
        assert list(found.runs) == [
            "s-beta=1.0-epochs=1-objective=mmjsd",
            "s-beta=1.0-epochs=2-objective=mmjsd",
            "s-beta=2.0-epochs=1-objective=mmjsd",
            "s-beta=2.0-epochs=1-objective=mvae",
        ]

    def test_an_option_of_one_objective_where_others_are_excluded(self, load):
        found = load(
            one_sweep(
                "dataset: d, vary: {objective: [mmjsd, mmvae], dynamic_prior: [geometric, arithmetic]}, "
                "exclude: [{objective: mmvae}]"
            )
        )
        assert [run.objective for run in found.runs.values()] == ["mmjsd", "mmjsd"]

    def test_merge_keys(self, load):
        found = load(
            f"{HEAD}sweeps:\n  a: &a {{dataset: d, objective: mvae, vary: {{beta: [1]}}}}\n"
            "  b: {<<: *a, dataset: e}\n"
        )
        assert {name: run.dataset for name, run in found.runs.items()} == {
            "a-beta=1.0": "d",
            "b-beta=1.0": "e",
        }

    def test_two_thousand_runs_are_there_at_once(self, load):
        betas = [number / 10 for number in range(1, 501)]
        started = time.process_time()
        found = load(
            one_sweep(f"dataset: d, vary: {{objective: [mmjsd, mvae], epochs: [1, 2], beta: {betas}}}")
        )
        assert len(found.runs) == 2000
        assert time.process_time() - started < 5  # a fifth of a second


class TestFaults:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("dataset: d", "s.vary: is needed"),
            ("vary: {}", "s.vary: must not be empty (got {})"),
            ("vary: [beta]", 's.vary: must be a mapping (got ["beta"])'),
            ("vary: {beta: []}", "s.vary.beta: must not be empty (got [])"),
            ("vary: {beta: 1}", "s.vary.beta: must be a list (got 1)"),
            (
                "vary: {beta: [1, 2, 1.0]}",
                "s.vary.beta[2]: is the same as [0]; leave one of them out (got 1.0)",
            ),
            ("vary: {beta: [1, null]}", "s.vary.beta[1]: must be a number, true, false or text"),
            ("vary: {weights: [{mnist: 1}]}", "s.vary.weights[0]: must be a number, true, false or text"),
            ("vary: {device: ['cuda:0']}", "s.vary.device[0]: names a folder: letters, digits"),
            ("vary: {device: ['']}", "s.vary.device[0]: names a folder: letters, digits"),
            ("vary: {dataset: ['../x']}", "s.vary.dataset[0]: names a folder: letters, digits"),
            ("vary: {bta: [1]}", "s.vary.bta: no run has this key; did you mean beta?"),
            ("vary: {seed: [1, 2]}", "s.vary.seed: every run is trained once per seed; list them in `seeds`"),
            ("beta: 1, vary: {beta: [1, 2]}", "s.beta: is varied, too; leave out one of the two"),
            (
                "leaning_rate: 1, vary: {beta: [1]}",
                "s.leaning_rate: unknown key; did you mean learning_rate?",
            ),
            ("vary: {beta: [1]}, exclude: {beta: 1}", 's.exclude: must be a list (got {"beta": 1})'),
            ("vary: {beta: [1]}, exclude: [1]", "s.exclude[0]: must be a mapping of varied keys to values"),
            ("vary: {beta: [1]}, exclude: [{}]", "s.exclude[0]: must be a mapping of varied keys to values"),
            (
                "vary: {beta: [1]}, exclude: [{epochs: 1}]",
                "s.exclude[0].epochs: is not varied; varied are beta",
            ),
            (
                "vary: {beta: [1]}, exclude: [{beta: [1]}]",
                "s.exclude[0].beta: must be one of the values (got [1])",
            ),
        ],
    )
    def test_of_a_sweep(self, faults, content, line):
        (found,) = faults(one_sweep(content))
        assert found.startswith(f"sweeps.{line}")

    @pytest.mark.parametrize(
        ("content", "lines"),
        [
            ("vary: {beta: [1, -1]}", ["vary.beta[1]: must be >= 0 (got -1)"]),
            (
                "learning_rate: -1, vary: {beta: [1, 2], epochs: [1, true]}",
                [
                    "learning_rate: must be > 0 (got -1)",
                    "vary.epochs[1]: must be a whole number (got true)",
                ],
            ),
            (
                "vary: {epochs: [5, 9], beta: [1, 2]}, kl_warmup_epochs: 7",
                ["kl_warmup_epochs: must be <= epochs"],
            ),
            (
                "kl_warmup_epochs: 0, vary: {beta: [2], compile: ['of']}",
                ["vary.compile[0]: must be 'auto', 'on'"],
            ),
            ("vary: {beta: [1]}, style_weights: {text: 1}", ["style_weights: has no effect without"]),
            (
                "vary: {beta: [1]}, weights: {mnst: 1}",
                ["weights.mnst: no such modality", "weights: give all"],
            ),
        ],
    )
    def test_of_its_runs_are_told_once_with_its_keys(self, faults, content, lines):
        found = faults(one_sweep(f"dataset: d, objective: mmjsd, {content}"))
        assert len(found) == len(lines)
        assert all(f.startswith(f"sweeps.s.{line}") for f, line in zip(found, lines, strict=True)), found

    def test_of_datasets_and_objectives(self, faults):
        assert faults(one_sweep("dataset: dd, vary: {beta: [1, 2]}")) == ["sweeps.s.objective: is needed"]
        (line,) = faults(one_sweep("dataset: digits, objective: mvae, vary: {beta: [1, 2]}"))
        assert line.startswith("sweeps.s.dataset: no such dataset")
        (line,) = faults(one_sweep("objective: mvae, vary: {dataset: [d, digits], beta: [1, 2]}"))
        assert line.startswith("sweeps.s.vary.dataset[1]: no such dataset")
        (line,) = faults(one_sweep("dataset: d, vary: {objective: [mmjsd, mvea], beta: [1, 2]}"))
        assert line.startswith("sweeps.s.vary.objective[1]: must be 'mmjsd'")

    def test_an_option_that_an_objective_lacks(self, faults):
        prior = "vary: {objective: [mmjsd, mvae], dynamic_prior: [geometric, arithmetic]}"
        remedy = "exclude the combination, `exclude: [{objective: mvae}]`, or leave it out"
        assert faults(one_sweep(f"dataset: d, {prior}")) == [
            f"sweeps.s.vary.dynamic_prior: has no effect with mvae, only with mmjsd; {remedy}"
        ]
        assert faults(
            one_sweep("dataset: d, dynamic_prior: geometric, vary: {objective: [mmjsd, mvae]}")
        ) == [f"sweeps.s.dynamic_prior: has no effect with mvae, only with mmjsd; {remedy}"]
        assert faults(one_sweep("dataset: d, objective: mvae, vary: {dynamic_prior: [geometric]}")) == [
            "sweeps.s.vary.dynamic_prior: has no effect with mvae, only with mmjsd; leave it out"
        ]

    def test_exclusion_of_nothing_or_everything(self, faults):
        exclude = ", exclude: [{beta: 1}, {beta: 3}, {beta: 1.0}]"
        told = "excludes no combination that is there without it; correct or delete it (got"
        assert faults(objective("beta: [1, 2]", exclude)) == [
            f'sweeps.s.exclude[1]: {told} {{"beta": 3}})',
            f'sweeps.s.exclude[2]: {told} {{"beta": 1.0}})',
        ]
        assert faults(objective("beta: [1, 2]", ", exclude: [{beta: 1}, {beta: 2}]")) == [
            "sweeps.s.exclude: leaves no combination; delete an entry, or the sweep"
        ]
        assert sweeps.excluding({"a": [1, 2]}, [{"a": True}]) == ([{"a": 0}, {"a": 1}], [0])

    def test_names(self, faults):
        (line,) = faults(f"{HEAD}runs: {{'s-beta=1.0': {{dataset: d, objective: mvae}}}}\n")
        assert line.startswith("runs.s-beta=1.0: a key names a folder")
        assert line.endswith("the `=` is for the runs of sweeps")
        (line,) = faults(
            one_sweep("dataset: d, objective: mvae, vary: {beta: [1]}").replace("  s:", "  'a=b':")
        )
        assert line.startswith("sweeps.a=b: a key names a folder")

    def test_names_that_are_too_long(self, load, faults):
        sweep = "x" * (100 - len("-beta=1.0"))
        fitting = one_sweep("dataset: d, objective: mvae, vary: {beta: [1, 10]}").replace(
            "  s:", f"  {sweep}:"
        )
        (line,) = faults(fitting)
        assert line.startswith(f"sweeps.{sweep}: the run xxx")
        assert "a name of 101 characters" in line
        assert len(load(fitting.replace(", 10", "")).runs) == 1

    def test_names_that_collide(self, faults, monkeypatch):
        # the values of one key have different names, but for what a package of others may bring
        monkeypatch.setattr(sweeps, "written", lambda value: "1")
        (line,) = faults(objective("beta: [1, 2]"))
        assert line == "sweeps.s: two of its combinations make the run s-beta=1; exclude one of them"

    def test_no_sweeps(self, faults):
        assert faults(f"{HEAD}sweeps: {{}}") == [
            "sweeps: must not be empty; leave the key out where there are runs (got {})"
        ]
        assert faults(f"{HEAD}sweeps: null") == ["sweeps: must be a mapping (got null)"]
        (line,) = faults(f"{HEAD}sweeps: {{s: 3}}")
        assert line.startswith("sweeps.s: must be a mapping")

    def test_too_many(self, faults):
        numbers = list(range(1, 102))
        (line,) = faults(objective(f"beta: {numbers}, epochs: {numbers}"))
        assert line == (
            "sweeps.s.vary: makes more than 10,000 combinations of all sweeps; vary fewer values (got 10201)"
        )
        # of all sweeps together
        sweep = f"{{dataset: d, objective: mvae, vary: {{beta: {list(range(1, 3001))}}}}}"
        (line,) = faults(f"{HEAD}sweeps:\n  a: &a {sweep}\n  b: *a\n  c: *a\n  d: *a\n")
        assert line.startswith("sweeps.d.vary: makes more than 10,000 combinations")

    def test_a_short_file_that_means_very_much_is_refused_at_once(self, faults):
        keys = list(params.run_model(None).model_fields)
        many = f"&l {list(range(1000))}"
        vary = ", ".join(f"{key}: {many if index == 0 else '*l'}" for index, key in enumerate(keys))
        laughs = "a: &a [x, x]\n" + "".join(
            f"{key}: &{key} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
            for before, key in zip("abcdefghijkl", "bcdefghijklm", strict=True)
        )
        started = time.process_time()
        (line,) = faults(one_sweep(f"vary: {{{vary}}}"))
        assert "more than 10,000 combinations" in line
        found = faults(laughs + one_sweep("vary: {beta: [*m]}, exclude: [*m]"))
        assert "sweeps.s.vary.beta[0]: must be a number, true, false or text, to name a run by" in " ".join(
            found
        )
        assert all(len(line) < 250 for line in found)
        # thousands of faults in each of thousands of runs
        weights = ", ".join(f"m{index}: 1" for index in range(3000))
        vary = f"vary: {{beta: {list(range(9000))}}}"
        many = f"dataset: d, objective: mvae, reconstruction_weights: {{{weights}}}, {vary}"
        assert len(faults(one_sweep(many))) == 3000
        many = many.replace(": 1", ": -1")
        assert len(faults(one_sweep(many))) == 3000
        assert time.process_time() - started < 10


def test_the_schema_says_what_a_sweep_may(load):
    checker = jsonschema.Draft202012Validator(json.loads(params.schema()))
    sweep = {"dataset": "d", "vary": {"objective": ["mvae"], "beta": [1, 2.5]}, "exclude": [{"beta": 1}]}
    content = {"datasets": {"d": {"kind": "mnist_svhn_text"}}, "sweeps": {"s": sweep}}
    assert checker.is_valid(content)
    load(yaml.safe_dump(content))
    for wrong in (
        {"vary": {}},
        {"vary": {"beta": []}},
        {"vary": {"bta": [1]}},
        {"vary": {"beta": [None]}},
        {"vary": {"beta": [[1]]}},
        {"exclude": [{}]},
        {"objective": "mvea"},
        {"bta": 1},
    ):
        assert not checker.is_valid(content | {"sweeps": {"s": sweep | wrong}}), wrong
    assert not checker.is_valid({"datasets": content["datasets"]})
