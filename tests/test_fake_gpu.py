"""Forward passes on a `cuda` device without one, by torch's own rules of which tensors go together.

FakeTensorMode computes shapes, types and devices, but no values. So what reads one (`unique`, `nonzero`,
NumPy) does not run, nor does backward without a GPU, and `mps` and `xpu` need a torch built for them.
`test_pretended_gpu.py` runs all of it on all kinds, by rules of its own.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from mmjsd.data.batches import Batch
from mmjsd.distributions import Gaussian
from mmjsd.evaluation import latents, likelihood
from mmjsd.evaluation.embeddings import classifier_embedding
from mmjsd.modalities import Modality, kind_of
from mmjsd.models.classifiers import Classifier
from mmjsd.models.vae import MultimodalVAE
from mmjsd.objectives import Objective
from mmjsd.params import Run
from mmjsd.subsets import subsets
from mmjsd.training.loop import _warmup
from mmjsd.training.model_file import build
from support.samples import make_run
from support.training import VARIANTS

CUDA = torch.device("cuda", 0)
COUNT = 6
DIGITS = [
    Modality("mnist", "image", (1, 28, 28), 784),
    Modality("svhn", "image", (3, 32, 32), 3072),
    Modality("text", "text", (8,), 8),
]
OWN = [
    Modality("numbers", "vector", (7,), 7),
    Modality("picture", "image", (3, 11, 6), 198),
    Modality("words", "text", (13,), 13),
]
FACES = [Modality("image", "image", (3, 64, 64), 12288), Modality("text", "text", (256,), 256)]


@pytest.fixture
def mode() -> FakeTensorMode:
    return FakeTensorMode()


def on_cuda(module: nn.Module, mode: FakeTensorMode) -> None:
    """Replace the weights and constants; `to` cannot, for the mode holds references to them."""
    places = [
        (kept, name, tensor.data)
        for part in module.modules()
        for kept in (part._parameters, part._buffers)
        for name, tensor in kept.items()
        if tensor is not None
    ]
    with mode:
        for kept, name, tensor in places:
            fake = mode.from_tensor(tensor).to(CUDA)
            kept[name] = nn.Parameter(fake) if isinstance(kept[name], nn.Parameter) else fake


def built(modalities: list[Modality], mode: FakeTensorMode, **options) -> tuple[Run, Objective]:
    run = make_run(network_width=0.1, **options)
    objective = build(modalities, run)
    on_cuda(objective, mode)
    return run, objective


def as_input(modality: Modality, count: int, device: torch.device) -> Tensor:
    """Stored rows, as networks take them."""
    kind = kind_of(modality)
    rows = torch.zeros(count, *modality.shape, dtype=getattr(torch, np.dtype(kind.DTYPE).name), device=device)
    return kind.as_input(rows)


def inputs(modalities: list[Modality]) -> dict[str, Tensor]:
    return {m.name: as_input(m, COUNT, CUDA) for m in modalities}


@pytest.fixture(autouse=True)
def equal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are normalised on the CPU, where that reads a value."""
    equal = lambda model, subset: torch.full((len(subset),), 1 / len(subset), device=model.device)  # noqa: E731
    monkeypatch.setattr(MultimodalVAE, "_weights_of", equal)


@pytest.mark.parametrize("modalities", [DIGITS, FACES, OWN], ids=["digits", "faces", "own"])
@pytest.mark.parametrize("private_latent", [0, 2])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(o.values()))
def test_objectives(mode, modalities, private_latent, missing, options):
    run, objective = built(modalities, mode, private_latent=private_latent, kl_warmup_epochs=1, **options)
    with mode:
        present = torch.ones(len(modalities), COUNT, dtype=torch.bool, device=CUDA) if missing else None
        loss, terms = objective(Batch(inputs(modalities), present), _warmup(run, 0.5, CUDA))
        assert {loss.device, *(term.device for term in terms.values())} == {CUDA}


def conditions(modalities: list[Modality]) -> Iterator[tuple[str, ...]]:
    return subsets([m.name for m in modalities])


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(o.values()))
def test_generating(mode, options, monkeypatch):
    monkeypatch.setattr(
        MultimodalVAE, "_refuse_out_of_range", lambda *_: None
    )  # it asks for values: there are none
    model = built(DIGITS, mode, private_latent=2, **options)[1].model
    with mode:
        values = inputs(DIGITS)
        for subset in conditions(DIGITS):
            given = {name: values[name] for name in subset}
            samples = model.generate(given, n=2)
            assert {name: (x.device, len(x)) for name, x in samples.items()} == {
                m.name: (CUDA, 2 * COUNT) for m in DIGITS
            }
        given = {"mnist": torch.rand(COUNT, 1, 28, 28, device="cpu")}
        for samples in (model.generate(given), model.generate(n=5)):
            assert {x.device for x in samples.values()} == {CUDA}
        for samples in latents.random_samples(model, 5, ("svhn",)):
            assert {x.device for x in samples.values()} == {CUDA}


class Posteriors(latents.UnimodalPosteriors):
    """Of samples each of which has rows of its own: finding the distinct ones reads values."""

    def __init__(self, model: MultimodalVAE, values: dict[str, Tensor]):
        self.model, self.values = model, values
        encoded = model.encode(values)
        self.shared = {name: encoded.shared.at(place) for place, name in enumerate(values)}
        self.private = encoded.private
        self.columns = {name: torch.arange(COUNT, device=CUDA) for name in values}

    def inputs(self, name: str, samples: Tensor) -> Tensor:
        return self.values[name][samples]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(o.values()))
def test_likelihood_and_coherence(mode, options):
    model = built(DIGITS, mode, private_latent=2, **options)[1].model
    judges = {m.name: judge(m, mode) for m in DIGITS}
    embed = classifier_embedding(judges)
    with mode, torch.no_grad():
        test, samples = Posteriors(model, inputs(DIGITS)), torch.arange(COUNT, device=CUDA)
        for subset in conditions(DIGITS):
            found = likelihood.estimates(test, subset, samples, 3)
            assert {values.device for values in found.values()} == {CUDA}
            for generated in latents.conditional_samples(test, subset, samples):
                seen = [judges[name](x) for name, x in generated.items()]
                seen += [embed(name, x) for name, x in generated.items() if name != "text"]
                assert {values.device for values in seen} == {CUDA}


def judge(modality: Modality, mode: FakeTensorMode) -> Classifier:
    classifier = Classifier(modality, 10).eval()
    with torch.no_grad():
        classifier(as_input(modality, 1, torch.device("cpu")))  # its lazy layer
    on_cuda(classifier, mode)
    return classifier


@pytest.mark.parametrize("modality", [*DIGITS, *FACES, *OWN], ids=lambda m: f"{m.name}-{m.size}")
def test_classifiers(mode, modality):
    classifier = judge(modality, mode).train()
    with mode:
        x = as_input(modality, COUNT, CUDA)
        logits = classifier(kind_of(modality).vary(x))
        labels = torch.zeros(COUNT, dtype=torch.int64, device=CUDA)
        assert nn.functional.cross_entropy(logits.float(), labels).device == CUDA


def test_mixed_devices_are_found(mode):
    model = built(DIGITS, mode)[1].model
    with mode:
        assert isinstance(model.generate(n=2)["svhn"], FakeTensor)
        here = Gaussian.standard(COUNT, 20)
        with pytest.raises(RuntimeError, match="device"):
            model.decode("svhn", torch.zeros(COUNT, 0, device=CUDA), here.mean)
