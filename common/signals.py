"""Signals that ask a process to end: Ctrl-C, a terminal that goes away, systemd, Slurm, `kill`."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
SAME_MOMENT = 1.0  # seconds; under `uv run` a signal to all processes comes twice


class Ended(KeyboardInterrupt):
    """Raised where a signal ends the work."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, `handler` gets these signals, but for those that the process was started to ignore
    (nohup does that, and a shell for a job in the background)."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def ignore() -> None:
    """From here on, to the end of the process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _LastSignal:
    """When a signal came last, wherever it was handled: there is one process, and its signals are its own."""

    time = -SAME_MOMENT


def is_repeated() -> bool:
    """To be asked once for each signal: whether another one came within the same moment before it."""
    now = time.monotonic()
    repeated = now - _LastSignal.time < SAME_MOMENT
    _LastSignal.time = now
    return repeated


@contextmanager
def raised() -> Iterator[None]:
    """Within the block, a signal raises Ended, so that what is half done is cleared away; a repeated one does
    nothing."""
    _LastSignal.time = -SAME_MOMENT

    def end(number: int, _: FrameType | None) -> None:
        if not is_repeated():
            raise Ended(number)

    with handled_by(end):
        yield
