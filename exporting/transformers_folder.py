"""A folder that transformers opens without code of ours, and so do the programs that read what it writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from common.files import write_text
from common.presets import ModelConfig
from dataset import get_tokenizer
from exporting.prompt_templates import jinja
from exporting.tokenizer import END, tokenizer_json
from inference.sampling import AS_TOLD


def describe(config: ModelConfig) -> dict[str, Any]:
    """What config.json says."""
    end = config.vocab_size - 1
    return dict(
        architectures=["GPT2LMHeadModel"],
        model_type="gpt2",
        vocab_size=config.vocab_size,
        **dict.fromkeys(("n_positions", "n_ctx"), config.context_length),
        n_embd=config.embedding_dim,
        n_layer=config.num_layers,
        n_head=config.num_heads,
        activation_function="gelu",  # the exact one, by erf
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=False,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout_rate),
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        dtype="float32",
    )


def write(folder: Path, weights: dict[str, np.ndarray], config: ModelConfig, endings: Sequence[str]) -> None:
    """`weights` are float32, by transformers' names, the output layer's bias folded away."""
    end = config.vocab_size - 1
    sampling = dict(
        do_sample=True,
        temperature=AS_TOLD.temperature,
        top_k=AS_TOLD.top_k,
        max_length=config.context_length,  # more, and transformers fails
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
    )
    # What somebody types is never the end of text: split_special_tokens.
    tokenizer = dict(
        tokenizer_class="GPT2Tokenizer",
        **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), END),
        add_prefix_space=False,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        model_max_length=config.context_length,
        padding_side="left",
        chat_template=jinja(endings),
    )
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    _write(folder / "config.json", describe(config))
    _write(folder / "generation_config.json", sampling)
    _write(folder / "tokenizer_config.json", tokenizer)
    _write(folder / "tokenizer.json", tokenizer_json(get_tokenizer(config.vocab_size)))


def _write(file: Path, content: dict[str, Any]) -> None:
    write_text(file, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
