"""With real signals, sent to this process."""

import os
import signal

import pytest

from mmjsd.interruption import Interrupted, deferred, end_when_asked


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_held_back_and_told(number):
    with deferred() as asked_to_end:
        assert asked_to_end() is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # the first one is told
        assert asked_to_end() == number
    os.kill(os.getpid(), number)  # nothing more
    os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_all_is_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with deferred():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for jobs in the background
    with deferred() as asked_to_end:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked_to_end() is None


@pytest.mark.parametrize(("number", "text"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_as_an_exception_and_a_second_one_adds_nothing(number, text):
    end_when_asked()
    with pytest.raises(Interrupted, match=text) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_ignored_signal_stays_ignored_by_the_end():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_when_asked()
    os.kill(os.getpid(), signal.SIGINT)
