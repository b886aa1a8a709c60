"""A checkpoint, ready to tell stories: by the engine on a CPU, by PyTorch on a GPU or without an engine."""

from common.threads import usable_cores

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from common.checkpoints import locate
from common.errors import CheckpointError, InputError
from inference.compile import EngineError
from inference.engine import Engine
from inference.stories import Model

GPU_DRIVERS = (  # files that are there where a GPU may be
    "/proc/driver/nvidia/version",  # Linux, as soon as the driver is loaded
    "/dev/dxg",  # Windows's Linux
    r"C:\Windows\System32\nvcuda.dll",
)


class Opened(NamedTuple):
    model: Model
    how: str  # what computes it, for the user


def open_model(name: str, device: str) -> Opened:
    """The checkpoint `name` on `device`: cpu, auto, or what torch calls a device.

    Raises CheckpointError, and InputError if there is no such device.
    """
    why_not = ""
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        file = locate(name)
        try:
            if file.suffix != ".safetensors":
                raise EngineError(
                    f"{file.name} is no .safetensors file; where PyTorch is, `uv run python quantize.py "
                    f"--checkpoint {name} --output int8` makes one"
                )
            engine = Engine.from_file(file, usable_cores())
        except (EngineError, CheckpointError) as error:
            why_not = str(error)
        else:
            return Opened(engine, f"cpu: {engine}")
    try:
        from common.device import choose_compute
        from model import load_model
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name}: {why_not or f'for {device}'}; PyTorch is not here ({error.name})"
        ) from error
    compute = choose_compute(device)
    model = load_model(name, compute.device)
    if why_not:
        print(f"note: PyTorch tells the stories: {why_not}", file=sys.stderr)
    return Opened(model, f"{compute.device}: PyTorch")


def may_have_gpu() -> bool:
    """Whether it is worth asking torch, which takes a second and a half to import."""
    if importlib.util.find_spec("torch") is None:
        return False
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return apple or any(Path(file).exists() for file in GPU_DRIVERS)
