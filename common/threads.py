"""How many threads there may be, and how those of PyTorch wait: to be imported before it, which reads that.

They sleep. By default they keep their cores busy, and where somebody else needs one of these, all wait for
the thread that lost it (benchmarks/neighbours.py).
"""

import math
import os
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CGROUP = Path("/sys/fs/cgroup")  # Linux's; a container sees its own
QUOTA_AND_PERIOD = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # versions 2 and 1


def usable_cores() -> int:
    """Of the machine's cores, as many as this process's affinity and its container's quota leave it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in QUOTA_AND_PERIOD:
        with suppress(OSError, ValueError):  # no such file, or no number: there is no quota
            quota, period = map(int, " ".join((CGROUP / file).read_text("utf-8") for file in files).split())
            if quota > 0:
                cores = min(cores, math.ceil(quota / period))
    return cores
