import sys

import pytest
import torch
from joblib import cpu_count

from common.device import choose_compute, memory_used


def test_torch_takes_no_more_threads_than_there_are_cores_for_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """joblib knows a container's limits; this variable of its own is one that a test can set."""
    before = torch.get_num_threads()
    try:
        for cores, threads in ((1, 2), (1, 1), (cpu_count() + 1, 1)):
            monkeypatch.setenv("LOKY_MAX_CPU_COUNT", str(cores))
            torch.set_num_threads(threads)
            choose_compute("cpu")
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_memory_is_in_gigabytes_and_unknown_without_pythons_module_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = memory_used(torch.device("cpu"))
    assert used
    assert 0.01 < used < 1000
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert memory_used(torch.device("cpu")) is None
