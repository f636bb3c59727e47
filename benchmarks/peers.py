"""Training against that of others, in turns: the same networks, pairs and batch size.

field     the loop as the field writes it: a Dataset that transforms each sample, a shuffling DataLoader,
          without and with workers, plain float32 networks and step (`plain.py`), the loss read after each
MultiVae  its own `BaseTrainer`, on tensors in memory (Senellart et al. 2025). It has no mmJSD: MoPoE stands
          for it. MMVAE has one normal sample, as ours. Left out where it is not installed:
          `uv run --group peers python benchmarks/peers.py`
mmjsd, mmvae, mvae
          `mmjsd.training.loop.train` in the precision of this machine, in float32, and compiled

Of each turn the first steps are not timed: workers have read ahead for them.
"""

import importlib.util
import logging
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partialmethod
from statistics import median
from typing import Any

import numpy as np
import torch
from loops import Steps, random_split, training, unending
from measuring import Row, in_turns, parsed, parser, ratio, report, run
from PIL import Image
from plain import Plain, networks, one_hot
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as transforms
from tqdm import tqdm

from mmjsd.data.batches import ResidentSplit
from mmjsd.data.store import Split
from mmjsd.modalities.image import LIKELIHOODS
from mmjsd.modalities.text import ALPHABET
from mmjsd.params import make_run

CPU = torch.device("cpu")
NAMES = ("mnist", "svhn", "text")
TWINS = {"mmjsd": "MoPoE", "mmvae": "MMVAE", "mvae": "MVAE"}
"""Our objectives, and the model of MultiVae that each is compared with."""


# --- The loop as the field writes it ----------------------------------------------------------------------


class Samples(Dataset):
    """Pairs of a split, each transformed when it is asked for."""

    def __init__(self, split: Split):
        self.tables = [np.array(table.data) for table in split.modalities.values()]
        self.pairs = split.pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        mnist, svhn, text = (table[row] for table, row in zip(self.tables, self.pairs[index], strict=True))
        digit = transforms.to_tensor(Image.fromarray(mnist[0]))
        number = transforms.to_tensor(Image.fromarray(svhn.transpose(1, 2, 0)))
        return digit, number, one_hot(torch.from_numpy(text)[None].long())[0]


def field(split: Split, options: Namespace, workers: int) -> Steps:
    def loop(pause: Callable[[], None]) -> None:
        plain = Plain(make_run("mmjsd", **unending(options, "cpu")), CPU)
        loader = DataLoader(
            Samples(split), options.batch_size, shuffle=True, drop_last=True, num_workers=workers
        )
        total = 0.0
        while True:
            for batch in loader:
                total += plain.step(batch).item()
                pause()

    return Steps(loop)


# --- MultiVae ---------------------------------------------------------------------------------------------


def multivae(objective: str, split: Split, options: Namespace) -> Steps:
    """Make a step at a time of MultiVae's trainer, which is stopped in a callback."""
    from multivae import models
    from multivae.data.datasets import MultimodalBaseDataset
    from multivae.trainers import BaseTrainer, BaseTrainerConfig
    from multivae.trainers.base.callbacks import TrainingCallback
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn.base_architectures import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, network: nn.Module, latent: int):
            super().__init__()
            self.network, self.latent_dim = network, latent

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.network(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, network: nn.Module, latent: int, likeness: Callable[[Tensor], Tensor]):
            super().__init__()
            self.network, self.latent_dim, self.likeness = network, latent, likeness

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.likeness(self.network(z)))

    class Pause(TrainingCallback):
        def __init__(self, pause: Callable[[], None]):
            self.pause = pause

        def on_train_step_end(self, training_config: Any, **kwargs: Any) -> None:
            self.pause()

    name, chosen = TWINS[objective], make_run(objective, **unending(options, "cpu"))
    latent = chosen.shared_latent
    encoders, decoders = networks(latent)
    shapes = {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "text": (8, len(ALPHABET))}
    # it wants the symbols of a text last
    to_text: Callable[[Tensor], Tensor] = lambda x: x.transpose(1, 2)  # noqa: E731
    likeness = (lambda x: x.view(-1, 1, 28, 28), lambda x: x, to_text)
    of_model: dict[str, Any] = {"beta": chosen.beta}
    if name == "MMVAE":  # the ELBO of one sample, as ours
        of_model |= {
            "K": 1,
            "prior_and_posterior_dist": "normal",
            "learn_prior": False,
            "loss": "iwae_looser",
        }
    config = getattr(models, f"{name}Config")(
        n_modalities=3,
        latent_dim=latent,
        input_dims=shapes,
        decoders_dist={"mnist": "laplace", "svhn": "laplace", "text": "categorical"},
        decoder_dist_params={image: {"scale": LIKELIHOODS["laplace"]} for image in ("mnist", "svhn")},
        uses_likelihood_rescaling=True,
        rescale_factors={"mnist": 3072 / 784, "svhn": 1.0, "text": 3072 / 8},
        **of_model,
    )
    turned = nn.Sequential(Turned(), encoders[2])
    model = getattr(models, name)(
        config,
        encoders={n: Encoder(e, latent) for n, e in zip(NAMES, (*encoders[:2], turned), strict=True)},
        decoders={n: Decoder(d, latent, f) for n, d, f in zip(NAMES, decoders, likeness, strict=True)},
    )
    data = ResidentSplit(split, CPU).batch(torch.arange(options.peer_pairs)).values
    tensors = data | {"text": one_hot(data["text"]).transpose(1, 2).contiguous()}

    def loop(pause: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=options.batch_size,
                num_epochs=10**6,
                learning_rate=chosen.learning_rate,
                drop_last=True,
                no_cuda=True,
            )
            BaseTrainer(
                model, MultimodalBaseDataset(tensors), training_config=settings, callbacks=[Pause(pause)]
            ).train()

    return Steps(loop)


class Turned(nn.Module):
    """(B, 8, alphabet) -> (B, alphabet, 8)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


# --- In turns ---------------------------------------------------------------------------------------------


def main() -> None:
    options = parser(__file__, __doc__)
    options.add_argument("--batch-size", type=int, default=256)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--workers", type=int, default=2, help="of the second loader")
    options.add_argument("--turns", type=int, default=12)
    options.add_argument("--repeat", type=int, default=3, help="timed steps of a turn")
    options.add_argument("--no-compile", action="store_true", help="leave out the compiled steps")
    options.add_argument("--pairs", type=int, default=200_000, help="of 10,000 images of each modality")
    options.add_argument("--peer-pairs", type=int, default=5_120, help="as tensors, for MultiVae")
    small = {"batch_size": 16, "threads": 1, "turns": 1, "repeat": 1, "pairs": 1000, "peer_pairs": 160}
    options = parsed(options, **small, workers=0, no_compile=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    split = random_split(10_000, options.pairs)

    steps: dict[str, Steps] = {"field mmjsd": field(split, options, 0)}
    if options.workers:
        steps[f"field mmjsd, {options.workers} workers"] = field(split, options, options.workers)
    if importlib.util.find_spec("multivae"):
        logging.disable(logging.INFO)
        tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)  # type: ignore[method-assign]
        steps |= {f"MultiVae {twin}": multivae(ours, split, options) for ours, twin in TWINS.items()}
    else:
        print("multivae is not installed: `uv run --group peers python benchmarks/peers.py`", file=sys.stderr)
    variants: dict[str, dict[str, Any]] = {"": {}, " float32": {"precision": "float32"}}
    variants |= {} if options.no_compile else {" compiled": {"compile": "on"}}
    for objective in TWINS:
        for variant, given in variants.items():
            ours = make_run(objective, **{**unending(options, "cpu"), "compile": "off", **given})
            steps[f"{objective}{variant}"] = training(ours, split)
    # a worker reads two batches ahead
    times = in_turns(steps, turns=options.turns, repeat=options.repeat, skip=2 * options.workers + 1)
    for loop in steps.values():
        loop.close()

    rows: list[Row] = [
        {"loop": name, "ms/step": 1000 * median(taken), "samples/s": options.batch_size / median(taken)}
        for name, taken in times.items()
    ]
    results = {}
    for objective, twin in TWINS.items():
        others = [name for name in times if name.startswith((f"field {objective}", f"MultiVae {twin}"))]
        own = [name for name in times if name.startswith(objective)]
        results |= {
            f"{ours}, times as fast as {it}": ratio(times[it], times[ours]) for ours in own for it in others
        }
    report(options, {f"Loops: batch {options.batch_size}, {options.threads} threads": rows}, results)


if __name__ == "__main__":
    run(main)
