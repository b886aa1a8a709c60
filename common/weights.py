"""The layout of checkpoint files, the published models' own: names and shapes of weights, there and back.

The published modules keep a small q, k and v projection for every head; in memory they are one matrix, `qkv`.
int8 weights are laid out alike: each has a `scale` beside it (int8.py), and its dtype says what it is.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common import int8

if TYPE_CHECKING:
    from model import GPT2

ModelState = dict[str, Tensor]


class CheckpointError(OSError):
    """A checkpoint that is missing, damaged, or made for another model. The message is for the user."""


@dataclass(frozen=True)
class ModelConfig:
    """The six names of a published config.json."""

    dropout_rate: float
    vocab_size: int
    context_length: int
    embedding_dim: int
    num_layers: int
    num_heads: int


def to_published(model: "GPT2") -> ModelState:
    """The weights in the published layout: contiguous copies, a q, k and v projection for every head.

    The published modules also keep their causal mask as a buffer. It is no weight, they make it themselves
    when they are built, and its convention is theirs: it is left out.
    """
    return {name: weight.clone() for name, weight in _published_views(model).items()}


def _published_views(model: "GPT2") -> ModelState:
    state: ModelState = {}
    for key, weight in model.state_dict().items():
        names = _names(key, model.config.num_heads)
        state |= zip(names, weight.chunk(len(names)), strict=True)
    return state


def load_published(model: "GPT2", state: Any, source: str) -> None:
    """Put weights in the published layout into `model`, strictly, as copies in float32 or int8.

    If they are int8, the model's layers become so. `module.` and `_orig_mod.` prefixes
    (DistributedDataParallel, torch.compile) and mask buffers are dropped. Raises CheckpointError, naming
    `source` and the weights, if one is missing, unknown, of another shape or kind, or not finite.
    """
    state = clean(state, source)
    if any(weight.dtype == torch.int8 for weight in state.values()):
        int8.quantize(model)
    wanted = _published_views(model)
    both = [key for key in wanted if key in state]
    problems = {
        "missing weights": [key for key in wanted if key not in state],
        "unknown weights": [key for key in state if key not in wanted],
        "other shapes": [
            f"{key} {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in both
            if state[key].shape != wanted[key].shape
        ],
        "other kinds of numbers": [
            f"{key} {state[key].dtype}, not {wanted[key].dtype}"
            for key in both
            if state[key].is_floating_point() != wanted[key].is_floating_point()
            or (state[key].dtype != torch.int8 and not state[key].is_floating_point())
        ],
        "not a number, or infinite": [key for key in both if not state[key].isfinite().all()],
    }
    for problem, keys in problems.items():
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise CheckpointError(f"{source}: not this model; {problem}: {', '.join(keys[:3])}{more}")
    H = model.config.num_heads
    model.load_state_dict(
        {
            key: torch.cat([state[name] for name in _names(key, H)]).to(weight.dtype)
            for key, weight in model.state_dict().items()
        },
        assign=True,  # `model` may have been without memory
    )


def _names(key: str, num_heads: int) -> list[str]:
    """The published weights that one of ours is made of, in the order of its rows."""
    if ".mha.qkv." not in key:
        return [key]
    block, kind = key.split(".mha.qkv.")
    return [f"{block}.mha.heads.{h}.{name}.{kind}" for name in "qkv" for h in range(num_heads)]


def clean(state: Any, source: str) -> ModelState:
    """The weights alone, by their plain names. Raises CheckpointError if `state` is something else."""
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise CheckpointError(f"{source}: holds no weights (a dict of tensors by name)")
    named = {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in state.items()}
    return {key: value for key, value in named.items() if not re.search(r"\.heads\.\d+\.mask$", key)}


def config_of(state: ModelState, declared: dict[str, Any], source: str) -> ModelConfig:
    """The config that the weights' shapes tell; what `declared` says besides must agree with them."""
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
    return ModelConfig(dropout_rate=float(declared.get("dropout_rate", 0.1)), **shapes)
