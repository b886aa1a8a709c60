"""A signal to end as a wish that is granted between two pieces of work."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import TypeVar

from common import signals
from common.signals import Ended

T = TypeVar("T")


class StopRequest:
    """Within `with stop:`, a signal raises Ended while there is nothing to save. Once `waits` is set, it only
    sets `stop.signal`, as does any other that follows, and `check` raises Ended.

    One process of several, which is not `alone`, must not stop while the others go on: there `check` does
    nothing, and `between` yields all items.
    """

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.waits = False
        self.signal: int | None = None
        self._handlers: AbstractContextManager[None] = signals.handled_by(self._receive)

    def __enter__(self) -> "StopRequest":
        self._handlers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handlers.__exit__(None, None, None)

    def _receive(self, number: int, _: FrameType | None) -> None:
        signals.is_repeated()  # for whoever handles the next one
        first = self.signal is None
        self.signal = self.signal or number
        if first and not self.waits:
            raise Ended(number)

    def check(self) -> None:
        if self.alone and self.signal is not None:
            raise Ended(self.signal)

    def between(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until a signal came: then raises Ended."""
        for item in items:
            self.check()
            yield item
