"""The same model in other programs: our weights as transformers' GPT-2 and as CTranslate2's decoder."""

from pathlib import Path
from typing import Any

import torch
import transformers

from model import GPT2


def to_transformers(model: GPT2) -> transformers.GPT2LMHeadModel:
    """In eval mode; its output layer has our bias, which theirs has not."""
    c = model.config
    config = transformers.GPT2Config(
        vocab_size=c.vocab_size,
        n_positions=c.context_length,
        n_embd=c.embedding_dim,
        n_layer=c.num_layers,
        n_head=c.num_heads,
        activation_function="gelu",
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.lm_head = torch.nn.Linear(c.embedding_dim, c.vocab_size)
    names = {
        "embeddings.token_embedding": "transformer.wte",
        "embeddings.pos_embedding": "transformer.wpe",
        "blocks.": "transformer.h.",
        "mha.qkv": "attn.c_attn",
        "mha.out_proj": "attn.c_proj",
        "feed_forward.layers.0": "mlp.c_fc",
        "feed_forward.layers.2": "mlp.c_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "layer_norm": "transformer.ln_f",
        "output_layer": "lm_head",
    }
    renamed = {}
    for name, weight in model.named_parameters():
        for ours, their in names.items():
            name = name.replace(ours, their)
        transposed = ".c_" in name and name.endswith("weight")  # their Conv1D keeps (in, out)
        renamed[name] = weight.detach().T if transposed else weight.detach()
    theirs.load_state_dict(renamed)
    return theirs


def to_ctranslate2(model: GPT2, folder: Path) -> None:
    """Written to `folder`, in float32. Its tokens are called by their ids: "0", "1" ..."""
    from ctranslate2.specs import common_spec, transformer_spec

    c = model.config
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        c.num_layers, c.num_heads, pre_norm=True, activation=common_spec.Activation.GELU
    )

    def norm(theirs: Any, ours: Any) -> None:
        theirs.gamma, theirs.beta = ours.weight.detach().numpy(), ours.bias.detach().numpy()

    def linear(theirs: Any, ours: Any) -> None:
        theirs.weight, theirs.bias = ours.weight.detach().numpy(), ours.bias.detach().numpy()

    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = model.embeddings.token_embedding.weight.detach().numpy()
    decoder.position_encodings.encodings = model.embeddings.pos_embedding.weight.detach().numpy()
    blocks: Any = model.blocks
    for layer, block in zip(decoder.layer, blocks, strict=True):
        norm(layer.self_attention.layer_norm, block.layer_norm1)
        linear(layer.self_attention.linear[0], block.mha.qkv)
        linear(layer.self_attention.linear[1], block.mha.out_proj)
        norm(layer.ffn.layer_norm, block.layer_norm2)
        linear(layer.ffn.linear_0, block.feed_forward.layers[0])
        linear(layer.ffn.linear_1, block.feed_forward.layers[2])
    norm(decoder.layer_norm, model.layer_norm)
    linear(decoder.projection, model.output_layer)
    spec.register_vocabulary([str(token) for token in range(c.vocab_size)])
    spec.config.bos_token = spec.config.unk_token = "0"
    spec.config.eos_token = str(c.vocab_size - 1)
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
