import copy
import io
import json
import pickle
from pathlib import Path

import pytest
import torch

from benchmarks.other_programs import to_transformers
from model import GPT2, KVCache, load_model
from published_gpt2 import PublishedGPT2
from tiny import IDS, TINY, tiny_model


def test_what_is_saved_here_loads_in_the_published_layout(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "config.json").read_text())) == set(TINY)
    oracle = PublishedGPT2(**TINY).eval()
    answer = oracle.load_state_dict(load_model(tmp_path).state_dict(), strict=False)
    assert not answer.unexpected_keys
    assert all(key.endswith(".mask") for key in answer.missing_keys)
    torch.testing.assert_close(model(IDS), oracle(IDS), atol=1e-5, rtol=1e-5)


def test_a_state_dict_is_in_the_published_layout_and_goes_back_in(model: GPT2) -> None:
    state = model.state_dict()
    published = PublishedGPT2(**TINY).state_dict()
    assert state.keys() == {key for key in published if not key.endswith(".mask")}
    assert all(weight.shape == published[key].shape for key, weight in state.items())
    content = io.BytesIO()
    torch.save(state, content)
    content.seek(0)
    others = [
        tiny_model(seed=1),
        copy.deepcopy(tiny_model(seed=1)),
        pickle.loads(pickle.dumps(tiny_model(1))),
    ]
    for other in others:
        assert not torch.equal(other(IDS), model(IDS))
        other.load_state_dict(torch.load(content, weights_only=True))
        content.seek(0)
        assert torch.equal(other(IDS), model(IDS))


def test_a_state_dict_without_a_heads_weight_is_refused_by_its_name(model: GPT2) -> None:
    state = model.state_dict()
    del state["blocks.1.mha.heads.2.k.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks\.1\.mha\.heads\.2\.k\.weight"):
        tiny_model(seed=1).load_state_dict(state)


def test_saving_and_loading_changes_no_bit(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    for loaded in (load_model(tmp_path), GPT2.from_pretrained(tmp_path)):
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, loaded.state_dict()[name]), name


def test_logits_and_greedy_ids_equal_transformers(model: GPT2) -> None:
    theirs = to_transformers(model)
    torch.testing.assert_close(model(IDS), theirs(IDS).logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(model(IDS).argmax(-1), theirs(IDS).logits.argmax(-1))


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


def test_attention_spelled_out_for_dropout_is_the_same_attention() -> None:
    """At a rate too small to drop anything, training on a CPU and SDPA agree."""
    model = tiny_model(dropout_rate=1e-9)
    expected = model(IDS)
    torch.testing.assert_close(model.train()(IDS), expected, atol=1e-4, rtol=1e-4)
