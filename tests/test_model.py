import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.peers import to_transformers
from common.weights import CheckpointError, to_published
from generate import main as generate_main
from model import (
    GPT2,
    PRESETS,
    Dropout,
    KVCache,
    base_checkpoint,
    finetuned_checkpoint,
    load_model,
)
from published_gpt2 import PublishedGPT2
from tiny import TINY, tiny_model

IDS = torch.randint(0, 512, (3, 40), generator=torch.Generator().manual_seed(0))


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


def test_what_is_saved_here_loads_in_the_published_layout(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "config.json").read_text())) == set(TINY)
    oracle = PublishedGPT2(**TINY).eval()
    answer = oracle.load_state_dict(to_published(load_model(tmp_path)), strict=False)
    assert not answer.unexpected_keys
    assert all(key.endswith(".mask") for key in answer.missing_keys)
    torch.testing.assert_close(model(IDS), oracle(IDS), atol=1e-5, rtol=1e-5)


def test_saving_and_loading_changes_no_bit(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    for loaded in (load_model(tmp_path), GPT2.from_pretrained(tmp_path)):
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, loaded.state_dict()[name]), name


def test_logits_and_greedy_ids_equal_transformers(model: GPT2) -> None:
    theirs = to_transformers(model)
    torch.testing.assert_close(model(IDS), theirs(IDS).logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(model(IDS).argmax(-1), theirs(IDS).logits.argmax(-1))


@pytest.mark.parametrize("size", PRESETS)
def test_presets_fit_the_table(size: str) -> None:
    config = PRESETS[size].config
    assert config.embedding_dim % config.num_heads == 0
    if size != "nano":
        assert (config.vocab_size, config.context_length, config.dropout_rate) == (50257, 512, 0.1)


def test_the_nano_base_in_the_repo_loads_and_is_small() -> None:
    base = Path(PRESETS["nano"].base)
    assert load_model(base).config == PRESETS["nano"].config
    assert sum(file.stat().st_size for file in base.iterdir()) <= 3_000_000


def test_hidden_with_a_cache_equals_hidden_without(model: GPT2) -> None:
    cache = KVCache(model, 3, 40)
    parts = [model.hidden(IDS[:, :25], cache)] + [
        model.hidden(IDS[:, i : i + 1], cache) for i in range(25, 40)
    ]
    torch.testing.assert_close(torch.cat(parts, 1), model.hidden(IDS), atol=1e-5, rtol=1e-5)


def test_rows_that_a_cache_keeps_go_on_as_they_were(model: GPT2) -> None:
    padding = torch.tensor([4, 0, 9])
    whole, some = KVCache(model, 3, 40, padding), KVCache(model, 3, 40, padding)
    model.hidden(IDS[:, :25], whole), model.hidden(IDS[:, :25], some)
    some.keep([2, 1])
    for i in range(25, 30):
        kept = model.hidden(IDS[[2, 1], i : i + 1], some)
        torch.testing.assert_close(kept, model.hidden(IDS[:, i : i + 1], whole)[[2, 1]], atol=1e-5, rtol=1e-5)


def test_past_the_context_length_is_an_error(model: GPT2) -> None:
    with pytest.raises(IndexError, match="384"):
        model(torch.zeros(1, 385, dtype=torch.int64))


def test_no_position_sees_a_later_token(model: GPT2) -> None:
    changed = IDS.clone()
    changed[:, 20:] = 7
    assert torch.equal(model(IDS)[:, :20], model(changed)[:, :20])


def test_dropout_is_there_in_training_and_only_there() -> None:
    model = tiny_model(dropout_rate=0.5)
    still = model(IDS)
    assert torch.equal(model(IDS), still)
    model.train()
    assert not torch.allclose(model(IDS), still, atol=0.1)


def test_dropout_keeps_the_mean_and_its_rate_and_passes_gradients_of_what_it_kept() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.1)
    x = torch.full((1001, 303), 2.0, requires_grad=True)
    y = dropout(x)
    kept = y != 0
    assert kept.float().mean() == pytest.approx(0.9, abs=0.002)
    torch.testing.assert_close(y[kept].unique(), torch.tensor([2.0 / 0.9]))
    for places in (kept[::2], kept[:, ::4], kept[:, -3:]):  # anywhere alike
        assert places.float().mean() == pytest.approx(0.9, abs=0.01)
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / torch.tensor(0.9))
    assert not torch.equal(dropout(x), y)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), y)
    assert torch.equal(dropout.eval()(x), x)


def test_attention_spelled_out_for_dropout_is_the_same_attention() -> None:
    """At a rate too small to drop anything, training on a CPU and SDPA agree."""
    model = tiny_model(dropout_rate=1e-9)
    expected = model(IDS)
    torch.testing.assert_close(model.train()(IDS), expected, atol=1e-4, rtol=1e-4)


def test_checkpoints_are_found_in_their_places(elsewhere: Path) -> None:
    assert base_checkpoint("30m") == "0rn0/gpt2-30m-tinystories"
    assert finetuned_checkpoint("125m") == "0rn0/gpt2-125m-tinystories-sft"
    run = Path("checkpoints/sft_30M_model")
    for name in ("epoch_2", "epoch_10", "last", "best"):
        (run / name).mkdir(parents=True)
        assert finetuned_checkpoint("30m") == str(run / name)
    Path("checkpoints/pre_trained_gpt2-30m").mkdir()
    assert base_checkpoint("30m") == "checkpoints/pre_trained_gpt2-30m"


def damaged(change: Callable[[dict], None]) -> dict:
    state = to_published(tiny_model())
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
        torch.save(to_published(model), whole)
    else:
        save_file(to_published(model), whole)
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
