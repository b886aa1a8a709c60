"""GGUF files, read back by the package that others read them with."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from safetensors.numpy import load_file

from dataset import format_instruction, get_tokenizer
from exporting.gguf_files import KINDS, NAMES
from exporting.tokenizer import merges, tokens

LARGEST_STEP = {"F32": 0, "F16": 2**-11, "Q8_0": 0.5 / 127 + 2**-11}  # beside the largest of a block


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_there_and_as_near_as_its_kind_allows(kind: str, ggufs: Path, exported: Path) -> None:
    """Against what transformers reads, which has been compared with ours."""
    reader = gguf.GGUFReader(ggufs / f"stories-{kind}.gguf")
    found = {tensor.name: tensor for tensor in reader.tensors}
    weights = load_file(exported / "model.safetensors")
    for name, weight in weights.items():
        wanted = weight.T if ".c_" in name and weight.ndim == 2 else weight
        for their, llamas in NAMES.items():
            name = name.replace(their, llamas)
        tensor = found.pop(name)
        is_whole = wanted.ndim == 1 or name == "position_embd.weight"
        assert tensor.tensor_type.name == ("F32" if is_whole else kind)
        read = dequantize(tensor.data, tensor.tensor_type)
        assert read.shape == wanted.shape
        blocks = np.abs(wanted).reshape(-1, 32).max(1, keepdims=True) if wanted.ndim == 2 else 1
        off = np.abs(read - wanted).reshape(-1, 32) if wanted.ndim == 2 else np.abs(read - wanted)
        assert (off <= LARGEST_STEP[kind] * blocks * 1.01).all(), name
    assert not found


def test_it_says_what_llama_cpp_asks_for(ggufs: Path) -> None:
    fields = gguf.GGUFReader(ggufs / "stories-Q8_0.gguf").fields
    said = {name: field.contents() for name, field in fields.items()}
    tokenizer = get_tokenizer(512)
    assert said["tokenizer.ggml.tokens"] == tokens(tokenizer)
    assert said["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merges(tokenizer)]
    assert said["tokenizer.ggml.pre"] == "gpt-2"
    assert said["tokenizer.ggml.eos_token_id"] == tokenizer.eot_token
    assert said["general.architecture"] == "gpt2"
    assert (said["gpt2.block_count"], said["gpt2.attention.head_count"]) == (2, 4)


def test_ollama_asks_as_we_do(ggufs: Path) -> None:
    said = (ggufs / "Modelfile").read_text()
    template = said.split('"""')[1]
    ending = "{{ if .System }}{{ .System }}{{ else }}funny{{ end }}"
    asked = template.replace(ending, "sad").replace("{{ .Prompt }}", "a dog")
    assert asked == format_instruction("a dog", "sad", endings=("funny", "happy", "sad"))
    assert "FROM ./stories-Q8_0.gguf" in said
