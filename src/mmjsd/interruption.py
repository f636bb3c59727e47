"""Signals that ask a process to end: Ctrl-C (SIGINT), and what machines send before they go (SIGTERM)."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "deferred", "end_when_asked"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A process was asked to end by a signal, and does; its text says what is left."""

    def __init__(self, number: int, text: str):
        super().__init__(text)
        self.number = number


def end_when_asked() -> None:
    """Make the signals that ask a process to end raise `Interrupted`, so that half-done work is cleared away.

    Whoever is asked to end is often asked twice: by the signal of the terminal or the job scheduler to the
    whole group, and by a Snakemake or DVC that got it too. Only the first one counts, so that its message is
    the last. A signal that is ignored stays so.
    """

    def end(number: int, _: object) -> None:
        _ignore_all()
        raise Interrupted(number, "interrupted" if number == signal.SIGINT else "terminated")

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Defer the signals: they end nothing while this lasts. A signal that is ignored stays so.

    If one came, all are ignored from then on: the process is about to end.

    Yields:
        A function that gives the number of the first signal that came, or None.
    """
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield lambda: caught[0] if caught else None
    finally:
        if caught:
            _ignore_all()
        else:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ignore_all() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
