"""Which device and precision to compute with, and how much memory that took."""

import sys
from dataclasses import dataclass

import torch
from joblib import cpu_count  # affinity and cgroup limits count

from common.errors import InputError


@dataclass(frozen=True)
class Compute:
    device: torch.device
    dtype: torch.dtype  # of autocast; float32 means no autocast
    reason: str  # for the user

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose_compute(name: str, local_rank: int = 0) -> Compute:
    """The device `name` ("auto": a CUDA GPU if there is one, else the CPU) with the precision that suits it.

    Of several GPUs, the one of this process's rank on this machine. From here on torch has no more threads
    than this process may use cores; by itself it takes all that the machine has, even where a container may
    use two. Raises InputError if there is no such device here.
    """
    if (cores := cpu_count()) < torch.get_num_threads():
        torch.set_num_threads(cores)
    if name == "auto" and not torch.cuda.is_available():
        return Compute(torch.device("cpu"), torch.float32, "cpu, float32: no CUDA GPU was found")
    try:
        device = torch.device(f"cuda:{local_rank}" if name in ("auto", "cuda") else name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"unknown type {device.type}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not to be had here; use cpu, cuda or auto") from error
    if device.type != "cuda":
        return Compute(device, torch.float32, f"{device}, float32: as --device says")
    gpu = torch.cuda.get_device_name(device)
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Compute(device, torch.bfloat16, f"{device}, bfloat16 autocast: {gpu} computes it natively")
    return Compute(device, torch.float32, f"{device}, float32: {gpu} has no bfloat16")


def memory_used(device: torch.device) -> float | None:
    """The most memory this process has held so far, in GB: on the GPU, or else resident. None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
