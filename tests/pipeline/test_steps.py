import importlib
import json
from pathlib import Path

import pytest

from mmjsd import params, pipeline, registry
from mmjsd.errors import MmjsdError
from mmjsd.params import Params
from mmjsd.provenance.code import code_digests
from mmjsd.provenance.records import Product


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


def by_name(chosen: Params) -> dict[str, Product]:
    return {product.name: product for product in pipeline.products(chosen)}


def test_each_product_comes_after_what_it_is_made_from(chosen: Params) -> None:
    there: set[Path] = set()
    for product in pipeline.products(chosen):
        assert set(product.inputs) <= there, product.name
        there |= set(product.outputs)


def test_names_records_and_outputs_are_unique(chosen: Params) -> None:
    products = pipeline.products(chosen)
    assert len(products) == 2 + 6 + 4 * 2 * 2 + 2 + 4
    assert len({product.name for product in products}) == len(products)
    files = [path for product in products for path in (product.record, *product.outputs)]
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
        ("runs:", "evaluation: {train_samples: 50}\nruns:", ("evaluate", "track", "report")),
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


def of_faces(folder: Path) -> Product:
    """The store of faces whose official files are in a folder."""
    (folder / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    (folder / "img_align_celeba/000001.jpg").write_bytes(b"a face")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).touch()
    text = TEXT.replace("mnist_svhn_text, source: download", f"celeba, source: {json.dumps(str(folder))}")
    return pipeline.dataset(resolved(folder.parent / "params.yaml", text), "others")


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
        found.append(pipeline.curves(params.load(tmp_path / "params.yaml"), "others"))
    assert found[0].params == found[1].params


def test_the_name_of_an_mlflow_run_has_the_seed_if_there_are_several(tmp_path: Path, chosen: Params) -> None:
    assert pipeline.tracking(chosen, "js", 2).params["name"] == "js/seed-2"
    one = resolved(tmp_path / "one.yaml", TEXT.replace("[1, 2]", "[2]"))
    assert pipeline.tracking(one, "js", 2).params["name"] == "js"


def test_unknown_names_are_refused_with_a_near_one(chosen: Params) -> None:
    with pytest.raises(MmjsdError, match=r"^moee: no such run; did you mean moe\?$"):
        pipeline.training(chosen, "moee", 1)
    with pytest.raises(MmjsdError, match=r"^faces: no such dataset; there is digits, others$"):
        pipeline.dataset(chosen, "faces")
    with pytest.raises(MmjsdError, match=r"^txt: no such modality of digits; did you mean text\?$"):
        pipeline.classifier(chosen, "digits", "txt")


def test_the_code_of_each_step_is_found(chosen: Params) -> None:
    for product in pipeline.products(chosen):
        assert code_digests(product.code)


def test_no_step_depends_on_the_code_of_a_later_one(chosen: Params) -> None:
    products = by_name(chosen)
    data = set(code_digests(products["data build digits"].code))
    training = set(code_digests(products["train js --seed 1"].code))
    assert not any("torch" in name or "models" in name or "training" in name for name in data)
    assert not any(name.startswith(("mmjsd.evaluation", "mmjsd.reporting")) for name in training)
    assert not any("standin" in name for name in training)
    assert "mmjsd.models.classifiers" not in training


@pytest.mark.parametrize("group", ["modalities", "networks"])
def test_code_that_is_found_by_name_counts(chosen: Params, group: str) -> None:
    """A change of a kind of modality, or of a network, makes again what it made."""
    named = set(registry.entries(group).values())
    for name, product in by_name(chosen).items():
        if name.startswith(("train", "evaluate", "figures", "track")):
            assert named <= set(code_digests(product.code)), name
        if name.startswith("classify") and group == "modalities":
            assert named <= set(code_digests(product.code)), name


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


def test_every_kind_has_a_builder() -> None:
    assert all(callable(importlib.import_module(name).build) for name in pipeline.BUILDERS.values())
    assert set(params.MODALITIES) == set(pipeline.BUILDERS)
