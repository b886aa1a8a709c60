"""Which device and precision to compute with, and why."""

from dataclasses import dataclass

import torch

from cli import InputError


@dataclass(frozen=True)
class Compute:
    device: torch.device
    dtype: torch.dtype  # of autocast; float32 means no autocast
    reason: str  # for the user

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose_compute(name: str) -> Compute:
    """The device `name` ("auto": a CUDA GPU if there is one, else the CPU) with the precision that suits it.

    Raises InputError if there is no such device here.
    """
    if name == "auto" and not torch.cuda.is_available():
        return Compute(torch.device("cpu"), torch.float32, "cpu, float32: no CUDA GPU was found")
    try:
        device = torch.device("cuda" if name == "auto" else name)
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
