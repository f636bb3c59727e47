"""Signals that ask a process to end: Ctrl-C (SIGINT), and what machines send before they go (SIGTERM)."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "deferred", "end_on_sigterm"]


class Interrupted(KeyboardInterrupt):
    """A process was asked to end by a signal, and does; its text says what is left."""

    def __init__(self, number: int, text: str):
        super().__init__(text)
        self.number = number


def end_on_sigterm() -> None:
    """Make SIGTERM raise `Interrupted`, as Ctrl-C does, so that what is half done is cleared away."""

    def end(number: int, _: object) -> None:
        raise Interrupted(number, "terminated")

    signal.signal(signal.SIGTERM, end)


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Defer the signals: they end nothing while this lasts. A signal that is ignored stays so.

    Yields:
        A function that gives the number of the first signal that came, or None.
    """
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
