"""Which device and precision to compute with, and how much memory that took."""

from common.threads import usable_cores

import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from common.errors import InputError, one_line

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # Linux's; there as soon as the driver is loaded
DRIVER = "see to it that nvidia-smi shows the GPU and a driver of 580 or later, which torch's CUDA 13 needs"


@dataclass(frozen=True)
class Compute:
    device: torch.device
    dtype: torch.dtype  # of autocast; float32 means no autocast
    reason: str  # for the user

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose_compute(name: str, local_rank: int = 0) -> Compute:
    """The device `name` with the precision that suits it; "auto" is a CUDA GPU if there is one, else Apple's,
    else the CPU.

    Of several GPUs, the one of this process's rank on this machine; it becomes torch's current one. From here
    on torch has no more threads than this process may use cores; by itself it takes all that the machine has,
    even where a container may use two. Raises InputError if there is no such device here, or if "auto" would
    leave a GPU idle whose driver is there.
    """
    if (cores := usable_cores()) < torch.get_num_threads():
        torch.set_num_threads(cores)
    wanted = name
    if name == "auto":
        if torch.cuda.is_available():
            wanted = "cuda"
        elif torch.backends.mps.is_available():
            wanted = "mps"
        else:
            return Compute(torch.device("cpu"), torch.float32, f"cpu, float32: {_why_no_gpu()}")
    try:
        device = torch.device(f"cuda:{local_rank}" if wanted == "cuda" else wanted)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"unknown type {device.type}")
        if device.type == "cuda":
            return _cuda(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        other = "cpu" if name in ("auto", "cuda") else "cpu or auto"
        raise InputError(f"--device {name}: not to be had here ({one_line(error)}); use {other}") from error
    why = "as --device says" if name != "auto" else "Apple's GPU; untried, --device cpu is not"
    return Compute(device, torch.float32, f"{device}, float32: {why}")


def _cuda(device: torch.device) -> Compute:
    """Raises RuntimeError, with torch's reason, if torch cannot use this GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of a GPU that is too old is said here
        torch.cuda.set_device(device)
        gpu, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    kernels = re.findall(r"sm_(\d+)", " ".join(torch.cuda.get_arch_list()))
    if capability < divmod(min(map(int, kernels), default=0), 10):
        of = ".".join(map(str, capability))
        raise RuntimeError(f"{gpu} has compute capability {of}, for which this torch has no kernels")
    # For every new shape, cuDNN's attention plans for up to a second; flash attention does not.
    torch.backends.cuda.enable_cudnn_sdp(False)
    if capability >= (8, 0):
        return Compute(device, torch.bfloat16, f"{device}, bfloat16 autocast: {gpu} computes it natively")
    return Compute(device, torch.float16, f"{device}, float16 autocast: {gpu} has no bfloat16")


def _why_no_gpu() -> str:
    """Raises InputError where a driver of NVIDIA is there, and no GPU of it, unless the user hid them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides the GPUs"
    if NVIDIA_DRIVER.exists():
        try:
            torch.cuda.init()
            reason = "torch gives no reason"
        except (RuntimeError, AssertionError) as error:
            reason = one_line(error)
        raise InputError(
            f"--device auto: there is a driver of NVIDIA here, but torch finds no GPU ({reason}); {DRIVER}, "
            "or add --device cpu"
        )
    return "no GPU was found"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


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
