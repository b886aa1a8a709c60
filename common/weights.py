"""What a checkpoint file holds, in any form that is published, and putting it into a model.

A file is a .safetensors file with a config.json beside it, or a .pt file: a state dict, or a dict that holds
one as `model_state_dict` and perhaps a `config`. Names and shapes of weights are the published ones: see
`Attention` in model.py. int8 weights have a `scale` beside them (int8.py); their dtype says what they are.
"""

import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from common import int8
from common.errors import CheckpointError, one_line
from common.files import refuse_lfs_pointer
from common.layout import declared_beside, in_our_layout
from common.presets import ModelConfig
from common.transformers_layout import is_theirs

StateDict = dict[str, Tensor]
KINDS = (  # of numbers that become float32, or stay int8
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.int8),
)


def read_weights(file: Path) -> tuple[StateDict, ModelConfig]:
    """The weights in a file, and the model's config. Raises CheckpointError."""
    declared: Any = {}
    refuse_lfs_pointer(file)
    try:
        if file.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load_file(file)
        else:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
            if isinstance(loaded, dict) and "model_state_dict" in loaded:
                if isinstance(loaded.get("config"), dict):
                    declared = loaded["config"]
                loaded = loaded["model_state_dict"]
        theirs_alone = isinstance(loaded, dict) and is_theirs(loaded) and not declared
        if file.suffix == ".safetensors" or theirs_alone:
            declared = declared_beside(file)
        return in_our_layout(loaded, declared, file)
    except CheckpointError:
        raise
    except Exception as error:  # damage makes torch, safetensors and json raise nearly anything
        if name := re.search(r"GLOBAL (\S+)", str(error)):  # what torch.load would have to call
            raise CheckpointError(
                f"{file}: holds {name[1]} beside its weights, which is not read, as that can run any code; "
                "save the weights alone: torch.save(model.state_dict(), ...)"
            ) from error
        raise CheckpointError(f"{file}: damaged, or not a checkpoint ({one_line(error)})") from error


def load_weights(model: nn.Module, state: StateDict, source: str) -> None:
    """Put weights by their plain names (see `clean`) into `model`, strictly, as copies in float32 or int8.
    If they are int8, the model's layers become so.

    Raises CheckpointError, naming `source` and the weights, if one is missing, unknown, of another shape or
    kind, or not finite.
    """
    if any(weight.dtype == torch.int8 for weight in state.values()):
        int8.quantize(model)
    wanted = model.state_dict()
    both = [key for key in wanted if key in state]
    plain = {key for key in both if state[key].dtype in KINDS and state[key].layout == torch.strided}
    problems = {
        "missing weights": [key for key in wanted if key not in state],
        "unknown weights": [key for key in state if key not in wanted],
        "other shapes": [
            f"{key} {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in both
            if state[key].shape != wanted[key].shape
        ],
        "other kinds of numbers": [
            f"{key} {state[key].dtype}, {state[key].layout}, not {wanted[key].dtype}"
            for key in both
            if key not in plain or state[key].is_floating_point() != wanted[key].is_floating_point()
        ],
        "not a number, or infinite": [
            key
            for key in both
            if key in plain and state[key].is_floating_point() and not state[key].float().isfinite().all()
        ],
    }
    for problem, keys in problems.items():
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise CheckpointError(f"{source}: not this model; {problem}: {', '.join(keys[:3])}{more}")
    # A `model` on the meta device has no memory to copy into: it takes the tensors as its own.
    in_order = torch.contiguous_format  # transformers' layout is turned
    copies = {
        key: state[key].to(weight.dtype, copy=True, memory_format=in_order) for key, weight in wanted.items()
    }
    model.load_state_dict(copies, assign=True)
