"""The machine that figures come from."""

import os
import platform
import statistics
import time
from pathlib import Path

import torch

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")


def describe() -> str:
    """The processor's name, those of its instruction sets that matter here, and cores."""
    name, found = platform.processor() or platform.machine(), set[str]()
    if (file := Path("/proc/cpuinfo")).exists():
        for line in file.read_text().splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                name = value
            elif key in ("flags", "Features"):
                found |= set(value.split())
    flags = " ".join(flag for flag in FLAGS if flag in found)
    return f"{name}, {flags or 'no instruction sets known'}, {os.cpu_count()} cores"


def bytes_per_second() -> float:
    """What torch's threads read from memory, when they add up a gigabyte."""
    numbers = torch.ones(2**28)

    def seconds() -> float:
        started = time.perf_counter()
        numbers.sum()
        return time.perf_counter() - started

    return 4 * len(numbers) / statistics.median(seconds() for _ in range(5))
