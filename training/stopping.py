"""SIGINT (Ctrl-C) and SIGTERM as a wish that is granted between two pieces of work."""

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Raised where the work can be left."""


class StopRequest:
    """Within `with stop:`, a first signal sets `stop.signal`; a second one does what it does without this.

    One process of several, which is not `alone`, must not stop while the others go on, and gets signals from
    torchrun as well. There `between` yields all items, and a second signal does nothing.
    """

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # as a shell's background job does with SIGINT
                self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        if self.alone:
            self.__exit__()

    def between(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until a signal came: then raises Stopped."""
        for item in items:
            if self.alone and self.signal is not None:
                raise Stopped
            yield item
