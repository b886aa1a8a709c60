"""GPT-2's weights as transformers names them, to our names and back: for arrays of numpy and of torch alike.

Theirs have q, k and v of all heads in one matrix, (C, 3 C), weights of linear layers as (in, out), and no
bias behind the output layer, which may be the token embedding itself. Source: `GPT2LMHeadModel` of
transformers 5.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from common.errors import CheckpointError
from common.presets import ModelConfig

TOP = {
    "embeddings.token_embedding": "wte",
    "embeddings.pos_embedding": "wpe",
    "layer_norm": "ln_f",
}
OF_A_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mha.out_proj": "attn.c_proj",
    "feed_forward.layers.0": "mlp.c_fc",
    "feed_forward.layers.2": "mlp.c_proj",
}
BUFFERS = r"\.attn\.(masked_)?bias$"  # causal masks, in old files
FITS = {  # what a config.json must say, or leave to its default: the second value
    "model_type": ("gpt2", "gpt2"),
    "activation_function": ("gelu", "gelu_new"),
    "layer_norm_epsilon": (1e-5, 1e-5),
    "scale_attn_weights": (True, True),
    "scale_attn_by_inverse_layer_idx": (False, False),
    "add_cross_attention": (False, False),
}


SHAPE = {
    **{"vocab_size": "vocab_size", "context_length": "n_positions", "embedding_dim": "n_embd"},
    **{"num_layers": "n_layer", "num_heads": "n_head"},
}


def is_theirs(state: Mapping[str, Any]) -> bool:
    return any(str(name).endswith("attn.c_attn.weight") for name in state)


def to_ours(
    state: Mapping[str, Any], declared: Mapping[str, Any], source: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Their weights and what their config.json says -> ours; the weights are views of theirs.

    Raises CheckpointError, naming `source`, if ours cannot be such a model.
    """
    if not declared:
        raise CheckpointError(f"{source}: a GPT-2 of transformers needs its config.json beside it")
    for name, (needed, default) in FITS.items():
        if (said := declared.get(name, default)) != needed:
            raise CheckpointError(f"{source}: its {name} is {said!r}; only {needed!r} can be read")
    kept = {name: weight for name, weight in state.items() if not re.search(BUFFERS, name)}
    theirs = {name.removeprefix("transformer."): weight for name, weight in kept.items()}
    said = {our: declared.get(their) for our, their in SHAPE.items()}
    for our, value in said.items():
        if not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{source}: its {SHAPE[our]} is {value!r}, which is no number of anything")
    V, C, num_layers, num_heads = (
        said[name] for name in ("vocab_size", "embedding_dim", "num_layers", "num_heads")
    )
    try:
        output = theirs.pop("lm_head.weight", theirs["wte.weight"])
        ours = {"output_layer.weight": output, "output_layer.bias": _zeros(output)}
        for our, their in _names(num_layers):
            weight = theirs.pop(their)
            ours[our] = weight.T if _is_turned(their) else weight
        for layer in range(num_layers):
            for kind in ("weight", "bias"):
                qkv = theirs.pop(f"h.{layer}.attn.c_attn.{kind}")
                qkv = qkv.T if kind == "weight" else qkv
                if qkv.shape[0] != 3 * C or C % num_heads:
                    raise CheckpointError(f"{source}: its c_attn is {tuple(qkv.shape)}, not for n_embd {C}")
                ours |= {name: qkv[rows] for name, rows in _heads(layer, kind, num_heads, C)}
    except KeyError as error:
        raise CheckpointError(f"{source}: no whole GPT-2 with a config.json: {error} is missing") from error
    if theirs:
        raise CheckpointError(f"{source}: holds {min(theirs)}, which a plain GPT-2 has not")
    if (end := declared.get("eos_token_id", V - 1)) not in (V - 1, [V - 1], None):
        raise CheckpointError(f"{source}: its eos_token_id is {end}; only the last, {V - 1}, can be read")
    return ours, said | {"dropout_rate": declared.get("resid_pdrop") or 0.0}


def _zeros(weight: Any) -> Any:
    """One for each row, of the same kind."""
    if isinstance(weight, np.ndarray):
        return np.zeros(len(weight), weight.dtype)
    return weight.new_zeros(len(weight))


def to_theirs(state: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """Our weights -> theirs. The bias of the output layer, for which they have no place, is left out: see
    exporting/fold.py."""
    C = config.embedding_dim
    named = {their: state[our] for our, their in _names(config.num_layers)}
    theirs = {their: weight.T if _is_turned(their) else weight for their, weight in named.items()}
    for layer in range(config.num_layers):
        for kind in ("weight", "bias"):
            names = [name for name, _ in _heads(layer, kind, config.num_heads, C)]
            theirs[f"h.{layer}.attn.c_attn.{kind}"] = np.concatenate([state[name] for name in names]).T
    theirs = {f"transformer.{name}": weight for name, weight in sorted(theirs.items())}
    theirs["lm_head.weight"] = state["output_layer.weight"]
    return {name: np.ascontiguousarray(weight) for name, weight in theirs.items()}


def _names(num_layers: int) -> Iterator[tuple[str, str]]:
    """Ours and theirs, of all but q, k, v and the output layer."""
    for our, their in TOP.items():
        for kind in ("weight", "bias") if their == "ln_f" else ("weight",):
            yield f"{our}.{kind}", f"{their}.{kind}"
    for layer in range(num_layers):
        for our, their in OF_A_BLOCK.items():
            for kind in ("weight", "bias"):
                yield f"blocks.{layer}.{our}.{kind}", f"h.{layer}.{their}.{kind}"


def _is_turned(their: str) -> bool:
    return their.endswith(".weight") and ".c_" in their


def _heads(layer: int, kind: str, num_heads: int, C: int) -> Iterator[tuple[str, slice]]:
    """Our names of q, k and v of each head, and their rows in the one matrix (3 C, ...)."""
    D = C // num_heads
    for part, name in enumerate("qkv"):
        for head in range(num_heads):
            start = part * C + head * D
            yield f"blocks.{layer}.mha.heads.{head}.{name}.{kind}", slice(start, start + D)
