"""What weights are called, what their shapes say of the model, and a file of them as arrays: without torch.

Names and shapes are the published ones: see `Attention` in model.py.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import transformers_layout
from common.errors import CheckpointError, one_line
from common.presets import ModelConfig

MASK = r"\.heads\.\d+\.mask$"
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1"}


def map_weights(file: Path) -> tuple[dict[str, np.ndarray], ModelConfig]:
    """The weights in a .safetensors file, float32 or int8, and the model's config.

    Those of these kinds lie in the file, which is mapped into memory; others are copies. Raises
    CheckpointError. Source of the format: https://huggingface.co/docs/safetensors.
    """
    from safetensors import safe_open

    try:
        with safe_open(file, "numpy"):  # checks the header: what lies where, and that it is all there
            pass
        content = np.memmap(file, np.uint8, mode="r")
        size = int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8 : 8 + size].tobytes())
        header.pop("__metadata__", None)
        masks = f"{MASK}|{transformers_layout.BUFFERS}"
        kept = {name: entry for name, entry in header.items() if not re.search(masks, name)}
        weights = {name: _array(content[8 + size :], entry) for name, entry in kept.items()}
        weights, config = in_our_layout(weights, declared_beside(file), file)
        return {name: np.ascontiguousarray(array) for name, array in weights.items()}, config
    except CheckpointError:
        raise
    except Exception as error:  # damage makes safetensors and json raise nearly anything
        raise CheckpointError(f"{file}: damaged, or not a checkpoint ({one_line(error)})") from error


def in_our_layout(state: Any, declared: dict[str, Any], file: Path) -> tuple[dict[str, Any], ModelConfig]:
    """The weights by our plain names, and the model's config, of what a file holds in our layout or in
    transformers'. Raises CheckpointError."""
    weights = clean(state, str(file))
    if transformers_layout.is_theirs(weights):
        weights, declared = transformers_layout.to_ours(weights, declared, str(file))
    return weights, config_of(weights, declared, str(file))


def declared_beside(file: Path) -> Any:
    """What the config.json beside a file of weights holds; without one, nothing."""
    beside = file.with_name("config.json")
    return json.loads(beside.read_text("utf-8")) if beside.exists() else {}


def _array(content: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in KINDS or sys.byteorder != "little":
        raise CheckpointError(f"holds {entry['dtype']} numbers")
    start, end = entry["data_offsets"]
    array = content[start:end].view(KINDS[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array if entry["dtype"] in ("F32", "I8") else array.astype(np.float32)


def clean(state: Any, source: str) -> dict[str, Any]:
    """The weights by their plain names: without the prefixes `module.` (DistributedDataParallel) and
    `_orig_mod.` (torch.compile), and without the causal masks that the published modules keep as buffers.

    Raises CheckpointError, naming `source`, if `state` is something else.
    """
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and hasattr(value, "shape") for key, value in state.items()
    ):
        raise CheckpointError(f"{source}: holds no weights (a dict of tensors by name)")
    named = {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in state.items()}
    return {key: value for key, value in named.items() if not re.search(MASK, key)}


def config_of(state: Mapping[str, Any], declared: dict[str, Any], source: str) -> ModelConfig:
    """The config that the weights' names and shapes tell, with the dropout rate that is `declared`. What else
    is declared must agree with the weights."""
    try:
        vocab_size, embedding_dim = state["embeddings.token_embedding.weight"].shape
        context_length = state["embeddings.pos_embedding.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{source}: holds no embeddings of this project's GPT-2") from error
    blocks = {int(m[1]) for key in state if (m := re.match(r"blocks\.(\d+)\.", key))}
    heads = {int(m[1]) for key in state if (m := re.match(r"blocks\.0\.mha\.heads\.(\d+)\.", key))}
    if not blocks or not heads:
        raise CheckpointError(f"{source}: holds no attention heads of this project's GPT-2")
    shapes = dict(
        vocab_size=vocab_size,
        context_length=context_length,
        embedding_dim=embedding_dim,
        num_layers=len(blocks),
        num_heads=len(heads),
    )
    for name, value in shapes.items():
        if declared.get(name, value) != value:
            raise CheckpointError(f"{source}: config says {name} {declared[name]!r}, the weights say {value}")
    dropout_rate = float(declared.get("dropout_rate", 0.1))
    if not 0 <= dropout_rate <= 1:
        raise CheckpointError(f"{source}: config says dropout_rate {dropout_rate}, which is no share")
    return ModelConfig(dropout_rate=dropout_rate, **shapes)
