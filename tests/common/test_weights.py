"""Checkpoint files in every form that is published, and those that are none."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import CheckpointError
from generate import main as generate_main
from model import GPT2, load_model
from published_gpt2 import PublishedGPT2
from tiny import IDS, TINY, tiny_model


@pytest.fixture(scope="module")
def oracle() -> PublishedGPT2:
    torch.manual_seed(1)
    oracle = PublishedGPT2(**TINY).eval()
    with torch.no_grad():
        for parameter in oracle.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return oracle


def bare_pt(oracle: PublishedGPT2, folder: Path) -> Path:
    torch.save(oracle.state_dict(), folder / "bare.pt")
    return folder / "bare.pt"


def wrapped_pt(oracle: PublishedGPT2, folder: Path) -> Path:
    optimizer = torch.optim.AdamW(oracle.parameters())
    wrapped = {
        "epoch": 5,
        "config": {**TINY, "learning_rate": 5e-5},
        "model_state_dict": oracle.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }
    torch.save(wrapped, folder / "wrapped.pt")
    return folder / "wrapped.pt"


def prefixed_pt(oracle: PublishedGPT2, folder: Path) -> Path:
    torch.save(
        {f"_orig_mod.module.{key}": value for key, value in oracle.state_dict().items()}, folder / "p.pt"
    )
    return folder / "p.pt"


def safetensors_file(oracle: PublishedGPT2, folder: Path) -> Path:
    save_file(oracle.state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def published_folder(oracle: PublishedGPT2, folder: Path) -> Path:
    save_file(oracle.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TINY))
    return folder


def folder_with_pt(oracle: PublishedGPT2, folder: Path) -> Path:
    bare_pt(oracle, folder)
    return folder


FORMS = [bare_pt, wrapped_pt, prefixed_pt, safetensors_file, published_folder, folder_with_pt]


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_gives_the_oracles_logits(
    form: Callable, oracle: PublishedGPT2, tmp_path: Path
) -> None:
    model = load_model(form(oracle, tmp_path), "cpu")
    assert not model.training
    torch.testing.assert_close(model(IDS), oracle(IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", [bare_pt, wrapped_pt, published_folder])
def test_generate_tells_the_oracles_greedy_story(
    form: Callable, oracle: PublishedGPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataset import format_instruction, get_tokenizer

    path = form(oracle, tmp_path)
    generate_main(
        [
            "--checkpoint",
            str(path),
            "--topic",
            "a dog",
            "--ending",
            "sad",
            "--temperature",
            "0",
            "--max-tokens",
            "40",
        ]
    )
    tokenizer = get_tokenizer(512)
    prompt = torch.tensor([tokenizer.encode_ordinary(format_instruction("a dog", "sad"))])
    ids = oracle.greedy(prompt, 40, TINY["context_length"])[0].tolist()
    ids = ids[: ids.index(511)] if 511 in ids else ids
    assert capsys.readouterr().out == tokenizer.decode(ids) + "\n"


def test_from_pretrained_reads_the_published_folder(oracle: PublishedGPT2, tmp_path: Path) -> None:
    model = GPT2.from_pretrained(published_folder(oracle, tmp_path))
    torch.testing.assert_close(model(IDS), oracle(IDS), atol=1e-5, rtol=1e-5)


def damaged(change: Callable[[dict], None]) -> dict:
    state = tiny_model().state_dict()
    change(state)
    return state


WEIGHT = "blocks.1.mha.heads.2.k.weight"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop(WEIGHT), f"missing weights: {WEIGHT}"),
        (lambda state: state.update(extra=torch.zeros(1)), "unknown weights: extra"),
        (lambda state: state.update({WEIGHT: torch.zeros(9, 32)}), f"other shapes: {WEIGHT} (9, 32)"),
        (lambda state: state.pop("embeddings.token_embedding.weight"), "no embeddings"),
        (lambda state: state.update(lr=0.1), "holds no weights"),
        (lambda state: state.update({3: torch.zeros(1)}), "holds no weights"),
        (lambda state: state.update({"embeddings.pos_embedding.weight": torch.tensor(1.0)}), "damaged"),
        (lambda state: state[WEIGHT].fill_(float("nan")), f"not a number, or infinite: {WEIGHT}"),
    ],
)
def test_loading_is_strict_and_names_the_weight(change: Callable, named: str, tmp_path: Path) -> None:
    torch.save(damaged(change), tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path / "a.pt")
    assert named in str(error.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_weights_of_fewer_bits_are_read_as_what_they_are(
    dtype: torch.dtype, suffix: str, tmp_path: Path
) -> None:
    model = tiny_model()
    short = {name: weight.to(dtype) for name, weight in model.state_dict().items()}
    file = tmp_path / f"short{suffix}"
    (torch.save if suffix == ".pt" else save_file)(short, file)
    read = load_model(file)
    assert read.output_layer.weight.dtype == torch.float32
    model.load_state_dict(short)
    assert torch.equal(read(IDS), model(IDS))


@pytest.mark.parametrize(
    "weight", [torch.zeros(8, 32).to_sparse(), torch.zeros(8, 32).byte().view(torch.float4_e2m1fn_x2)]
)
def test_weights_that_do_not_become_float32_are_named(
    weight: torch.Tensor, tmp_path: Path, complaint: Callable
) -> None:
    torch.save(damaged(lambda state: state.update({WEIGHT: weight})), tmp_path / "a.pt")
    line = complaint(generate_main, "--checkpoint", tmp_path / "a.pt", "--topic", "a", "--ending", "sad")
    assert (
        f"a.pt: not this model; other kinds of numbers: {WEIGHT} {weight.dtype}, {weight.layout}, not" in line
    )


def test_from_pretrained_is_strict_too(tmp_path: Path) -> None:
    save_file(damaged(lambda state: state.pop(WEIGHT)), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    with pytest.raises(CheckpointError, match=WEIGHT):
        GPT2.from_pretrained(tmp_path)


def test_a_config_that_contradicts_the_weights_is_an_error(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "num_heads": 8}))
    with pytest.raises(CheckpointError, match="num_heads 8, the weights say 4"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "config", [[], None, {"dropout_rate": "x"}, {"dropout_rate": 2}, {"vocab_size": "512"}]
)
def test_a_damaged_config_is_an_error(config: object, model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_a_vocabulary_without_a_tokenizer_gets_one_clear_line(tmp_path: Path, complaint: Callable) -> None:
    tiny_model(vocab_size=100).save_pretrained(tmp_path)
    assert "vocab_size 100" in complaint(
        generate_main, "--checkpoint", tmp_path, "--topic", "a", "--ending", "sad"
    )


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("code of the checkpoint ran",))


def truncated(folder: Path, suffix: str) -> Path:
    model = tiny_model()
    whole = folder / f"whole{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), whole)
    else:
        save_file(model.state_dict(), whole)
    part = folder / f"part{suffix}"
    part.write_bytes(whole.read_bytes()[:-1000])
    return part


def test_what_is_no_checkpoint_gets_one_clear_line(
    tmp_path: Path, complaint: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a checkpoint")
    disguised = tmp_path / "notes.pt"
    disguised.write_text("not a checkpoint")
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps({"model_state_dict": Evil()}, protocol=2))
    (tmp_path / "folder").mkdir()
    missing = tmp_path / "missing.pt"
    bad = [text, disguised, empty, evil, tmp_path / "folder", missing]
    for path in [*bad, truncated(tmp_path, ".pt"), truncated(tmp_path, ".safetensors")]:
        assert str(path) in complaint(generate_main, "--checkpoint", path, "--topic", "a", "--ending", "sad")
    assert "code of the checkpoint ran" not in capsys.readouterr().out
