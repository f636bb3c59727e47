"""Training of one run: a loop that reads from top to bottom."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmjsd import distributed, registry
from mmjsd.data.batches import ResidentSplit, StreamedSplit, fits
from mmjsd.data.missing import lose
from mmjsd.data.store import Split, Store, modalities_of
from mmjsd.devices import autocast, image_layout, memory_budget, pick_device, pick_precision
from mmjsd.errors import MmjsdError
from mmjsd.models.vae import MultimodalVAE
from mmjsd.params import Run
from mmjsd.provenance.files import sha256_file
from mmjsd.training.capture import captured
from mmjsd.training.checkpoint import Checkpoint, random_state, restore_random_state
from mmjsd.training.compilation import compiled, repays_compilation
from mmjsd.training.epoch import Epoch
from mmjsd.training.history import Row, write_history
from mmjsd.training.model_file import build, save_model, vector_scale
from mmjsd.training.progress import Progress
from mmjsd.training.step import Outcome, Step
from mmjsd.variables import usable

__all__ = ["train"]


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
    after_epoch: Callable[[list[Row], MultimodalVAE], None] = lambda *_: None,
) -> None:
    """Train and write `model.safetensors` and `history.csv` into the folder.

    Of several processes (:func:`mmjsd.distributed.joined`), each calls this and computes its share of every
    batch on a device of its own; the first writes the files.

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
        fingerprint: of all that determines the result; a checkpoint of another one is not resumed.
        replace: discard such a checkpoint instead of refusing it.
        asked_to_end: gives the signal that asks the process to end, if there was one.
        after_epoch: gets the history and the model once an epoch is saved, the last one again where training
            goes on after it. It draws nothing from the random states of torch, and leaves the model as it is.

    Raises:
        MmjsdError: a single sample, a checkpoint damaged or of other parameters, no such device or precision,
            `compile: on` where that fails, or a loss, gradient or weight that is not finite: the last good
            checkpoint is kept.
        Interrupted: the process is asked to end, and the checkpoint is written.
    """
    torch.set_num_threads(usable(run.threads))
    torch.manual_seed(seed)
    device = pick_device(run.device)
    precision = pick_precision(run.precision, device)
    computing = autocast(precision, device)
    folder.mkdir(parents=True, exist_ok=True)

    # data
    split = _without_missing(store.splits["train"], run, name, seed)
    budget = memory_budget(device) if run.resident_bytes is None else run.resident_bytes
    data = (ResidentSplit if fits(split, budget) else StreamedSplit)(split, device)
    size = min(run.batch_size, len(data))
    steps = len(data) // size
    if size < distributed.count():
        raise MmjsdError(
            f"runs.{name}.processes: must be <= the samples of a batch; datasets.{run.dataset} has {size} "
            f"(got {distributed.count()})"
        )
    share = distributed.Share.of(size)

    # model, objective, optimiser
    objective: Any = build(modalities_of(split), run).to(device).to(memory_format=image_layout(device))
    distributed.synchronise(objective)
    model = objective.model
    optimiser = torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
    if size == 1 and objective.normalises:
        raise MmjsdError(
            f"datasets.{run.dataset}: has one training sample, and its networks, which normalise each batch, "
            "need two at least"
        )
    step = Step(objective, optimiser, data, computing, run.gradient_clipping, share)
    first = _warmup(run, 0.0, device), *next(data.parts(share.rows(torch.arange(size)[None])))
    is_compiled = repays_compilation(run.compile, run.epochs * steps * size, device) and _compiled(
        step, first, run, name
    )
    step.loss = distributed.replicated(step.loss)

    # where an interrupted training stopped
    how = f"on {device.type} in {precision}, {'compiled' if is_compiled else 'not compiled'}"
    if device.type == "cpu":
        how += f", threads: {torch.get_num_threads()}"
    if distributed.count() > 1:
        how += f", processes: {distributed.count()}"
    checkpoint = Checkpoint(folder / "checkpoint.pt", fingerprint, model, optimiser, how, asked_to_end)
    history, saved = checkpoint.resume(device, replace=replace)
    can_capture = device.type == "cuda" and distributed.count() == 1
    advance = _captured(step, first, name) if can_capture else step

    title = f"{name} seed {seed}"
    begun = f", goes on from epoch {len(history) + 1}" if history or saved else ""
    print(f"{title}: {how}, {'captured, ' * (advance is not step)}{data.PLACE}{begun}", flush=True)
    if history and not saved:
        after_epoch(history, model)  # an interruption may have been faster
    progress = Progress(title, run.epochs, steps, size)
    for number in range(len(history), run.epochs):
        where = f"runs.{name}: epoch {number + 1}"
        at_start = random_state(device)
        order = share.rows(data.shuffled(run.batch_size))
        epoch = Epoch(steps, device, share, saved)
        if saved:  # the order is drawn again, what follows it is as it was
            restore_random_state(saved["random"], device)
            saved = None
        for part in data.parts(order[epoch.done :]):
            epoch.add(advance(_warmup(run, number + (epoch.done + 1) / steps, device), *part))
            progress.step(number, epoch.done - 1, epoch.losses)
            if checkpoint.is_due() and epoch.done < steps:
                epoch.refuse_unless_finite(model, where, checkpoint.path)
                checkpoint.save(at_start, history, {**epoch.state(), "random": random_state(device)})
        epoch.refuse_unless_finite(model, where, checkpoint.path)
        history.append(epoch.row(number, size))
        progress.epoch(history[-1])
        checkpoint.save(random_state(device), history)
        after_epoch(history, model)
    progress.close()
    if distributed.rank() > 0:
        return

    write_history(folder / "history.csv", history)
    dataset = {"kind": store.kind, "options": store.params}
    model.scales = {
        name: vector_scale(dataset, name, table.columns or (), table.mean, table.deviation)
        for name, table in store.splits["train"].modalities.items()
        if table.mean is not None and table.deviation is not None
    }
    if store.kind in registry.entries("datasets"):
        model.forms = registry.constant_of("datasets", store.kind, "FORMS", {})
    save_model(
        folder,
        model,
        run=run.recorded,
        name=name,
        seed=seed,
        data_sha256=sha256_file(store.path),
        classes=store.classes,
        dataset=dataset,
    )


def _without_missing(split: Split, run: Run, name: str, seed: int) -> Split:
    """Take from the samples what they lose in this run, and say how much they lack then.

    Raises:
        MmjsdError: no sample is left that has one of the modalities.
    """
    if run.missing is None:
        return split
    lost = lose(split, run.missing, seed)
    shares = lost.missing()
    if gone := [modality for modality, share in shares.items() if share == 1]:
        raise MmjsdError(
            f"runs.{name}.missing: leaves no training sample that has {gone[0]}; lower its share"
        )
    print(f"{name} seed {seed}: missing {', '.join(f'{m} {s:.1%}' for m, s in shares.items())}", flush=True)
    return lost


def _compiled(step: Step, first: tuple[Any, ...], run: Run, name: str) -> bool:
    """Compile the objective of a step, or say in a line why that fails here.

    Raises:
        MmjsdError: it fails, and the run's `compile` is `on`, which says which numbers are wanted: those of
            compiled code differ in the last bits.
    """
    fault = compiled(step, first)
    if fault and run.compile == "on":
        raise MmjsdError(
            f"runs.{name}.compile: on, but torch.compile fails here ({fault}); install a C++ compiler and "
            "the headers of Python, or set it to auto or off"
        )
    if fault:
        print(
            f"{name}: training without torch.compile, which fails here ({fault})", file=sys.stderr, flush=True
        )
    return not fault


def _captured(step: Step, first: tuple[Any, ...], name: str) -> Callable[..., Outcome]:
    """The step as one launch, or, where a line says why that fails here, as many."""
    advance, fault = captured(step, first)
    if fault:
        print(f"{name}: training without a CUDA graph of the step ({fault})", file=sys.stderr, flush=True)
    return advance


def _warmup(run: Run, epochs: float, device: torch.device) -> torch.Tensor | float:
    """What beta is multiplied by after so many epochs.

    A tensor where it changes: compiled code has a number as a constant, and is compiled anew for another.
    """
    if not run.kl_warmup_epochs:
        return 1.0
    return torch.full((), min(1.0, epochs / run.kl_warmup_epochs), device=device)
