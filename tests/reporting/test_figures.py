import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mmjsd.data.store import Split, read_store, write_store
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.running import evaluate
from mmjsd.modalities import Modality
from mmjsd.models.classifiers import train_classifier
from mmjsd.params import make_evaluation
from mmjsd.reporting import attributes, canvas, generate
from mmjsd.reporting.catalogue import CAPTIONS, dataset_figures, run_figures
from mmjsd.reporting.figures import draw_dataset, draw_run
from mmjsd.reporting.generate import generate_picture
from mmjsd.reporting.shown import Shown, ShownAttributes
from mmjsd.training.loop import train
from support.samples import make_run
from support.training import train_judges_briefly

QUICK = make_evaluation(
    train_samples=50, random_samples=50, likelihood_pairs=5, importance_samples=2, threads=1
)


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
    assert list(found) == list(run_figures(store.modalities, subspaces=True, labels="class"))
    for pixels, caption in found.values():
        assert pixels.shape[1] > 600
        assert pixels.std() > 10  # not empty
        assert caption.endswith("styled, seed 3; stand-in data.")
    assert "In the last row, chance" in found["scores"][1]
    before = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    draw_run(run, store)
    assert before == {path.name: path.read_bytes() for path in (run / "figures").iterdir()}


def test_swapping_needs_subspaces(store, results, tmp_path):
    folder = shutil.copytree(results / "run", tmp_path / "run")
    evaluate(folder, store, results / "classifiers", QUICK)
    draw_run(folder, store)
    drawn = list(opened(folder / "figures"))
    assert drawn == list(run_figures(store.modalities, subspaces=False, labels="class"))


def small(store, path, modalities, test, **run_options):
    """A run that went through all steps on part of a store, and its classifiers."""
    splits = {}
    for name, samples in (("train", None), ("test", test)):
        split = store.splits[name]
        columns = [list(split.modalities).index(modality) for modality in modalities]
        split = Split({m: split.modalities[m] for m in modalities}, split.pairs[:, columns], split.labels)
        splits[name] = split if samples is None else split.sample(np.arange(samples))
    write_store(
        path / "part.h5",
        kind=store.kind,
        modalities=modalities,
        classes=store.classes,
        seed=0,
        params=store.params,
        sources={},
        splits=splits,
    )
    part = read_store(path / "part.h5")
    with pytest.MonkeyPatch.context() as patch:
        train_judges_briefly(patch)
        for modality in modalities:
            train_classifier(part, modality, path / "classifiers" / modality, epochs=1, seed=1)
    train(make_run(epochs=1, **run_options), part, path / "run", name="part", seed=1)
    evaluate(path / "run", part, path / "classifiers", QUICK)
    draw_run(path / "run", part)
    return opened(path / "run/figures")


def test_latents_of_one_dimension(store, tmp_path):
    found = small(store, tmp_path, ["mnist", "text"], 60, shared_latent=1, private_latent=1)
    assert list(found) == list(run_figures(("mnist", "text"), subspaces=True, labels="class"))
    assert found["latents"][0].std() > 10


@pytest.mark.parametrize("modality", ["mnist", "text"])
def test_one_modality(store, tmp_path, modality):
    """There may be no image whose quality can be judged."""
    found = small(store, tmp_path, [modality], 60)
    assert list(found) == list(run_figures((modality,), subspaces=False, labels="class"))


def test_the_figures_of_a_dataset_without_images(store, tmp_path):
    small(store, tmp_path, ["text"], 60)
    draw_dataset(tmp_path / "all", {"one": [tmp_path / "run"]}, "classifier", "standin")
    found = opened(tmp_path / "all")
    assert list(found) == list(dataset_figures("classifier"))
    assert found["prd-classifier"][1].startswith("Not drawn: the quality of no images was judged.")


def test_own_files_are_not_called_real(run, tmp_path):
    draw_dataset(tmp_path / "figures", {"js": [run]}, "classifier", "folder")
    assert all(caption.endswith(" Data: own files.") for _, caption in opened(tmp_path / "figures").values())


def test_few_test_samples(store, tmp_path):
    """As few as can be clustered; there are not enough for all rows and columns."""
    found = small(store, tmp_path, ["mnist"], 20, private_latent=2)
    assert list(found) == list(run_figures(("mnist",), subspaces=True, labels="class"))


def test_the_figures_of_a_dataset(run, tmp_path):
    runs = {"one": [run], "two": [run, run]}
    draw_dataset(tmp_path, runs, "classifier", "standin", labels="class")
    found = opened(tmp_path)
    assert list(found) == list(dataset_figures("classifier", labels="class"))
    assert "embedding `classifier`" in found["prd-classifier"][1]
    assert all(pixels.std() > 5 for pixels, _ in found.values())


def test_damaged_curves_are_refused(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "prd.csv").write_text("given,modality,precision,recall\na,b,much,0\n")
    with pytest.raises(MmjsdError, match=r"prd\.csv: damaged; evaluate the run again"):
        draw_dataset(tmp_path, {"one": [folder]}, "classifier", "standin")
    (folder / "prd.csv").write_text("")
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
    assert [drawn.get_offsets().shape for drawn in axes.collections] == [(1, 2)] * 3  # a, b and c
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
        ({"sound": "x"}, "^sound: the model has no such modality; it has mnist, svhn, text"),
        ({"text": "seventeen"}, "^text: 'seventeen' has 9 characters; shorten it to 8"),
        ({"text": "Ü"}, "^text: 'ü' has 'ü', which the alphabet has not"),
        ({"mnist": "nowhere.png"}, "^mnist: nowhere.png: no such image file"),
    ],
)
def test_picture_refuses(results, tmp_path, given, message):
    with pytest.raises(MmjsdError, match=message):
        generate_picture(results / "run", given, 4, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("o.png", b"\x89PNG"),
        ("o.JPG", b"\xff\xd8\xff"),
        ("o.jpeg", b"\xff\xd8\xff"),
        ("o.pdf", b"%PDF"),
        ("o.svg", b"<?xml"),
        ("o.webp", b"RIFF"),
        ("new/folder/o.tiff", b"II"),
        ("o.x.tif", b"II"),
    ],
)
def test_the_ending_of_a_picture_is_its_format(results, tmp_path, name, start):
    out = tmp_path / name
    generate_picture(results / "run", {}, 2, out)
    first = out.read_bytes()
    assert first.startswith(start)
    generate_picture(results / "run", {}, 2, out)
    assert out.read_bytes() == first


@pytest.mark.parametrize("name", ["o", "o.gif", "o.txt", "o.", ".png", "folder", "folder.png"])
def test_other_endings_and_folders_are_refused_before_any_work(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(MmjsdError) as caught:  # before it is seen that there is no such model
        generate_picture(tmp_path / "no-model", {}, 2, tmp_path / name)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name}: ")
    assert "png, pdf, svg, jpg" in line
    assert "\n" not in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "folder.png"]


# --- what comes from the data and the user is no markup ---

MARKUP = ["$x^2$", "\\frac{1}{2}", "_a_b", "5 $", "$\\frac$", "a$b", "%", "<b>&amp;"]


def texts(figure):
    """All that is written in a figure, as it is drawn."""
    figure.canvas.draw()
    found = [text for text in figure.findobj(Text) if text.get_text()]
    for text in found:
        assert not text.get_usetex()
        assert not text.get_parse_math()
    return {text.get_text() for text in found}


@pytest.mark.parametrize("markup", MARKUP)
def test_titles_and_labels_are_drawn_verbatim(markup, tmp_path):
    with canvas.house_style():
        figure, (axes,) = canvas.sheets([markup], 8, 8, f"{markup} {markup}")
        axes.plot([0, 1], label="a")
        figure.legend(axes.get_lines(), [markup])
        axes.axis("on")
        axes.set_xticks([0.5], [markup])
        axes.set_ylabel(markup)
        assert texts(figure) >= {markup, f"{markup} {markup}"}
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [markup]
        canvas.save(figure, tmp_path / "x.png")


@pytest.mark.parametrize("markup", ["$x^2$", "\\frac", "a$b"])
def test_what_is_given_is_drawn_verbatim(results, tmp_path, markup, monkeypatch):
    drawn = []
    monkeypatch.setattr(generate, "save", lambda figure, out: drawn.append(texts(figure)))
    generate_picture(results / "run", {"text": markup[:8]}, 1, tmp_path / "o.png")
    assert f"tiny, given text = {markup[:8]}" in drawn[0]
    (tmp_path / "$x^2").mkdir()
    path = tmp_path / "$x^2" / f"{markup.replace('/', '')}.png"
    Image.new("L", (28, 28)).save(path)
    generate_picture(results / "run", {"mnist": str(path)}, 1, tmp_path / "o.png")
    assert f"tiny, given mnist = {path}" in drawn[1]


def test_names_of_attributes_are_drawn_verbatim(tmp_path):
    """In every figure that has them."""
    names = [f"{markup} {number}".replace(" ", "_") for number, markup in enumerate(MARKUP)]
    columns = ("frequency", "representation/image", "coherence/image/text", "coherence/random")
    metrics = {f"attributes/{name}/{column}": 0.5 for name in names for column in columns}
    with canvas.house_style():
        drawn = attributes.attributes(Shown(trained=None, metrics=metrics, labels=ShownAttributes()))
        assert texts(drawn.figure) >= {name.replace("_", " ") for name in names}
