"""Work done by a few processes, with the results in the order of the work."""

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from common.signals import ignore

T = TypeVar("T")

MOST_WORKERS = 2  # beside the parent, which reads; of 60 to 130 MB each


def start_pool(parallel: bool) -> AbstractContextManager[Executor | None]:
    """A pool for `map_in_order`; None if not `parallel`."""
    if not parallel:
        return nullcontext()
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    return ProcessPoolExecutor(workers, initializer=_end_with_parent)


def map_in_order(
    work: Callable[..., T], arguments: Iterable[tuple[Any, ...]], pool: Executor | None
) -> Iterator[T]:
    """What `work` returns for each of `arguments`; with a pool, it works a little ahead.

    Raises OSError if a process of the pool was ended from outside.
    """
    if pool is None:
        yield from itertools.starmap(work, arguments)
        return
    waiting: deque[Future[T]] = deque()
    try:
        for these in arguments:
            waiting.append(pool.submit(work, *these))
            while len(waiting) > 2 * MOST_WORKERS or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise OSError("a working process was ended from outside (no memory left?); start again") from error


def _end_with_parent() -> None:
    """In a process of the pool: signals are the parent's to handle; without it there is no work."""

    def end_with_it() -> None:
        parent = multiprocessing.parent_process()
        assert parent
        parent.join()
        os._exit(1)

    ignore()
    threading.Thread(target=end_with_it, daemon=True).start()
