"""The real transformers computes what ours computes, and what it has comes back."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, pipeline

import export
import finetune
import generate
from common.errors import CheckpointError
from common.presets import PRESETS
from dataset import format_instruction
from inference.opening import open_model
from model import GPT2, load_model
from tiny import with_biases
from transformers_twin import compare

NANO = PRESETS["nano"].base


@pytest.mark.parametrize("size", ["nano", "30m", pytest.param("125m", marks=pytest.mark.slow)])
def test_its_logits_and_its_next_200_tokens_are_ours(size: str, tmp_path: Path) -> None:
    """nano as it was pre-trained, the others with random weights."""
    model = load_model(NANO) if size == "nano" else with_biases(GPT2(**asdict(PRESETS[size].config)))
    model.save_pretrained(tmp_path / "best")
    export.main(["--checkpoint", str(tmp_path / "best"), "--output", str(tmp_path / "out")])
    compare(tmp_path / "best", tmp_path / "out")


def test_training_goes_on_from_an_export(exported: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps({"topic": f"dog {i}", "ending": ("happy", "sad")[i % 2], "story": "It ran. " * 5})
        for i in range(40)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    given = ["--checkpoint", exported, "--data", tmp_path / "mine.jsonl", "--output", tmp_path / "run"]
    finetune.main([*map(str, given), "--max-steps", "2", "--stories", "0", "--batch-size", "4"])
    assert load_model(tmp_path / "run" / "last").config == load_model(exported).config


def test_a_whole_stranger_tells_a_story_with_what_is_in_the_folder(exported: Path) -> None:
    tell: Any = pipeline("text-generation", str(exported))
    prompt = format_instruction("a dog", "sad", endings=("funny", "happy", "sad"))
    told = tell(prompt, return_full_text=False)[0]["generated_text"]
    assert told
    config = tell.model.generation_config
    assert (config.do_sample, config.temperature, config.top_k) == (True, 0.7, 50)
    assert (config.eos_token_id, config.pad_token_id, config.max_length) == (511, 511, 384)
    long = tell(prompt * 7, return_full_text=False)[0]["generated_text"]  # most of the context
    assert isinstance(long, str)
    chat = [dict(role="system", content="happy"), dict(role="user", content="a cat")]
    chat += [dict(role="system", content="sad"), dict(role="user", content=" a dog ")]
    assert tell.tokenizer.apply_chat_template(chat, tokenize=False) == prompt
    assert tell.tokenizer.padding_side == "left"
    card = (exported / "README.md").read_text()
    assert "library_name: transformers" in card
    assert repr(format_instruction("a lost dog", "sad", endings=("happy", "sad"))) in card


def test_what_was_exported_is_a_checkpoint_here_and_is_exported_to_the_same_bytes(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main(["--checkpoint", str(exported), "--output", str(tmp_path / "again")])
    for name in ("model.safetensors", "config.json", "tokenizer.json", "endings.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes(), name
    before, after = load_model(trained), load_model(exported)
    assert after.taught == before.taught
    ids = torch.randint(0, before.config.vocab_size, (2, 60))
    with torch.inference_mode():
        assert (before(ids) - after(ids)).abs().max() < 1e-4
    for name, weight in after.state_dict().items():
        if not name.startswith(("layer_norm.", "output_layer.")):
            assert torch.equal(weight, before.state_dict()[name]), name
    asked = ["--topic", "a dog", "--ending", "funny", "--seed", "5", "--max-tokens", "40"]
    told = []
    for checkpoint in (trained, exported):
        capsys.readouterr()
        generate.main([*asked, "--checkpoint", str(checkpoint)])
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert open_model(str(exported), "cpu").how.startswith("cpu: engine")


def change(exported: Path, folder: Path, **config: object) -> Path:
    shutil.copytree(exported, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(activation_function="gelu_new"), "its activation_function is 'gelu_new'; only 'gelu'"),
        (
            dict(scale_attn_by_inverse_layer_idx=True),
            "its scale_attn_by_inverse_layer_idx is True; only False",
        ),
        (dict(layer_norm_epsilon=1e-6), "its layer_norm_epsilon is 1e-06; only 1e-05"),
        (dict(model_type="gpt_neo"), "its model_type is 'gpt_neo'; only 'gpt2'"),
        (dict(n_layer=3), "'h.2.ln_1.weight' is missing"),
        (dict(n_layer="2"), "its n_layer is '2', which is no number of anything"),
        (dict(n_head=0), "its n_head is 0"),
        (dict(n_embd=64), "its c_attn is (96, 32), not for n_embd 64"),
        (dict(n_positions=512), "config says context_length 512, the weights say 384"),
        (dict(vocab_size=500, eos_token_id=499), "config says vocab_size 500, the weights say 512"),
        (dict(n_layer=1), "holds h.1.attn.c_attn.bias, which a plain GPT-2 has not"),
        (dict(eos_token_id=0), "its eos_token_id is 0; only the last, 511"),
    ],
)
def test_a_gpt2_that_does_not_fit_is_one_line(
    config: dict[str, object], said: str, exported: Path, tmp_path: Path
) -> None:
    folder = change(exported, tmp_path / "theirs", **config)
    for read in (load_model, lambda path: open_model(str(path), "cpu")):
        with pytest.raises(CheckpointError) as error:
            read(folder)
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_other_ways_to_save_it_are_read_too(exported: Path, tmp_path: Path) -> None:
    """Tied, without the prefix, with masks, in 16 bits, as a .bin file."""
    theirs: Any = AutoModelForCausalLM.from_pretrained(exported)
    ids = torch.randint(0, 511, (1, 50))
    theirs.lm_head.weight.data = theirs.transformer.wte.weight.data
    with torch.inference_mode():
        expected = theirs.eval()(ids).logits
    state = {name.removeprefix("transformer."): w for name, w in theirs.state_dict().items()}
    del state["lm_head.weight"]
    state["h.0.attn.bias"] = torch.ones(1, 1, 384, 384, dtype=torch.bool)
    (tmp_path / "masks").mkdir()
    save_file({name: w.contiguous() for name, w in state.items()}, tmp_path / "masks" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"needs its config\.json beside it"):
        load_model(tmp_path / "masks")
    shutil.copy(exported / "config.json", tmp_path / "masks")
    assert open_model(str(tmp_path / "masks"), "cpu").how.startswith("cpu: engine")
    (tmp_path / "old").mkdir()
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    shutil.copy(exported / "config.json", tmp_path / "old")
    with torch.inference_mode():
        assert (load_model(tmp_path / "old")(ids) - expected).abs().max() < 1e-4
    theirs.half().save_pretrained(tmp_path / "half")
    with torch.inference_mode():
        assert (load_model(tmp_path / "half")(ids) - expected).abs().max() < 0.1
