import os
import pickle
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import torch
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.embeddings import classifier_embedding, inception_embedding
from mmjsd.modalities import Modality
from mmjsd.models.classifiers import Classifier, load_classifier, train_classifier
from support.pretended import pretended_gpu
from support.training import train_judges_briefly

CPU = torch.device("cpu")


# --- the classifiers' features ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifiers(store, tmp_path_factory) -> dict[str, Classifier]:
    folder = tmp_path_factory.mktemp("classifiers")
    with pytest.MonkeyPatch.context() as patch:
        train_judges_briefly(patch)
        train_classifier(store, "mnist", folder / "mnist", epochs=1, seed=1)
    mnist = Modality("mnist", "image", (1, 28, 28), 784)
    torch.manual_seed(0)
    svhn = Classifier(Modality("svhn", "image", (3, 32, 32), 3072), 10).eval()
    return {"mnist": load_classifier(folder / "mnist", mnist, 10, CPU)[0], "svhn": svhn}


@torch.no_grad()
@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 28, 28)), ("svhn", (3, 32, 32))])
def test_classifier_embedding_is_what_its_head_reads(classifiers, name, shape):
    images = torch.rand(6, *shape)
    found = classifier_embedding(classifiers)(name, images)
    assert found.shape == (6, 128)
    torch.testing.assert_close(found, classifiers[name].features(images))
    torch.testing.assert_close(classifiers[name].head(found), classifiers[name](images))


@torch.no_grad()
def test_classifier_embeds_an_image_alike_in_every_batch(classifiers):
    """As in eval mode; with the statistics of the batch, or with dropout, it would not."""
    embed = classifier_embedding(classifiers)
    images = torch.rand(5, 1, 28, 28)
    together = embed("mnist", images)
    alone = torch.cat([embed("mnist", image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.std(0).max() > 0


# --- Inception --------------------------------------------------------------------------------------------


class Blank(feature_extractor_inceptionv3.FeatureExtractorInceptionV3):
    """The network as it is before its weights are loaded."""

    def load_state_dict(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file of random weights, and the network with them."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        network = Blank("inception", ["2048"])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # so that signals keep their size through all layers
            fan = module.weight[0].numel()
            nn.init.normal_(module.weight, std=(2 / fan) ** 0.5)
    torch.save(network.state_dict(), path)
    yield path, network
    path.unlink()  # it is large


@pytest.fixture(scope="module")
def embed(inception):
    return inception_embedding(str(inception[0]), CPU)


def test_inception_embeds_gray_images_and_colours(inception, embed):
    gray = torch.rand(2, 1, 28, 28)
    found = embed("mnist", gray)
    assert found.shape == (2, 2048)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert not found.requires_grad
    torch.testing.assert_close(embed("svhn", gray.repeat(1, 3, 1, 1)), found)
    colours = gray.repeat(1, 3, 1, 1)
    colours[:, 0] = 1 - colours[:, 0]
    assert (embed("svhn", colours) - found).abs().max() > 1e-3


def test_inception_reads_the_stored_bytes(inception, embed):
    """All 256 values come back exactly, and images a decoder drew too bright are cut off, not wrapped."""
    _, network = inception
    stored = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    stored[1] = stored[1].flip(-1)
    found = embed("svhn", stored.float() / 255)
    torch.testing.assert_close(found, network(stored)[0])
    beyond = stored.float() / 255
    beyond[stored == 255] = 1.2
    beyond[stored == 0] = -0.3
    torch.testing.assert_close(embed("svhn", beyond), found)


class Evil:
    """Unpickling it makes a folder: nothing of a weight file's content must run."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def weights_of_another_network(path: Path, _: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path)


def weights_without_names(path: Path, _: Path) -> None:
    torch.save({1: torch.zeros(3)}, path)


def one_tensor(path: Path, _: Path) -> None:
    torch.save(torch.zeros(3), path)


def no_weights(path: Path, _: Path) -> None:
    torch.save({}, path)


def text(path: Path, _: Path) -> None:
    path.write_text("here are the weights\n")


def page(path: Path, _: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html>Not Found</html>\n")


def nothing(path: Path, _: Path) -> None:
    path.touch()


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def cut_off(path: Path, _: Path) -> None:
    torch.save({"a": torch.zeros(3000)}, path)
    os.truncate(path, path.stat().st_size // 2)


def malicious_pickle(path: Path, target: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(target)))


def malicious_weights(path: Path, target: Path) -> None:
    torch.save({"a": torch.zeros(3), "b": Evil(target)}, path)


def malicious_old_weights(path: Path, target: Path) -> None:
    torch.save({"a": Evil(target)}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (weights_of_another_network, "weights of another network"),
        (weights_without_names, "weights of another network"),
        (no_weights, "weights of another network"),
        (one_tensor, "not a file of weights"),
        (text, "not a file of weights"),
        (page, "not a file of weights"),
        (nothing, "not a file of weights"),
        (folder, "not a file of weights"),
        (cut_off, "not a file of weights"),
        (malicious_pickle, "not a file of weights"),
        (malicious_weights, "not a file of weights"),
        (malicious_old_weights, "not a file of weights"),
    ],
)
def test_inception_refuses_other_files(tmp_path, write, message):
    path, target = tmp_path / "weights.pth", tmp_path / "executed"
    write(path, target)
    with pytest.raises(MmjsdError, match=message) as error:
        inception_embedding(str(path), CPU)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize("write", [malicious_pickle, malicious_weights, malicious_old_weights])
def test_the_malicious_files_are_malicious(tmp_path, write):
    """Read without care they do run: what the test above relies on."""
    path, target = tmp_path / "weights.pth", tmp_path / "executed"
    write(path, target)
    if write is malicious_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert target.exists()


def test_inception_refuses_a_missing_file(tmp_path):
    with pytest.raises(MmjsdError, match=r"none\.pth: no such file; evaluation.inception_weights") as error:
        inception_embedding(str(tmp_path / "none.pth"), CPU)
    assert "\n" not in str(error.value)


def test_inception_of_another_shape_is_refused(inception, tmp_path):
    """Same names, another width of one layer; and one layer missing."""
    _, network = inception
    small = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("Mixed")}
    torch.save(small, tmp_path / "missing.pth")
    shapes: dict[str, Tensor] = {name: torch.zeros(1) for name in network.state_dict()}
    torch.save(shapes, tmp_path / "shapes.pth")
    for path in (tmp_path / "missing.pth", tmp_path / "shapes.pth"):
        with pytest.raises(MmjsdError, match="weights of another network") as error:
            inception_embedding(str(path), CPU)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (URLError("no route to host"), "no network, or the host does not answer (no route to host); connect"),
        (
            HTTPError("http://x", 404, "Not Found", Message(), None),
            "the host refuses it with 404 Not Found; type the same command again later",
        ),
        (
            OSError(28, "No space left on device"),
            "it cannot be written (No space left on device); see to space",
        ),
        (RuntimeError("invalid hash value"), "invalid hash value; type the same command again later"),
    ],
)
def test_failed_download_says_what_to_do(monkeypatch, tmp_path, error, cause):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", fail)
    with pytest.raises(MmjsdError) as caught:
        inception_embedding("download", CPU)
    line = str(caught.value)
    assert line.startswith(f"evaluation.inception_weights: cannot be downloaded: {cause}")
    assert line.endswith("weights-inception-2015-12-05-6726825d.pth and give its path")
    assert "\n" not in line


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_a_damaged_file_that_was_kept_is_named(monkeypatch, tmp_path, content):
    """torch looks no further once a file is there."""
    kept = tmp_path / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    kept.parent.mkdir()
    if content is None:
        torch.save({"a": torch.zeros(3)}, kept)
    else:
        kept.write_bytes(content)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MmjsdError) as caught:
        inception_embedding("download", CPU)
    assert str(caught.value).startswith(f"{kept}: damaged, or weights of another network; delete it")


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_inception_on_a_gpu(inception, embed, kind):
    images = torch.rand(2, 1, 28, 28)
    with pretended_gpu(kind):
        device = torch.device(kind, 0)
        found = inception_embedding(str(inception[0]), device)("mnist", images.to(device))
        assert found.device == device
        torch.testing.assert_close(found.cpu(), embed("mnist", images))
