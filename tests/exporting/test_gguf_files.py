"""GGUF files, read back by the package that others read them with."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from safetensors.numpy import load_file

from dataset import format_instruction, get_tokenizer
from exporting.gguf_files import KINDS
from exporting.tokenizer import merges, tokens

FROM = 2**-11 + 0.5 / 127  # an eight bit number, and a scale of 16 bits
LARGEST_STEP = {"F32": 0, "F16": 2**-11, "Q8_0": FROM}  # beside the largest of a block
OF_A_BLOCK = {  # llama.cpp's names, and transformers'
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
NAMES = {
    "token_embd.weight": "transformer.wte.weight",
    "position_embd.weight": "transformer.wpe.weight",
    "output_norm.weight": "transformer.ln_f.weight",
    "output_norm.bias": "transformer.ln_f.bias",
    "output.weight": "lm_head.weight",
} | {
    f"blk.{layer}.{llamas}.{kind}": f"transformer.h.{layer}.{their}.{kind}"
    for layer in (0, 1)
    for llamas, their in OF_A_BLOCK.items()
    for kind in ("weight", "bias")
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_there_and_as_near_as_its_kind_allows(kind: str, ggufs: Path, exported: Path) -> None:
    """Against what transformers reads, which has been compared with ours."""
    reader = gguf.GGUFReader(ggufs / f"stories-{kind}.gguf")
    weights = load_file(exported / "model.safetensors")
    assert {tensor.name for tensor in reader.tensors} == NAMES.keys()
    for tensor in reader.tensors:
        weight = weights.pop(NAMES[tensor.name])
        wanted = weight.T if ".c_" in NAMES[tensor.name] and weight.ndim == 2 else weight
        is_whole = wanted.ndim == 1 or tensor.name == "position_embd.weight"
        assert tensor.tensor_type.name == ("F32" if is_whole else kind)
        read = dequantize(tensor.data, tensor.tensor_type)
        assert read.shape == wanted.shape
        largest = np.abs(wanted).reshape(-1, 32).max(1, keepdims=True)
        off = np.abs(read - wanted).reshape(-1, 32)
        assert (off <= LARGEST_STEP[kind] * largest * 1.01).all(), tensor.name
    assert not weights


@pytest.mark.parametrize(("kind", "number"), [("F32", 0), ("F16", 1), ("Q8_0", 7)])
def test_it_says_what_llama_cpp_asks_for(kind: str, number: int, ggufs: Path) -> None:
    fields = gguf.GGUFReader(ggufs / f"stories-{kind}.gguf").fields
    said = {name: field.contents() for name, field in fields.items()}
    tokenizer = get_tokenizer(512)
    assert said["tokenizer.ggml.tokens"] == tokens(tokenizer)
    assert said["tokenizer.ggml.token_type"] == [1] * 511 + [3]  # ordinary ones, and one that controls
    assert said["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merges(tokenizer)]
    assert {name: said[name] for name in said if name.startswith(("general.", "gpt2."))} == {
        "general.architecture": "gpt2",
        "general.name": "stories",
        "general.file_type": number,
        "general.quantization_version": 2,
        "gpt2.context_length": 384,
        "gpt2.embedding_length": 32,
        "gpt2.feed_forward_length": 128,
        "gpt2.block_count": 2,
        "gpt2.attention.head_count": 4,
        "gpt2.attention.layer_norm_epsilon": np.float32(1e-5),
    }
    assert (said["tokenizer.ggml.model"], said["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert (said["tokenizer.ggml.eos_token_id"], said["tokenizer.ggml.add_bos_token"]) == (511, False)
    assert "asked.topic" in said["tokenizer.chat_template"]


def test_ollama_asks_as_we_do(ggufs: Path) -> None:
    """Its template, by hand: behind what goes through the messages."""
    template = (ggufs / "template").read_text()
    loop, asked = template[: template.index("Write")], template[template.index("Write") :]
    assert '{{ $ending := "funny" }}' in loop
    asked = asked.replace("{{ $ending }}", "sad").replace("{{ $topic }}", "a dog")
    assert asked == format_instruction("a dog", "sad", endings=("funny", "happy", "sad"))
    modelfile = (ggufs / "Modelfile").read_text()
    assert modelfile.startswith(f'FROM ./stories-Q8_0.gguf\nTEMPLATE """{template}"""\n')
    params = json.loads((ggufs / "params").read_text())
    assert params == dict(temperature=0.7, top_k=50, top_p=1, min_p=0, repeat_penalty=1) | dict(
        num_ctx=384, num_predict=200
    )
    assert all(f"PARAMETER {name} {value}\n" in modelfile for name, value in params.items())
