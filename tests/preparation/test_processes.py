import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from preparation.processes import map_in_order, start_pool


def test_results_come_in_order_whichever_is_done_first() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        later.wait(60) if number == 0 else later.set()
        return number

    with ThreadPoolExecutor(2) as pool:
        assert list(map_in_order(work, ((number,) for number in range(20)), pool)) == list(range(20))


def test_a_process_that_is_ended_from_outside_is_reported() -> None:
    with start_pool(parallel=True) as pool, pytest.raises(OSError, match="ended from outside"):
        list(map_in_order(os._exit, [(1,)], pool))
