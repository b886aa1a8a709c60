"""GGUF files, which llama.cpp, Ollama, LM Studio and wllama open, and Ollama's Modelfile.

Their GPT-2 has the GELU that is computed by tanh, and keeps keys and values in float16: logits differ from
ours by some hundredths. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and llama.cpp.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import write_text
from common.presets import ModelConfig
from dataset import PROMPT, get_tokenizer
from exporting.tokenizer import END, merges, tokens
from exporting.transformers_folder import SAMPLING

KINDS = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}  # of numbers, and of files of them
BLOCK = 32  # numbers of Q8_0 that share a scale
NAMES = {  # transformers' -> llama.cpp's
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "lm_head": "output",
    "transformer.h.": "blk.",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
}


def write(
    folder: Path, name: str, weights: dict[str, np.ndarray], config: ModelConfig, endings: Sequence[str]
) -> None:
    """A file for each of KINDS, `{name}-{kind}.gguf`, and a Modelfile."""
    for kind in KINDS:
        write_file(folder / f"{name}-{kind}.gguf", kind, weights, config)
    write_text(folder / "Modelfile", modelfile(name, config, endings))


def write_file(file: Path, kind: str, weights: dict[str, np.ndarray], config: ModelConfig) -> None:
    """`weights` are float32, by the names of transformers. Raises InputError without the package gguf, or if
    a row cannot be cut into blocks."""
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise InputError("--format gguf: needs the package gguf; pip install gguf, or use uv") from error
    if config.embedding_dim % BLOCK:
        raise InputError(f"--format gguf: embedding_dim {config.embedding_dim} is no multiple of {BLOCK}")
    tokenizer = get_tokenizer(config.vocab_size)
    end = tokenizer.eot_token
    writer = gguf.GGUFWriter(file, "gpt2")
    writer.add_name(file.stem)
    writer.add_file_type(gguf.LlamaFileType[KINDS[kind]])
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.embedding_dim)
    writer.add_feed_forward_length(4 * config.embedding_dim)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens(tokenizer))
    writer.add_token_types([gguf.TokenType.NORMAL] * end + [gguf.TokenType.CONTROL])
    writer.add_token_merges([" ".join(pair) for pair in merges(tokenizer)])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    for name, weight in weights.items():
        tensor = np.ascontiguousarray(weight.T) if ".c_" in name and weight.ndim == 2 else weight
        is_whole = weight.ndim == 1 or name == "transformer.wpe.weight"  # as llama.cpp wants them
        stored = gguf.GGMLQuantizationType["F32" if is_whole else kind]
        writer.add_tensor(_renamed(name), gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _renamed(name: str) -> str:
    for their, llamas in NAMES.items():
        name = name.replace(their, llamas)
    return name


def modelfile(name: str, config: ModelConfig, endings: Sequence[str]) -> str:
    """For `ollama create`: what is typed is the topic, the system message the ending."""
    template = "{{ .Prompt }}"
    if endings:
        ending = f"{{{{ if .System }}}}{{{{ .System }}}}{{{{ else }}}}{endings[0]}{{{{ end }}}}"
        template = PROMPT.replace("{ending}", ending).replace("{summary}", template)
    return f"""FROM ./{name}-Q8_0.gguf
TEMPLATE \"\"\"{template}\"\"\"
PARAMETER temperature {SAMPLING.temperature}
PARAMETER top_k {SAMPLING.top_k}
PARAMETER top_p 1
PARAMETER repeat_penalty 1
PARAMETER num_ctx {config.context_length}
PARAMETER num_predict {SAMPLING.max_new_tokens}
PARAMETER stop {END}
"""
