"""How training tells how it goes."""

import sys
import time

import torch
from tqdm import tqdm

from mmjsd.training.history import Row

__all__ = ["Progress"]


class Progress:
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
        """Show a step; epoch and step count from 0."""
        # reading the loss makes the host wait for the device: twice a second only
        if self.bar is None or time.perf_counter() - self.shown < 0.5:
            return
        self.shown = time.perf_counter()
        self.bar.set_postfix(
            epoch=f"{epoch + 1}/{self.epochs}", loss=f"{losses[step].item():.1f}", refresh=False
        )
        self.bar.update((epoch * self.steps + step + 1) * self.batch_size - self.bar.n)

    def epoch(self, row: Row) -> None:
        """Show a finished epoch."""
        left = row["seconds"] * (self.epochs - row["epoch"])
        if self.bar is None:
            print(
                f"{self.title}: epoch {row['epoch']}/{self.epochs}, loss {row['loss']:.2f}, "
                f"{row['samples_per_second']:.0f} samples/s, {left:.0f} s left",
                flush=True,
            )

    def close(self) -> None:
        """Fill the bar up."""
        if self.bar is not None:
            self.bar.update(self.samples - self.bar.n)
            self.bar.close()
