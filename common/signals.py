"""Signals that ask a process to end: Ctrl-C, a terminal that goes away, systemd, Slurm, `kill`."""

import math
import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

NAMES = ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "XCPU", "PWR", "BREAK"]
SIGNALS = tuple(getattr(signal, f"SIG{name}") for name in NAMES if hasattr(signal, f"SIG{name}"))
SAME_MOMENT = 1.0  # seconds; under `uv run` a signal to all processes comes twice

T = TypeVar("T")


class Ended(KeyboardInterrupt):
    """Raised where a signal ends the work."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


class StopRequest:
    """Within `with stop:`, a signal raises Ended, so that what is half done is cleared away; the same wish
    once more does nothing. Once `waits` is set, a signal only sets `stop.signal`, and `check` raises Ended.

    What the process was started to ignore (by nohup, say) stays ignored. One process of several, which is not
    `alone`, must not stop while the others go on: there `check` does nothing.
    """

    came = -math.inf  # when the last signal came, to whichever object

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.waits = False
        self.signal: int | None = None

    def __enter__(self) -> "StopRequest":
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.before = {number: old for number, old in handlers.items() if old not in (signal.SIG_IGN, None)}
        StopRequest.came = -math.inf
        for number in self.before:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, old in self.before.items():
            signal.signal(number, old)

    def _receive(self, number: int, _: FrameType | None) -> None:
        repeated = time.monotonic() - StopRequest.came < SAME_MOMENT
        StopRequest.came = time.monotonic()
        if self.waits:
            self.signal = self.signal or number
        elif not repeated:
            raise Ended(number)

    def check(self) -> None:
        if self.alone and self.signal is not None:
            raise Ended(self.signal)

    def between(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until a signal came: then raises Ended."""
        for item in items:
            self.check()
            yield item


def ignore() -> None:
    """From here on, to the end of the process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
