import dataclasses
import json
from pathlib import Path

import pytest

from mmjsd import params, pipeline, registry
from mmjsd.errors import MmjsdError
from mmjsd.params import Params
from mmjsd.pipeline.steps import Build, Classify, Curves, Track, Train
from mmjsd.provenance.code import code_digests
from mmjsd.provenance.records import Product, fingerprint
from support.cohort import write_csv


def resolved(path: Path, text: str) -> Params:
    path.write_text(text)
    return params.load(path)


TEXT = """
seeds: [1, 2]
datasets: {digits: {kind: mnist_svhn_text}, others: {kind: mnist_svhn_text, source: download}}
runs:
  js: {dataset: digits, objective: mmjsd}
  moe: {dataset: others, objective: mmvae}
"""


@pytest.fixture
def chosen(tmp_path: Path) -> Params:
    return resolved(tmp_path / "params.yaml", TEXT)


def products(chosen: Params) -> list[Product]:
    return [step.product for step in pipeline.steps(chosen)]


def by_name(chosen: Params) -> dict[str, Product]:
    return {product.name: product for product in products(chosen)}


def test_each_product_comes_after_what_it_is_made_from(chosen: Params) -> None:
    there: set[Path] = set()
    for product in products(chosen):
        assert set(product.inputs) <= there, product.name
        there |= {*product.outputs, product.record}


def test_names_records_and_outputs_are_unique(chosen: Params) -> None:
    made = products(chosen)
    assert len(made) == 2 + 6 + 4 * 2 * 2 + 2 + 4
    assert len({product.name for product in made}) == len(made)
    files = [path for product in made for path in (product.record, *product.outputs)]
    assert len(set(files)) == len(files)
    assert not any(path.is_absolute() for path in files)


def test_a_dataset_without_runs_is_not_built(tmp_path: Path) -> None:
    chosen = resolved(tmp_path / "params.yaml", TEXT.replace("dataset: others", "dataset: digits"))
    assert "data build others" not in by_name(chosen)


@pytest.mark.parametrize(
    ("old", "new", "concerned"),
    [
        ("objective: mmjsd}", "objective: mmjsd, beta: 1.0}", ("train js", "track js", "report")),
        ("runs:", "training: {beta: 1.0}\nruns:", ("train", "track", "report")),
        ("runs:", "training: {tracking: after, sample_every: 2, resident_bytes: 0}\nruns:", ()),
        ("runs:", "evaluation: {train_samples: 50}\nruns:", ("evaluate", "track", "report")),
        ("runs:", "evaluation: {subsets: all}\nruns:", ("evaluate", "figures", "track", "report")),
        ("runs:", "evaluation: {classifier_epochs: 3}\nruns:", ("classify", "track", "report")),
        (
            "mnist_svhn_text},",
            "mnist_svhn_text, seed: 3},",
            ("data build digits", "classify digits", "track js", "report"),
        ),
        ("source: download", "source: download, options: {standin_train: 20}", ("track moe", "report")),
        (
            "objective: mmvae}",
            "objective: mmvae}\n  more: {dataset: others, objective: mvae}",
            ("compare", "summarise", "curves others", "report", "publish"),
        ),
        (
            "runs:",
            "evaluation: {embedding: inception, inception_weights: download}\nruns:",
            ("evaluate", "curves", "track", "report"),
        ),
    ],
)
def test_a_parameter_concerns_the_products_that_depend_on_it(
    tmp_path: Path, chosen: Params, old: str, new: str, concerned: tuple[str, ...]
) -> None:
    before, after = by_name(chosen), by_name(resolved(tmp_path / "changed.yaml", TEXT.replace(old, new)))
    different = {name for name in before if after[name].params != before[name].params}
    assert different == {name for name in before if name.startswith(concerned)}


def test_a_sweep_concerns_what_shows_it(tmp_path: Path, chosen: Params) -> None:
    sweep = "sweeps: {s: {dataset: digits, vary: {objective: [mvae, mmvae], epochs: [1, 2]}}}\n"
    before, after = by_name(chosen), by_name(resolved(tmp_path / "swept.yaml", TEXT + sweep))
    runs = [f"s-epochs={epochs}-objective={name}" for epochs in (1, 2) for name in ("mvae", "mmvae")]
    added = {name.split(" ")[1] for name in after.keys() - before.keys()}
    assert added == set(runs)
    assert after[f"track {runs[0]} --seed 1"].params["sweep"] == {
        "name": "s",
        "keys": ["epochs", "objective"],
    }
    different = {name for name in before if after[name].params != before[name].params}
    shown = ("compare", "summarise", "curves digits", "report", "publish")
    assert different == {name for name in before if name.startswith(shown)}


def of_faces(folder: Path) -> Product:
    """The store of faces whose official files are in a folder."""
    (folder / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    (folder / "img_align_celeba/000001.jpg").write_bytes(b"a face")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).touch()
    text = TEXT.replace("mnist_svhn_text, source: download", f"celeba, source: {json.dumps(str(folder))}")
    return Build(resolved(folder.parent / "params.yaml", text), dataset="others").product


def test_files_of_a_folder_are_inputs_wherever_they_lie(tmp_path: Path) -> None:
    product = of_faces(tmp_path / "files")
    assert list(product.sources) == ["list_attr_celeba.txt", "list_eval_partition.txt"]
    assert str(tmp_path) not in str(product.params)
    assert product.params["folders"] == [[1, 6]]  # images and bytes: they are not read
    assert "standin" not in str(product.params)


def test_neither_foreign_files_nor_the_name_of_a_folder_are_parameters(tmp_path: Path) -> None:
    before = of_faces(tmp_path / "files").params
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000001.jpg", "readme.txt"):
        (tmp_path / "files/img_align_celeba" / name).write_bytes(b"foreign")
        (tmp_path / "files" / name).write_bytes(b"foreign")
    (tmp_path / "files/img_align_celeba/@eaDir").mkdir()
    assert of_faces(tmp_path / "files").params == before
    (tmp_path / "files").rename(tmp_path / "other name")
    assert of_faces(tmp_path / "other name").params == before
    (tmp_path / "other name/img_align_celeba/000002.JPG").write_bytes(b"another")
    assert of_faces(tmp_path / "other name").params["folders"] == [[2, 13]]


def test_where_data_lie_is_no_parameter_of_the_curves(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        of_faces(tmp_path / name)
        found.append(Curves(params.load(tmp_path / "params.yaml"), dataset="others").product)
    assert found[0].params == found[1].params


def test_the_name_of_an_mlflow_run_has_the_seed_if_there_are_several(tmp_path: Path, chosen: Params) -> None:
    assert Track(chosen, run="js", seed=2).product.params["name"] == "js/seed-2"
    one = resolved(tmp_path / "one.yaml", TEXT.replace("[1, 2]", "[2]"))
    assert Track(one, run="js", seed=2).product.params["name"] == "js"


def test_unknown_names_are_refused_with_a_near_one(chosen: Params) -> None:
    with pytest.raises(MmjsdError, match=r"^moee: no such run; did you mean moe\?$"):
        Train(chosen, run="moee", seed=1)
    with pytest.raises(MmjsdError, match=r"^faces: no such dataset; there is digits, others$"):
        Build(chosen, dataset="faces")
    with pytest.raises(MmjsdError, match=r"^txt: no such modality of digits; did you mean text\?$"):
        Classify(chosen, dataset="digits", modality="txt")


def test_the_code_of_each_step_is_found(chosen: Params) -> None:
    for product in products(chosen):
        assert code_digests(product.code)


def modules_of(product: Product) -> set[str]:
    """Those whose code makes it."""
    return {name.partition(":")[0] for name in code_digests(product.code)}


def test_no_step_depends_on_the_code_of_a_later_one(chosen: Params) -> None:
    made = by_name(chosen)
    data = modules_of(made["data build digits"])
    training = modules_of(made["train js --seed 1"])
    assert not any("torch" in name or "models" in name or "training" in name for name in data)
    assert not any(name.startswith(("mmjsd.evaluation", "mmjsd.reporting")) for name in training)
    assert not any("standin" in name for name in training)
    assert "mmjsd.models.classifiers" not in training


@pytest.mark.parametrize("modality", registry.entries("modalities"))
def test_the_code_of_kinds_of_modality_counts(chosen: Params, modality: str) -> None:
    """As far as a step uses it: a change of it makes again what it made."""
    module = registry.reference("modalities", modality)
    made = by_name(chosen)
    for command, used, unused in (
        ("data build digits", {"DTYPE", "AXES", "ALPHABET"}, {"encoder", "vary", "draw"}),
        ("classify digits mnist", {"as_input", "classifier_body", "vary"}, {"encoder", "draw"}),
        ("train js --seed 1", {"as_input", "encoder", "decoder", "log_likelihood"}, {"vary", "draw"}),
        ("evaluate js --seed 1", {"as_input", "encoder", "decoder", "classifier_body"}, {"vary", "draw"}),
        ("figures js --seed 1", {"as_input", "encoder", "decoder", "likelihood_mean", "draw"}, {"vary"}),
        ("track js --seed 1", {"encoder", "decoder", "log_likelihood"}, {"vary", "draw"}),
    ):
        counted = set(code_digests(made[command].code))
        assert {f"{module}:{name}" for name in used} <= counted, command
        assert not {f"{module}:{name}" for name in unused} & counted, command


def more_of(kind: str, folder: Path) -> str:
    """What a dataset of a kind that has no stand-in needs, with modalities of shapes that have networks."""
    if kind == "mfeat":
        return ", source: download"
    if kind != "table":
        return ""
    write_csv(folder / "samples.csv", [["id", "word", "picture"], ["a", "two", ""]])
    word = "word: {kind: text, column: word, length: 8}"
    picture = "picture: {kind: image, column: picture, size: [1, 28, 28]}"
    return f", source: {folder}, options: {{modalities: {{{word}, {picture}}}}}"


OF_MODELS = ("train", "evaluate", "figures", "track")


@pytest.mark.parametrize("kind", registry.entries("datasets"))
def test_the_code_of_the_networks_of_a_dataset_counts(tmp_path: Path, kind: str) -> None:
    """And not that of others."""
    chosen = resolved(
        tmp_path / "params.yaml",
        TEXT.replace("digits: {kind: mnist_svhn_text", f"digits: {{kind: {kind}{more_of(kind, tmp_path)}"),
    )
    forms = chosen.datasets["digits"].described.MODALITIES.values()
    networks = registry.entries("networks")
    own = {networks[form] for form in forms if form in networks}
    for name, product in by_name(chosen).items():
        counted = modules_of(product)
        if name.startswith(tuple(f"{step} js" for step in OF_MODELS)):
            assert counted & set(networks.values()) == own, name
        if name.startswith(("data", "classify")):
            assert not counted & set(networks.values()), name


@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_the_code_of_the_objective_of_a_run_counts(tmp_path: Path, objective: str) -> None:
    """And not that of others, but for those it derives from."""
    chosen = resolved(tmp_path / "params.yaml", TEXT.replace("mmjsd", objective))
    places = registry.entries("objectives")
    bases = registry.resolve("objectives", objective).__mro__
    own = {place for place in places.values() if place.partition(":")[2] in {base.__name__ for base in bases}}
    for name, product in by_name(chosen).items():
        if name.startswith(tuple(f"{step} js" for step in OF_MODELS)):
            assert set(code_digests(product.code)) & set(places.values()) == own, name


@pytest.mark.parametrize("mean", registry.entries("means"))
def test_the_code_of_the_dynamic_prior_of_a_run_counts(tmp_path: Path, mean: str) -> None:
    text = TEXT.replace("objective: mmjsd", f"objective: mmjsd, dynamic_prior: {mean}")
    training = by_name(resolved(tmp_path / "params.yaml", text))["train js --seed 1"]
    assert registry.reference("means", mean) in code_digests(training.code)


def test_a_step_uses_a_gpu_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the drivers of NVIDIA have in /dev; how many steps share others is up to the cores."""
    monkeypatch.setattr(pipeline, "Path", lambda path: tmp_path if path == "/dev" else Path(path))
    devices = ("auto", "cpu", "cuda", "cuda:1", "mps", "xpu:0")
    for there in ("null", "nvidiactl", "kfd", "dri"):
        (tmp_path / there).touch()
        assert [pipeline.gpus(device) for device in devices] == [0] * 6
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    assert [pipeline.gpus(device) for device in devices] == [1, 0, 1, 1, 1, 1]


def test_the_submitting_machine_does_not_say_what_gpus_a_cluster_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "Path", lambda path: tmp_path if path == "/dev" else Path(path))
    devices = ("auto", "cpu", "cuda", "cuda:1")
    assert [pipeline.gpus(device, elsewhere=True) for device in devices] == [0, 0, 1, 1]
    (tmp_path / "nvidia0").touch()
    assert [pipeline.gpus(device, elsewhere=True) for device in devices] == [0, 0, 1, 1]


def test_a_step_asks_for_the_cores_that_it_keeps_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built by one process a core has all of them, whatever it computes with."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(6), raising=False)
    chosen = resolved(
        tmp_path / "params.yaml",
        """
datasets: {digits: {kind: mnist_svhn_text}, faces: {kind: celeba}}
runs:
  js: {dataset: digits, objective: mmjsd, threads: 3}
  moe: {dataset: faces, objective: mmvae}
""",
    )
    cores = {step.name: (step.cores(), step.threads()) for step in pipeline.steps(chosen)}
    assert cores["data build digits"] == (1, 1)
    assert cores["data build faces"] == (6, 1)
    assert cores["train js --seed 1"] == (3, 3)


@pytest.mark.parametrize("kind", registry.entries("datasets"))
def test_every_kind_of_dataset_has_what_the_steps_ask_of_it(kind: str, tmp_path: Path) -> None:
    text = f"datasets: {{d: {{kind: {kind}{more_of(kind, tmp_path)}}}}}\n"
    text += "runs: {js: {dataset: d, objective: mmjsd}}\n"
    found = resolved(tmp_path / "params.yaml", text).datasets["d"].described
    assert found.MODALITIES
    assert found.LABELS in ("class", "attributes", None)
    assert callable(found.find_sources)
    assert callable(registry.resolve("datasets", kind).build)


def test_unfinished_work_is_continued_by_another_number_of_processes(chosen: Params, tmp_path: Path) -> None:
    """A record says how many there were; a checkpoint belongs to any."""
    several = resolved(tmp_path / "several.yaml", TEXT.replace("mmjsd}", "mmjsd, processes: 4, threads: 3}"))
    step = Train(several, run="js", seed=1)
    assert (step.processes(), step.cores()) == (4, 12)
    assert step.product.params["processes"] == 4
    of_two = resolved(tmp_path / "two.yaml", TEXT.replace("mmjsd}", "mmjsd, processes: 2, threads: 3}"))
    other = resolved(tmp_path / "other.yaml", TEXT.replace("mmjsd}", "mmjsd, processes: 4, threads: 2}"))
    own, adjusted, changed = (
        fingerprint(dataclasses.replace(Train(params, run="js", seed=1).product, inputs=()))
        for params in (several, of_two, other)
    )
    assert own == adjusted != changed
