"""Training of one run: a loop that reads from top to bottom."""

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_
from tqdm import tqdm

from mmjsd import checkpoint
from mmjsd.compilation import compiled, repays_compilation
from mmjsd.data.batches import Batch, ResidentSplit, StreamedSplit, fits
from mmjsd.data.store import Store, modalities_of
from mmjsd.devices import autocast, image_layout, memory_budget, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.interruption import Interrupted
from mmjsd.modalities import Modality
from mmjsd.models.vae import MultimodalVAE
from mmjsd.objectives import OBJECTIVES, fusion_of
from mmjsd.params import Run
from mmjsd.records import atomic_write, sha256_file

__all__ = ["build_model", "load_model", "read_history", "train"]

#: Seconds after which an epoch that lasts longer is saved as far as it has come.
SAVE_EVERY = 600.0


def build_model(modalities: list[Modality], run: Run) -> MultimodalVAE:
    """A model with fresh weights, as the run's parameters say."""
    return MultimodalVAE(
        modalities,
        shared_latent=run.shared_latent,
        private_latent=run.private_latent,
        network_width=run.network_width,
        fusion=fusion_of(run),
        weights=[run.weights.get(m.name, 1.0) for m in modalities],
        likelihood_scale=run.likelihood_scale,
    )


def train(
    run: Run,
    store: Store,
    folder: Path,
    *,
    name: str,
    seed: int,
    fingerprint: str = "",
    replace: bool = False,
    asked_to_end: Callable[[], int | None] = lambda: None,
) -> None:
    """Train and write `model.pt` and `history.csv` into the folder.

    After every epoch, within long ones, and before the end that a signal asks for, `checkpoint.pt` is
    replaced. Where there is one, training goes on from it exactly: the same parameters, optimiser, order of
    the samples and random states, so the same numbers as without the interruption; a line says so if it was
    computed otherwise until then (on another kind of device, in another precision, compiled or not), and the
    numbers are not exactly those. It is left to the caller, who removes it once the results are safe.

    Args:
        run: resolved parameters.
        store: its `train` split is used.
        folder: results/<dataset>/<run>/seed-<n>, made where missing.
        name: of the run, for messages.
        seed: of the weights, the shuffling and the sampling.
        fingerprint: of all that determines the result; a checkpoint with another one is not gone on from.
        replace: discard such a checkpoint instead of refusing it.
        asked_to_end: gives the signal that asks the process to end, if there was one.

    Raises:
        MmjsdError: a single sample, a checkpoint damaged or of other parameters, no such device or precision,
            `compile: on` where that fails, or a loss, gradient or weight that is not finite: the last good
            checkpoint is kept.
        Interrupted: the process is asked to end, and the checkpoint is written.
    """
    torch.set_num_threads(run.threads)
    torch.manual_seed(seed)
    device = pick_device(run.device)
    precision = pick_precision(run.precision, device)
    folder.mkdir(parents=True, exist_ok=True)

    budget = memory_budget(device) if run.resident_bytes is None else run.resident_bytes
    here = fits(store.splits["train"], budget)
    data = (ResidentSplit if here else StreamedSplit)(store.splits["train"], device)
    modalities = modalities_of(store.splits["train"])
    model = build_model(modalities, run).to(device).to(memory_format=image_layout(device))
    optimiser = torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
    objective: Any = OBJECTIVES[run.objective](modalities, run)
    size = min(run.batch_size, len(data))
    steps = len(data) // size
    if size == 1 and any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in model.modules()):
        raise MmjsdError(
            f"datasets.{run.dataset}: has one training sample, and its networks, which normalise each batch, "
            "need two at least"
        )
    computing = autocast(precision, device)
    is_compiled = repays_compilation(run.compile, run.epochs * steps * size, device)
    if is_compiled:
        first = next(iter(data.batches(torch.arange(size)[None])))
        objective, is_compiled = _compiled(objective, model, first, computing, run, name)
    how = f"on {device.type} in {precision}, {'compiled' if is_compiled else 'not compiled'}"
    unfinished = folder / "checkpoint.pt"
    history, partial = _resume(unfinished, fingerprint, replace, model, optimiser, how)

    progress = _Progress(f"{name} seed {seed}", run.epochs, steps, size)
    saver = _Saver(unfinished, fingerprint, model, optimiser, history, how, asked_to_end)
    for epoch in range(len(history), run.epochs):
        where = f"runs.{name}: epoch {epoch + 1}"
        at_start = checkpoint.random_state(device)
        order = data.shuffled(run.batch_size)
        losses = torch.zeros(steps, device=device)
        sums: dict[str, torch.Tensor] = {}
        finite: list[torch.Tensor] = []
        done, started = 0, time.perf_counter()
        if partial:  # the order is drawn again, what follows it is as it was
            losses, done = partial["losses"].to(device), partial["steps"]
            sums = {term: value.to(device) for term, value in partial["sums"].items()}
            started -= partial["seconds"]
            checkpoint.restore_random_state(partial["random"], device)
            partial = None
        for step, batch in enumerate(data.batches(order[done:]), start=done):
            with computing:
                loss, terms = objective(model, batch, _warmup(run, epoch + (step + 1) / steps, device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norms = _gradient_norms(model)
            if run.gradient_clipping is not None:
                total = torch.linalg.vector_norm(torch.stack(norms))
                clip_grads_with_norm_(model.parameters(), run.gradient_clipping, total)
            optimiser.step()
            losses[step] = loss.detach()
            sums = {term: sums.get(term, 0) + value for term, value in terms.items()}
            finite.append(torch.isfinite(torch.stack([losses[step], *terms.values(), *norms])))
            progress.step(epoch, step, losses)
            if saver.is_due() and step + 1 < steps:
                _refuse_unless_finite(finite, done, list(sums), model, where, unfinished)
                so_far = {"losses": losses, "sums": sums, "steps": step + 1}
                so_far |= {"seconds": time.perf_counter() - started}
                so_far |= {"random": checkpoint.random_state(device)}
                saver.save(at_start, so_far)
        _refuse_unless_finite(finite, done, list(sums), model, where, unfinished)
        seconds = time.perf_counter() - started
        history.append(
            {"epoch": epoch + 1, "loss": losses.mean().item()}
            | {term: (total / steps).item() for term, total in sums.items()}
            | {"samples_per_second": steps * size / seconds, "seconds": seconds}
        )
        progress.epoch(history[-1])
        saver.save(checkpoint.random_state(device))
    progress.close()

    atomic_write(folder / "history.csv", _as_csv(history))
    checkpoint.write(
        folder / "model.pt",
        {
            "kind": "model",
            "run": run.model_dump(),
            "name": name,
            "seed": seed,
            "data_sha256": sha256_file(store.path),
            "modalities": [tuple(m) for m in modalities],
            "classes": store.classes,
            "weights": {key: value.cpu() for key, value in model.state_dict().items()},
        },
    )


#: What a model's file says beside its weights: key -> type.
_SAID = {"run": dict, "name": str, "seed": int, "data_sha256": str, "modalities": list, "classes": list}


def load_model(folder: Path | str, device: str = "cpu") -> tuple[MultimodalVAE, dict[str, Any]]:
    """The trained model of a run's folder, in eval mode, and what its file says of it.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        device: as the `device` parameter names it.

    Raises:
        MmjsdError: no model there or a damaged one, or no such device.
    """
    path = Path(folder) / "model.pt"
    content = checkpoint.read(path, "model", "train the run (again) with `mmjsd train`")
    try:
        for key, kind in _SAID.items():
            if not isinstance(content[key], kind):
                raise TypeError(key)
        model = build_model([Modality(*m) for m in content["modalities"]], Run(**content["run"]))
        model.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, MmjsdError):
        raise MmjsdError(f"{path}: written by another version; train the run again") from None
    place = pick_device(device)
    return model.to(place).to(memory_format=image_layout(place)).eval(), content


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv, one an epoch.

    Raises:
        MmjsdError: missing or damaged.
    """
    try:
        with path.open(newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if {"loss", "seconds", "samples_per_second"} <= rows[0].keys() and [
            row["epoch"] for row in rows
        ] == list(range(1, len(rows) + 1)):
            return rows
    except FileNotFoundError:
        raise MmjsdError(f"{path}: no such file; train the run with `mmjsd train`") from None
    except (ValueError, TypeError, LookupError, csv.Error):
        pass
    raise MmjsdError(f"{path}: damaged; train the run again with `mmjsd train`")


def _compiled(
    objective: Any, model: MultimodalVAE, batch: Batch, computing: Any, run: Run, name: str
) -> tuple[Any, bool]:
    """The objective compiled and True, or as it is and False where compiling fails, and a line says why.

    Raises:
        MmjsdError: it fails, and the run's `compile` is `on`, which says which numbers are wanted: those of
            compiled code differ in the last bits.
    """

    def rehearse(attempt: Any) -> None:
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        random = checkpoint.random_state(model.device)
        try:
            with computing:
                loss, _ = attempt(model, batch, _warmup(run, 0.0, model.device))
            loss.backward()
        finally:  # without a trace
            model.load_state_dict(weights)  # among them the statistics of batch normalisation
            model.zero_grad(set_to_none=True)
            checkpoint.restore_random_state(random, model.device)

    attempt, fault = compiled(objective, rehearse)
    if fault is None:
        return attempt, True
    if run.compile == "on":
        raise MmjsdError(
            f"runs.{name}.compile: on, but torch.compile fails here ({fault}); install a C++ compiler and "
            "the headers of Python, or set it to auto or off"
        )
    print(f"{name}: training without torch.compile, which fails here ({fault})", file=sys.stderr, flush=True)
    return objective, False


def _resume(
    path: Path,
    fingerprint: str,
    replace: bool,
    model: MultimodalVAE,
    optimiser: torch.optim.Optimizer,
    how: str,
) -> tuple[list[dict[str, float]], dict[str, Any] | None]:
    """Bring everything to where the checkpoint was written, if there is one.

    Args:
        path: the checkpoint.
        fingerprint, replace: as of `train`.
        model, optimiser: brought there.
        how: what it computes on, in which precision, compiled or not; other than until then, a line says so.

    Returns:
        The history until then, and how far the epoch after it has come if it has begun.
    """
    if not path.exists():
        return [], None
    content = checkpoint.read(path, "checkpoint", "delete it to start over")
    if content.get("fingerprint") != fingerprint:
        if replace:
            path.unlink()
            return [], None
        raise MmjsdError(
            f"{path}: belongs to other parameters, data or code; restore them, or start over with --replace"
        )
    try:
        model.load_state_dict(content["weights"])
        optimiser.load_state_dict(content["optimiser"])
        checkpoint.restore_random_state(content["random"], model.device)
        until_here, history, partial = content["how"], list(content["history"]), content["partial"]
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
        raise MmjsdError(f"{path}: damaged; delete it to start over") from None
    if until_here != how:
        print(
            f"{path}: computed {until_here} until here, and {how} from here on: the numbers are not exactly "
            "those of training without interruption",
            file=sys.stderr,
            flush=True,
        )
    return history, partial


def _warmup(run: Run, epochs: float, device: torch.device) -> torch.Tensor | float:
    """What beta is multiplied by after so many epochs.

    A tensor where it changes: compiled code has a number as a constant, and is compiled anew for another.
    """
    if not run.kl_warmup_epochs:
        return 1.0
    return torch.full((), min(1.0, epochs / run.kl_warmup_epochs), device=device)


def _gradient_norms(model: MultimodalVAE) -> list[torch.Tensor]:
    """The norm of the gradient of each parameter, computed all at once."""
    return list(torch._foreach_norm([p.grad for p in model.parameters() if p.grad is not None]))


def _refuse_unless_finite(
    finite: list[torch.Tensor],
    first: int,
    terms: list[str],
    model: MultimodalVAE,
    where: str,
    unfinished: Path,
) -> None:
    """Raise what was not finite first, and in which step.

    Args:
        finite: of each step since the first, bool (1 + terms + parameters): whether the loss, its terms and
            the gradients were.
        first: number of that step, from 0.
        terms: names of the terms.
        model: as it is after them.
        where: the run and epoch, for people.
        unfinished: the checkpoint, if there is one yet.
    """
    fault, checked = None, torch.stack(finite)
    if len(bad := (~checked.all(1)).nonzero()):
        step = int(bad[0])
        loss, *others = checked[step].tolist()
        fault = f"step {first + step + 1}: "
        wrong = [term for term, is_finite in zip(terms, others, strict=False) if not is_finite]
        if wrong or not loss:
            fault += f"loss is not finite ({', '.join(wrong) or 'the sum of its terms'})"
        else:
            parameters = [name for name, _ in model.named_parameters()]
            wrong = [p for p, ok in zip(parameters, others[len(terms) :], strict=True) if not ok]
            fault += f"gradient is not finite ({_few(wrong)})"
    elif wrong := checkpoint.not_finite(model.state_dict()):
        fault = f"step {first + len(finite)}: weights are not finite ({_few(wrong)})"
    if fault:
        kept = f"; the last good checkpoint is kept in {unfinished}" if unfinished.exists() else ""
        raise MmjsdError(f"{where}, {fault}; lower its learning_rate or set gradient_clipping{kept}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def _as_csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


class _Saver:
    """Writes the checkpoint: from time to time, and before the process ends as it is asked to."""

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        model: MultimodalVAE,
        optimiser: torch.optim.Optimizer,
        history: list[dict[str, float]],
        how: str,
        asked_to_end: Callable[[], int | None],
    ):
        self.path, self.fingerprint, self.asked_to_end = path, fingerprint, asked_to_end
        self.model, self.optimiser, self.history, self.how = model, optimiser, history, how
        self.saved = time.perf_counter()

    def is_due(self) -> bool:
        return self.asked_to_end() is not None or time.perf_counter() - self.saved >= SAVE_EVERY

    def save(self, random: dict[str, Any], partial: dict[str, Any] | None = None) -> None:
        """Save what the next epoch needs, the random state at its start, and how far it has come if it has.

        Raises:
            Interrupted: saved, and the process is asked to end.
        """
        checkpoint.write(
            self.path,
            {
                "kind": "checkpoint",
                "fingerprint": self.fingerprint,
                "how": self.how,
                "weights": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "random": random,
                "history": self.history,
                "partial": partial,
            },
        )
        self.saved = time.perf_counter()
        if number := self.asked_to_end():
            raise Interrupted(number, f"{self.path}: saved; the same command goes on from there")


class _Progress:
    """A bar on a terminal, a line per epoch elsewhere: loss, samples/s, time left."""

    def __init__(self, title: str, epochs: int, steps: int, batch_size: int):
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.shown = time.perf_counter()
        self.title = title
        self.samples = epochs * steps * batch_size
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.samples, desc=title, unit="sample", unit_scale=True)

    def step(self, epoch: int, step: int, losses: torch.Tensor) -> None:
        # reading the loss makes the host wait for the device: twice a second only
        if self.bar is None or time.perf_counter() - self.shown < 0.5:
            return
        self.shown = time.perf_counter()
        self.bar.set_postfix(
            epoch=f"{epoch + 1}/{self.epochs}", loss=f"{losses[step].item():.1f}", refresh=False
        )
        self.bar.update((epoch * self.steps + step + 1) * self.batch_size - self.bar.n)

    def epoch(self, row: dict[str, float]) -> None:
        left = row["seconds"] * (self.epochs - row["epoch"])
        if self.bar is None:
            print(
                f"{self.title}: epoch {row['epoch']}/{self.epochs}, loss {row['loss']:.2f}, "
                f"{row['samples_per_second']:.0f} samples/s, {left:.0f} s left",
                flush=True,
            )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.update(self.samples - self.bar.n)
            self.bar.close()
