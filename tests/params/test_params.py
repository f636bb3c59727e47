import json
from pathlib import Path

import pytest

from mmjsd import params
from mmjsd.params import ParameterError, Params
from mmjsd.params.model import training_model

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "params.yaml"
HEAD = "datasets: {d: {kind: mnist_svhn_text}}\n"


def one_run(options: str = "", before: str = "") -> str:
    """A file with one dataset and one run `r` with these options."""
    return f"{HEAD}{before}\nruns:\n  r: {{dataset: d, objective: mmjsd{options and ', '}{options}}}\n"


@pytest.mark.parametrize(
    "path", [DEMO, *sorted((ROOT / "configs").glob("*.yaml"))], ids=lambda path: path.name
)
def test_files_of_the_project_load(path, tmp_path, monkeypatch):
    for source in ("breast-cancer", "PolyMNIST", "mnist", "celeba"):  # which people put there
        (tmp_path / "sources" / source).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert isinstance(params.load(path), Params)


def test_paper_setting():
    paper = params.load(ROOT / "configs/paper-mnist-svhn-text.yaml")
    assert paper.seeds == [1, 2, 3]
    assert paper.datasets["mnist-svhn-text"].source == "download"
    assert [run.removeprefix("mnist-svhn-text-") for run in paper.runs] == [
        "mmjsd",
        "mvae",
        "mmvae",
        "mmjsd-subspaces",
    ]
    plain, subspaces = paper.runs["mnist-svhn-text-mmjsd"], paper.runs["mnist-svhn-text-mmjsd-subspaces"]
    assert (plain.shared_latent, plain.private_latent, plain.beta) == (20, 0, 2.5)
    assert (plain.batch_size, plain.learning_rate, plain.epochs) == (256, 5e-4, 100)
    assert (subspaces.shared_latent, subspaces.private_latent, subspaces.beta) == (16, 4, 5.0)
    assert (subspaces.beta_style, subspaces.style_weights) == (3.0, {"text": 5.0})


def test_committed_schema_is_up_to_date():
    assert (ROOT / "params.schema.json").read_text() == params.schema()


class TestResolving:
    @pytest.mark.parametrize("scale", [3, {"mnist": 0.2, "svhn": 1}, "learned", None])
    def test_scales_of_likelihoods(self, load, scale):
        run = load(one_run(f"likelihoods: {{mnist: normal}}, likelihood_scale: {json.dumps(scale)}")).runs[
            "r"
        ]
        assert (run.likelihoods, run.likelihood_scale) == ({"mnist": "normal"}, scale)

    def test_run_overrides_shared_defaults(self, load):
        found = load(
            f"{HEAD}training: {{epochs: 7, beta: 3}}\nruns:\n"
            "  a: {dataset: d, objective: mvae}\n  b: {dataset: d, objective: mvae, epochs: 9}"
        )
        assert [(run.epochs, run.beta) for run in found.runs.values()] == [(7, 3.0), (9, 3.0)]
        assert found.runs["a"].batch_size == params.Training().batch_size

    def test_defaults(self, load):
        found = load(one_run())
        assert (found.seeds, found.training, found.evaluation) == (
            [1],
            training_model()(),
            params.make_evaluation(),
        )
        assert found.datasets["d"].source == "standin"
        assert found.datasets["d"].modalities == ("mnist", "svhn", "text")

    @pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.e-3", "0.001", ".001", "+1e-3"])
    def test_numbers_as_people_write_them(self, load, number):
        assert load(one_run(f"learning_rate: {number}")).runs["r"].learning_rate == 0.001

    @pytest.mark.parametrize("word", ["on", "off", "auto"])
    def test_on_and_off_are_words(self, load, word):
        assert load(one_run(f"compile: {word}")).runs["r"].compile == word

    def test_whole_number_where_a_fraction_may_stand(self, load):
        assert load(one_run("beta: 3")).runs["r"].beta == 3.0


class TestFaults:
    def test_all_at_once(self, faults):
        assert faults(
            "seeds: [1, 1]\ndatasets:\n  digits: {kind: mnist_svhn_text, sead: 3}\n"
            "training: {bta: 2}\nruns:\n  digits-mmjsd: {dataset: digit, objective: mmjsd, learning_rate: -1}"
        ) == [
            "datasets.digits.sead: unknown key; did you mean seed?",
            "training.bta: unknown key; did you mean beta?",
            "runs.digits-mmjsd.learning_rate: must be > 0 (got -1)",
            "seeds: must differ from each other (got [1, 1])",
            "runs.digits-mmjsd.dataset: no such dataset; did you mean digits? (got 'digit')",
        ]

    @pytest.mark.parametrize(
        ("options", "line"),
        [
            ("learning_rate: -1", "learning_rate: must be > 0 (got -1)"),
            ("learning_rate: 0", "learning_rate: must be > 0 (got 0)"),
            ("beta: -0.5", "beta: must be >= 0 (got -0.5)"),
            ("beta: .nan", "beta: must be finite (got nan)"),
            ("beta: .inf", "beta: must be finite (got inf)"),
            ("beta: 1e999", "beta: must be finite (got inf)"),
            ("beta: null", "beta: must be a number (got null)"),
            ("epochs: 2.5", "epochs: must be a whole number (got 2.5)"),
            ("epochs: true", "epochs: must be a whole number (got true)"),
            ("epochs: null", "epochs: must be a whole number (got null)"),
            ("epochs: [3]", "epochs: must be a whole number (got [3])"),
            ("device: gpu", "device: must be auto, cpu, cuda, cuda:N, mps, xpu or xpu:N (got gpu)"),
            ("device: mps:1", "device: must be auto, cpu, cuda, cuda:N, mps, xpu or xpu:N (got mps:1)"),
            ("device: 3", "device: must be text (got 3)"),
            ("processes: 0", "processes: must be > 0 (got 0)"),
            ("processes: 9, batch_size: 8", "processes: must be <= batch_size (got 9 for 8 samples)"),
            (
                "processes: 2, device: 'cuda:1'",
                "processes: each needs a GPU of its own, and device",
            ),
            ("processes: 2, device: mps", "processes: each needs a GPU of its own, and device"),
            ("style_weights: 3", "style_weights: must be a mapping (got 3)"),
            ("weights: {mnist: -1}", "weights.mnist: must be >= 0 (got -1)"),
            ("missing: 1", "missing: must be < 1 (got 1)"),
            ("missing: -0.1", "missing: must be >= 0 (got -0.1)"),
            ("missing: most", 'missing: must be a number (got "most")'),
            ("missing: {}", "missing: must not be empty (got {})"),
            ("missing: {svhn: 1.5}", "missing.svhn: must be < 1 (got 1.5)"),
            ("missing: {shvn: 0.5}", "missing.shvn: no such modality; the dataset has mnist, svhn, text"),
            ("leaning_rate: 1", "leaning_rate: unknown key; did you mean learning_rate?"),
            (
                "precision: float16",
                "precision: must be 'auto', 'float32' or 'bfloat16'; did you mean bfloat16?",
            ),
        ],
    )
    def test_wrong_value(self, faults, options, line):
        (found,) = faults(one_run(options))
        assert found.startswith(f"runs.r.{line}")

    @pytest.mark.parametrize("key", ["epochs", "beta"])
    def test_text_is_not_a_number(self, faults, key):
        (line,) = faults(one_run(f"{key}: '5'"))
        assert line.startswith(f"runs.r.{key}: must be a ")
        assert "'5'" in line or '"5"' in line

    def test_unknown_objective(self, faults):
        (line,) = faults(f"{HEAD}runs: {{r: {{dataset: d, objective: mmjds}}}}")
        assert line.startswith("runs.r.objective: must be 'mmjsd', 'mvae', 'mmvae', 'mmvaeplus'")
        assert "; did you mean mmjsd?" in line

    def test_other_faults_beside_an_unknown_name(self, faults):
        """Nor is a run blamed for its dataset of an unknown kind."""
        lines = faults(
            "datasets: {d: {kind: celebaa, seed: -1, options: {skip_unreadable: true}}}\n"
            "runs: {r: {dataset: d, objective: mmjds, beta: -1, epocs: 1}}"
        )
        assert [line.partition(":")[0] for line in lines] == [
            *("datasets.d.kind", "datasets.d.seed"),
            *("runs.r.objective", "runs.r.beta", "runs.r.epocs"),
        ]

    def test_options_without_effect_are_named(self, faults):
        assert faults(
            f"{HEAD}runs: {{r: {{dataset: d, objective: mvae, weights: {{}}, dynamic_prior: geometric}}}}"
        ) == [
            "runs.r.weights: has no effect with mvae, only with mmjsd, mmvae, mmvaeplus; leave it out",
            "runs.r.dynamic_prior: has no effect with mvae, only with mmjsd; leave it out",
        ]

    def test_options_are_of_datasets(self, faults):
        assert faults(one_run("options: {beta: 1}"))[0].startswith("runs.r.options: unknown key; ")

    def test_unknown_key_lists_what_there_is_where_nothing_is_near(self, faults):
        assert faults("zzz: 1\n" + one_run()) == [
            "zzz: unknown key; known are seeds, datasets, training, evaluation, runs, sweeps"
        ]

    def test_unknown_option_of_a_dataset(self, faults):
        assert faults(
            "datasets: {d: {kind: mnist_svhn_text, options: {max_per_clas: 3}}}\n"
            "runs: {r: {dataset: d, objective: mvae}}"
        ) == ["datasets.d.options.max_per_clas: unknown key; did you mean max_per_class?"]

    def test_run_called_options_gets_the_hints_of_a_run(self, faults):
        assert faults(f"{HEAD}runs: {{options: {{dataset: d, objective: mvae, epocs: 1}}}}") == [
            "runs.options.epocs: unknown key; did you mean epochs?"
        ]

    def test_needed_keys(self, faults):
        assert faults("seeds: [1]") == ["datasets: is needed", "runs: is needed"]
        assert faults(f"{HEAD}runs: {{r: {{}}}}") == [
            "runs.r.dataset: is needed",
            "runs.r.objective: is needed",
        ]
        assert faults("datasets: {d: {}}\nruns: {r: {dataset: d, objective: mvae}}") == [
            "datasets.d.kind: is needed"
        ]

    @pytest.mark.parametrize("section", ["datasets", "runs"])
    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("{}", "must not be empty"),
            ("null", "must be a mapping (got null)"),
            ("[1]", "must be a mapping (got [1])"),
        ],
    )
    def test_sections_that_are_none(self, faults, section, content, fault):
        rest = [line for line in one_run().splitlines() if section not in line and "r:" not in line]
        told = faults("\n".join([*rest, f"{section}: {content}\n"]))
        assert any(line.startswith(f"{section}: {fault}") for line in told)

    def test_fault_of_the_shared_defaults_is_reported_there_and_once(self, faults):
        runs = "runs:\n" + "".join(f"  r{i}: {{dataset: d, objective: mvae}}\n" for i in range(3))
        assert faults(f"{HEAD}training: {{epochs: -1, foo: 2, weights: {{mnist: -1}}}}\n{runs}") == [
            "training.epochs: must be > 0 (got -1)",
            "training.weights.mnist: must be >= 0 (got -1)",
            f"training.foo: unknown key; known are {', '.join(training_model().model_fields)}",
        ]

    def test_fault_of_a_run_that_overrides_a_faulty_default_is_its_own(self, faults):
        assert faults(one_run("epochs: -2", "training: {epochs: -1}")) == [
            "training.epochs: must be > 0 (got -1)",
            "runs.r.epochs: must be > 0 (got -2)",
        ]

    @pytest.mark.parametrize("section", ["training", "evaluation"])
    def test_shared_section_must_be_a_mapping(self, faults, section):
        assert faults(one_run(before=f"{section}: [1]")) == [f"{section}: must be a mapping (got [1])"]

    @pytest.mark.parametrize(
        ("seeds", "line"),
        [
            ("[]", "seeds: must not be empty (got [])"),
            ("3", "seeds: must be a list (got 3)"),
            ("[1, 2, 1]", "seeds: must differ from each other (got [1, 2, 1])"),
            ("[-1]", "seeds.0: must be >= 0 (got -1)"),
            ("[0, 2147483648]", "seeds.1: must be < 2.14748e+09 (got 2147483648)"),
            ("[true]", "seeds.0: must be a whole number (got true)"),
        ],
    )
    def test_seeds(self, faults, seeds, line):
        assert faults(f"seeds: {seeds}\n{one_run()}") == [line]

    @pytest.mark.parametrize("name", ["a/b", "..", "", "-x", "a b", "ä", "'a\n\n  b'"])
    @pytest.mark.parametrize("section", ["datasets", "runs"])
    def test_key_that_cannot_name_a_folder(self, faults, section, name):
        quoted = name if name.startswith("'") else f"'{name}'"
        dataset, run = (quoted, "r") if section == "datasets" else ("d", quoted)
        (line,) = faults(
            f"datasets:\n  ? {dataset}\n  : {{kind: mnist_svhn_text}}\n"
            f"runs:\n  ? {run}\n  : dataset: {dataset}\n    objective: mvae\n"
        )
        assert line.startswith(f"{section}.")
        assert line.endswith("a key names a folder: letters, digits, '_', '-' and '.' only")

    def test_source_must_be_known_or_a_folder(self, faults, load, tmp_path):
        def content(source):
            return (
                f"datasets: {{d: {{kind: mnist_svhn_text, source: {json.dumps(str(source))}}}}}\n"
                "runs: {r: {dataset: d, objective: mvae}}"
            )

        assert faults(content("nowhere")) == [
            "datasets.d.source: must be standin, download or an existing folder (got 'nowhere')"
        ]
        assert len(faults(content("x" * 5000))) == 1
        assert load(content(tmp_path)).datasets["d"].source == str(tmp_path)


class TestMissing:
    def test_of_all_or_by_name_in_the_record_of_runs_that_have_it(self, load):
        for content, value in (("0.5", 0.5), ("0", 0.0), ("{svhn: 0.3}", {"svhn": 0.3})):
            assert load(one_run(f"missing: {content}")).runs["r"].recorded["missing"] == value
        assert "missing" not in load(one_run()).runs["r"].recorded

    def test_of_a_single_modality(self, faults, tmp_path):
        kind = (
            f"kind: table, source: {tmp_path}, options: {{modalities: {{x: {{kind: vector, columns: [a]}}}}}}"
        )
        assert faults(
            f"datasets: {{d: {{{kind}}}}}\nruns: {{r: {{dataset: d, objective: mmvae, missing: 0.5}}}}"
        ) == ["runs.r.missing: the dataset has x alone, which every sample keeps; leave it out"]


def test_all_subsets_of_many_modalities_are_refused(faults, load, tmp_path):
    vectors = ", ".join(f"m{number}: {{kind: vector, columns: [a]}}" for number in range(11))
    many = f"  many: {{kind: table, source: {tmp_path}, options: {{modalities: {{{vectors}}}}}}}\n"
    content = f"datasets:\n{many}runs: {{r: {{dataset: many, objective: mvae}}}}\n"
    assert load(content)
    assert faults(content + "evaluation: {subsets: all}") == [
        "evaluation.subsets: must be auto for datasets.many: all are 2,047 subsets of its 11 modalities, and "
        "of more than 10 only some can be looked at (got all)"
    ]


class TestWeights:
    def test_all_of_them_or_none(self, faults, load):
        assert faults(one_run("weights: {mnist: 1, svhn: 1}")) == [
            "runs.r.weights: give all of them or none (missing: text, prior)"
        ]
        assert load(one_run("weights: {mnist: 1, svhn: 0, text: 2, prior: 0}")).runs["r"].weights["text"] == 2

    def test_not_all_modalities_without_weight(self, faults):
        assert faults(one_run("weights: {mnist: 0, svhn: 0, text: 0, prior: 1}")) == [
            "runs.r.weights: at least one modality needs a weight >= 1e-06"
        ]

    @pytest.mark.parametrize("key", ["style_weights", "reconstruction_weights"])
    def test_of_modalities_of_the_dataset(self, faults, load, key):
        assert faults(one_run(f"private_latent: 4, {key}: {{image: 1, prior: 1}}")) == [
            f"runs.r.{key}.image: no such modality; the dataset has mnist, svhn, text",
            f"runs.r.{key}.prior: no such modality; the dataset has mnist, svhn, text",
        ]
        assert load(one_run(f"private_latent: 4, {key}: {{text: 5}}"))


class TestWithoutEffect:
    @pytest.mark.parametrize(
        ("options", "key", "need"),
        [
            ("style_weights: {text: 5}", "style_weights", "`private_latent` above 0"),
            ("beta_style: 2", "beta_style", "`private_latent` above 0"),
            ("beta: 0, kl_warmup_epochs: 3", "kl_warmup_epochs", "`beta` above 0"),
            (
                "dynamic_prior: hoelder, learn_weights: true",
                "learn_weights",
                "`dynamic_prior: geometric`",
            ),
            ("objective: mmvae, estimator: iwae", "estimator", "`importance_samples` above 1"),
            (
                "objective: mmvaeplus, estimator: dreg, importance_samples: 1",
                "estimator",
                "`importance_samples` above 1",
            ),
        ],
    )
    def test_of_a_run_is_refused(self, faults, options, key, need):
        content = one_run(options)
        if "objective" in options:
            content = content.replace("objective: mmjsd, ", "")
        assert faults(content) == [f"runs.r.{key}: has no effect without {need}; leave it out"]

    def test_of_an_evaluation_is_refused(self, faults):
        assert faults(one_run(before="evaluation: {inception_weights: download, sampler_components: 3}")) == [
            "evaluation.sampler_components: has no effect without `sampler: mixture`; leave it out",
            "evaluation.inception_weights: has no effect without `embedding: inception`; leave it out",
        ]

    def test_of_a_sweep_is_refused_where_it_is_varied(self, faults, load):
        both = "{estimator: [iwae, dreg], importance_samples: [1, 5]}"
        sweep = f"{HEAD}sweeps: {{s: {{dataset: d, objective: mmvae, vary: {both}"
        remedy = "exclude the combination, or leave it out"
        assert faults(f"{sweep}}}}}") == [
            f"sweeps.s.vary.estimator[{index}]: has no effect without `importance_samples` above 1; {remedy}"
            for index in (0, 1)
        ]
        assert len(load(f"{sweep}, exclude: [{{importance_samples: 1}}]}}}}").runs) == 2

    def test_what_is_for_other_runs_or_has_an_effect_is_not_refused(self, load):
        shared = "training: {beta_style: 2, style_weights: {text: 5}, estimator: dreg, kl_warmup_epochs: 1}"
        assert load(one_run("beta: 0, style_weights: {}", shared))
        assert load(one_run("private_latent: 4, beta_style: 2"))
        assert load(one_run("dynamic_prior: hoelder, learn_weights: false"))
        assert load(one_run("estimator: dreg, importance_samples: 2").replace("mmjsd", "mmvae"))

    @pytest.mark.parametrize("faulty", ["runs.r", "training"])
    def test_what_depends_on_a_fault_is_not_blamed(self, faults, faulty):
        wrong = "private_latent: -1"
        own, shared = (f"{wrong}, ", "") if faulty == "runs.r" else ("", f"training: {{{wrong}}}")
        lines = faults(one_run(f"{own}style_weights: {{text: 5}}", shared))
        assert lines == [f"{faulty}.private_latent: must be >= 0 (got -1)"]


SCALE = "must be `learned`, a number from 0.0001 to 10000, or such a number for each modality"


class TestLikelihoods:
    @pytest.mark.parametrize(
        ("options", "lines"),
        [
            *(
                (f"likelihood_scale: {value}", [f"_scale: {SCALE} (got {value})"])
                for value in ("-1", "learnt", "true", '{"svhn": 0}')
            ),
            (
                "likelihood_scale: {svnh: 1, text: 1}",
                [
                    "_scale.svnh: no such modality; the dataset has mnist, svhn, text",
                    "_scale.text: its likelihood, categorical, has no scale; leave it out",
                ],
            ),
            (
                "likelihoods: {mnist: bernouli, text: laplace, tx: normal}, likelihood_scale: {mnist: 2}",
                [
                    "s.mnist: must be 'laplace', 'normal' or 'bernoulli', which images have (got bernouli)",
                    "s.text: must be 'categorical', which texts have (got laplace)",
                    "s.tx: no such modality; the dataset has mnist, svhn, text",
                ],
            ),
            *(
                (
                    f"likelihoods: {{mnist: bernoulli, svhn: bernoulli}}, likelihood_scale: {scale}",
                    ["_scale: no modality has a likelihood with a scale; leave it out"],
                )
                for scale in ("learned", "2.0")
            ),
        ],
    )
    def test_what_a_modality_lacks_is_refused(self, faults, options, lines):
        assert faults(one_run(options)) == [f"runs.r.likelihood{line}" for line in lines]


class TestYaml:
    def test_key_given_twice(self, faults):
        assert faults(one_run("beta: 1, beta: 2")) == ["not valid YAML in line 4: key 'beta' is given twice"]

    def test_key_that_is_not_text(self, faults):
        assert faults("1: 2\n" + one_run()) == [
            "not valid YAML in line 1: key 1 must be text (put it in quotes)"
        ]

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("a:\n  b: 1\n c: 2\n", "line 3: it or a line above is indented unlike its neighbours"),
            ("a:\n  b: 1\n   c: 2\n", "line 3: a colon too many"),
            ("a: {}\nruns\n  r: {}\n", "line 3: a colon is missing in it or in the line above"),
            ("a:\n\tb: 1\n", "line 2: a tab; indent by blanks"),
            ("a: {b: 1\nc: 2\n", "line 2: a bracket is not closed"),
            ("a: 'b\n", "line 2: a quote is not closed"),
        ],
    )
    def test_what_is_no_yaml_is_told_plainly(self, faults, content, told):
        (line,) = faults(content)
        assert line.startswith(f"not valid YAML in {told}")

    @pytest.mark.parametrize("content", ["", "[1, 2]", "text", "3", "null"])
    def test_not_a_mapping(self, faults, content):
        assert faults(content) == ["must be a mapping with the keys datasets and runs"]

    def test_missing_file(self, tmp_path):
        with pytest.raises(ParameterError, match=r"nowhere\.yaml: no such parameter file; work in"):
            params.load(tmp_path / "nowhere.yaml")

    def test_folder(self, tmp_path):
        with pytest.raises(ParameterError, match="cannot be read as text"):
            params.load(tmp_path)

    def test_binary_file(self, faults):
        assert faults(b"\x89PNG\r\n\x1a\n\xff\xfe") == ["cannot be read as text (not UTF-8)"]
        (line,) = faults(b"seeds: \x00\x01\x02")
        assert line.startswith("not valid YAML")

    @pytest.mark.parametrize(
        "content",
        [
            "a: [",
            "a:\n\t- 1",
            "a: b: c",
            "a: *nowhere",
            "a: !!python/name:os.system x",
            "a: !!int x",
            "a: !!bool x",
            "a: !!timestamp x",
            "seeds: " + "[" * 3000,
            one_run("epochs: " + "1" * 5000),
            one_run("epochs: 0b_"),
            "seeds: &a [*a]\n" + one_run(),
            one_run("weights: &a {mnist: *a}"),
            one_run("device: 'a\n\n    b'"),
            one_run('"a\\nb": 1'),
            one_run() + "---\n" + one_run(),
        ],
    )
    def test_broken(self, faults, content):
        assert faults(content)

    def test_numbers_read_otherwise_than_written(self, faults):
        """YAML 1.1 takes these for 8 and 90."""
        assert faults(one_run("epochs: 010"))
        assert faults(one_run("epochs: 1:30"))
        assert faults(one_run("epochs: 1_000"))
        assert faults(one_run("epochs: 0o17"))
