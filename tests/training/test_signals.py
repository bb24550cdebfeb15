"""A stop is asked for once, and handlers are put back as they were."""

import os
import signal
import threading

import pytest

from motet.training.signals import stop_requests

BOTH = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    before = handlers()
    with stop_requests() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal is number
        assert handlers() == before, "a second signal must act as it did before"
    assert handlers() == before


def test_the_second_ctrl_c_interrupts() -> None:
    with stop_requests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_callers_own_handler_gets_the_second_and_comes_back() -> None:
    heard = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        own = signal.getsignal(signal.SIGTERM)
        with stop_requests():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, old)


def test_handlers_come_back_after_an_error() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError), stop_requests():
        raise ZeroDivisionError
    assert handlers() == before


def test_a_signal_that_the_process_ignores_stays_ignored() -> None:
    """As for a job in the background of a shell script: Ctrl-C for the script is none for the job."""
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)


def test_other_threads_watch_nothing() -> None:
    before, seen = handlers(), []

    def watch() -> None:
        with stop_requests() as stop:
            seen.append((bool(stop), handlers() == before))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
