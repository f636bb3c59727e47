import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from conftest import make_run
from mmjsd.errors import MmjsdError
from mmjsd.evaluation import evaluate
from mmjsd.models.vae import Modality
from mmjsd.params import Evaluation
from mmjsd.reporting import canvas
from mmjsd.reporting.catalogue import CAPTIONS, dataset_figures, run_figures
from mmjsd.reporting.curves import draw_dataset
from mmjsd.reporting.figures import draw_run
from mmjsd.reporting.generate import generate_picture
from mmjsd.training import train

QUICK = Evaluation(train_samples=50, random_samples=50, likelihood_pairs=5, importance_samples=2, threads=1)


@pytest.fixture(scope="module")
def run(store, results, tmp_path_factory):
    """An evaluated run with subspaces."""
    folder = tmp_path_factory.mktemp("figures") / "run"
    train(make_run(private_latent=2, epochs=1), store, folder, name="styled", seed=3)
    evaluate(folder, store, results / "classifiers", QUICK)
    return folder


def opened(folder):
    """The pictures, by name, each with its caption."""
    captions = json.loads((folder / CAPTIONS).read_bytes())
    assert sorted(captions) == sorted(path.name for path in folder.glob("*.png"))
    pictures = {}
    for name, caption in captions.items():
        with Image.open(folder / name) as image:
            pictures[name.removesuffix(".png")] = np.asarray(image.convert("L")), caption
    return pictures


def test_the_figures_of_a_run(store, run):
    draw_run(run, store)
    found = opened(run / "figures")
    assert list(found) == run_figures(store.modalities, subspaces=True, attributes=False)
    for pixels, caption in found.values():
        assert pixels.shape[1] > 600
        assert pixels.std() > 10  # not empty
        assert caption.endswith("styled, seed 3; stand-in data.")
    before = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    draw_run(run, store)
    assert before == {path.name: path.read_bytes() for path in (run / "figures").iterdir()}


def test_swapping_needs_subspaces(store, results, tmp_path):
    folder = shutil.copytree(results / "run", tmp_path / "run")
    evaluate(folder, store, results / "classifiers", QUICK)
    draw_run(folder, store)
    assert list(opened(folder / "figures")) == run_figures(
        store.modalities, subspaces=False, attributes=False
    )


def test_the_figures_of_a_dataset(run, tmp_path):
    runs = {"one": [run], "two": [run, run]}
    draw_dataset(tmp_path, runs, "classifier", "standin")
    found = opened(tmp_path)
    assert list(found) == dataset_figures("classifier")
    assert "embedding `classifier`" in found["prd-classifier"][1]
    assert all(pixels.std() > 5 for pixels, _ in found.values())


def test_damaged_curves_are_refused(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "prd.csv").write_text("given,modality,precision,recall\na,b,much,0\n")
    with pytest.raises(MmjsdError, match=r"prd\.csv: damaged; evaluate the run again"):
        draw_dataset(tmp_path, {"one": [folder]}, "classifier", "standin")
    (folder / "prd.csv").unlink()
    with pytest.raises(MmjsdError, match=r"prd\.csv: no such file; evaluate the run"):
        draw_dataset(tmp_path, {"one": [folder]}, "classifier", "standin")


def test_images_fill_their_cells():
    """The second of two images, white, lies in the second cell and nowhere else."""
    modality = Modality("m", "image", (1, 4, 4), 16)
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    figure, (axes,) = canvas.sheets(["m"], 1, 2, "")
    assert isinstance(figure, Figure)
    canvas.draw(axes, modality, images, 2)
    (drawn,) = axes.get_images()
    assert drawn.get_extent() == [0, 2, 1, 0]
    inside = np.asarray(drawn.get_array())[1:-1]
    assert (inside[:, 1:5] == 0).all()
    assert (inside[:, 7:11] == 255).all()


def test_text_is_drawn_as_text():
    modality = Modality("t", "text", (8,), 8)
    figure, (axes,) = canvas.sheets(["t"], 1, 1, "")
    canvas.draw(axes, modality, torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 68]]), 70).float(), 1)
    assert [text.get_text() for text in axes.texts] == ["abc "]
    assert figure.axes == [axes]


def test_picture(results, tmp_path):
    image = tmp_path / "seven.png"
    generate_picture(results / "run", {"text": "seven"}, 16, image)
    first = image.read_bytes()
    assert first.startswith(b"\x89PNG")
    generate_picture(results / "run", {"text": "seven"}, 16, image)
    assert image.read_bytes() == first
    generate_picture(results / "run", {}, 3, image)
    assert image.read_bytes() != first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sound": "x"}, "no such modality; it has mnist, svhn, text"),
        ({"text": "seventeen"}, "must be 1 to 8 characters"),
        ({"text": "Ü"}, "of the alphabet"),
        ({"mnist": "nowhere.png"}, "nowhere.png: no such image file"),
    ],
)
def test_picture_refuses(results, tmp_path, given, message):
    with pytest.raises(MmjsdError, match=message):
        generate_picture(results / "run", given, 4, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
