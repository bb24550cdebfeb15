"""Ctrl-C and SIGTERM stop a run after the current step instead of killing it."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final


@final
class StopRequest:
    """Whether a stop was requested, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_requests(*, patience: float = 0.0) -> Iterator[StopRequest]:
    """Context manager that records the first SIGINT or SIGTERM. A second one is handled as before the context was
    entered.

    With `patience`, signals within this many seconds of the first are ignored: a program that starts several processes
    may pass on a signal that the terminal has already sent to them.

    Outside the main thread, where Python allows no signal handlers, nothing is recorded. The same holds for a signal
    that this process was started to ignore, as shells do with SIGINT for background jobs.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # None is a handler that was not set from Python, and could not be restored.
    before = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    noted = math.inf

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if request and time.monotonic() - noted > patience:
            restore()
            os.kill(os.getpid(), number)
            return
        if not request:
            request.signal, noted = signal.Signals(number), time.monotonic()
        if patience == 0:
            restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
