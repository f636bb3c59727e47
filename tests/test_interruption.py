"""With real signals, sent to this process."""

import os
import signal

import pytest

from mmjsd.interruption import Interrupted, end_on_sigterm, held_back


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_held_back_and_told(number):
    before = signal.getsignal(number)
    with held_back() as asked_to_end:
        assert asked_to_end() is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # the first one is told
        assert asked_to_end() == number
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for jobs in the background
    with held_back() as asked_to_end:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked_to_end() is None


def test_sigterm_ends_as_an_exception():
    end_on_sigterm()
    with pytest.raises(Interrupted, match="terminated") as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.number == signal.SIGTERM
