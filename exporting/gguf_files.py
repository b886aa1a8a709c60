"""GGUF files, which llama.cpp, Ollama, LM Studio and wllama open, and Ollama's Modelfile.

Their GPT-2 has the GELU that is computed by tanh, and keeps keys and values in float16: logits differ from
ours by some hundredths. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and llama.cpp.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import write_text
from common.presets import ModelConfig
from dataset import get_tokenizer
from exporting.prompt_templates import jinja, ollama
from exporting.tokenizer import merges, tokens
from inference.sampling import AS_TOLD

KINDS = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}  # of numbers, and of files of them
BLOCK = 32  # numbers of Q8_0 that share a scale


def write(
    folder: Path, name: str, weights: dict[str, np.ndarray], config: ModelConfig, endings: Sequence[str]
) -> None:
    """A file for each of KINDS, `{name}-{kind}.gguf`, and what Ollama reads: a Modelfile beside them, or
    `template` and `params` in a repo of the Hub."""
    for kind in KINDS:
        write_file(folder / f"{name}-{kind}.gguf", kind, weights, config, name, endings)
    parameters = dict(
        temperature=AS_TOLD.temperature,
        top_k=AS_TOLD.top_k,
        **dict(top_p=1, min_p=0, repeat_penalty=1),
        num_ctx=config.context_length,
        num_predict=AS_TOLD.max_new_tokens,
    )
    write_text(folder / "template", ollama(endings))
    write_text(folder / "params", json.dumps(parameters, indent=2) + "\n")
    told = "".join(f"PARAMETER {key} {value}\n" for key, value in parameters.items())
    write_text(folder / "Modelfile", f'FROM ./{name}-Q8_0.gguf\nTEMPLATE """{ollama(endings)}"""\n{told}')


def write_file(
    file: Path,
    kind: str,
    weights: dict[str, np.ndarray],
    config: ModelConfig,
    name: str,
    endings: Sequence[str],
) -> None:
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
    writer.add_name(name)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
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
    writer.add_chat_template(jinja(endings))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, config.num_layers)
    for their, weight in weights.items():
        tensor = np.ascontiguousarray(weight.T) if ".c_" in their and weight.ndim == 2 else weight
        is_whole = weight.ndim == 1 or their == "transformer.wpe.weight"  # as llama.cpp wants them
        stored = gguf.GGMLQuantizationType["F32" if is_whole else kind]
        llamas = names.get_name(their, try_suffixes=(".weight", ".bias"))
        assert llamas
        writer.add_tensor(llamas, gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
