import io
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import generate
from dataset import format_instruction, get_tokenizer
from generate import (
    Request,
    Sampling,
    choose_token,
    generate_story,
    main,
    stream_text,
    stream_tokens,
    tell_stories,
)
from model import GPT2
from tests.conftest import TINY, tiny_model

EOS = 511
CONTEXT = TINY["context_length"]


@torch.no_grad()
def uncached_greedy(model: GPT2, ids: Tensor, count: int) -> Tensor:
    """The plain loop, (B, T) -> (B, count): the whole window again for every token, no end."""
    start = ids.shape[1]
    for _ in range(count):
        ids = torch.cat([ids, model(ids[:, -CONTEXT:])[:, -1].argmax(-1, keepdim=True)], 1)
    return ids[:, start:]


def prompts(rows: int, length: int) -> Tensor:
    return torch.randint(0, 500, (rows, length), generator=torch.Generator().manual_seed(3))


def collect(model: GPT2, ids: Tensor, sampling: Sampling, seeds: range, eos_id: int = EOS) -> Tensor:
    return torch.stack(list(stream_tokens(model, list(ids), seeds, sampling, eos_id)), 1)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("length", "count"),
    [(5, 60), (CONTEXT - 20, 20), (CONTEXT - 20, 21), (CONTEXT - 20, 40), (CONTEXT + 5, 20)],
)
def test_cached_greedy_equals_the_uncached_loop_up_to_and_past_the_context(
    model: GPT2, rows: int, length: int, count: int
) -> None:
    ids = prompts(rows, length)
    told = collect(model, ids, Sampling(count, temperature=0), range(rows), eos_id=-1)
    assert torch.equal(told, uncached_greedy(model, ids, count))


def test_a_row_that_ended_stays_ended_and_the_others_go_on() -> None:
    model = tiny_model(seed=4)
    ids = prompts(4, 6)
    plain = uncached_greedy(model, ids, 40)
    eos = int(plain[0, 7])
    told = collect(model, ids, Sampling(40, temperature=0), range(4), eos_id=eos)
    for row, whole in zip(told.tolist(), plain.tolist(), strict=True):
        end = whole.index(eos) + 1 if eos in whole else 40
        assert row[:end] == whole[: min(end, len(row))]
        assert set(row[end:]) <= {eos}
    assert (told[:, -1] == eos).all() or told.shape[1] == 40


LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.5, -1.0, 2.5])
UNIFORM = (torch.arange(20_000) + 0.5) / 20_000


def share(sampling: Sampling) -> Tensor:
    """How much of [0, 1) leads to each token: the distribution that is sampled from."""
    chosen = choose_token(LOGITS.expand(len(UNIFORM), -1), UNIFORM, sampling)
    return torch.bincount(chosen, minlength=len(LOGITS)) / len(UNIFORM)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 6, 3, 1])
def test_tokens_are_drawn_with_their_exact_probabilities(temperature: float, top_k: int | None) -> None:
    kept = LOGITS.clone()
    kept[LOGITS.argsort(descending=True)[top_k or 6 :]] = -torch.inf
    exact = torch.softmax(kept / temperature, -1)
    torch.testing.assert_close(share(Sampling(1, temperature, top_k)), exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("top_p", "kept"), [(0.0, 1), (0.4, 1), (0.5, 2), (0.8, 3), (0.999, 6), (1.0, 6)])
def test_top_p_keeps_the_smallest_set_that_holds_it(top_p: float, kept: int) -> None:
    order = LOGITS.argsort(descending=True)
    exact = torch.zeros(6)
    probabilities = torch.softmax(LOGITS, -1)  # sorted: 0.438 0.265 0.161 0.059 ...
    exact[order[:kept]] = probabilities[order[:kept]] / probabilities[order[:kept]].sum()
    torch.testing.assert_close(share(Sampling(1, 1.0, None, top_p)), exact, atol=2e-4, rtol=0)


def test_a_tiny_temperature_does_not_overflow() -> None:
    assert share(Sampling(1, temperature=1e-40))[1] == 1


def test_temperature_zero_is_the_argmax() -> None:
    assert share(Sampling(1, temperature=0)).argmax() == 1
    assert share(Sampling(1, temperature=0))[1] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 1.1},
        {"ending_strength": -0.1},
        {"ending_strength": float("nan")},
        {"ending_strength": float("inf")},
    ],
)
def test_sampling_out_of_range_is_an_error(bad: dict) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampling(**bad)


def test_a_story_depends_on_its_own_seed_alone(model: GPT2) -> None:
    sampling = Sampling(30, temperature=1.0)
    requests = [Request("a dog", "sad", seed) for seed in range(5, 9)]
    together = tell_stories(model, requests, sampling)
    assert together == [tell_stories(model, [request], sampling)[0] for request in requests]
    assert len({story.text for story in together}) == 4


@pytest.mark.parametrize("strength", [1.0, 1.7])
@pytest.mark.parametrize("count", [40, CONTEXT])
def test_prompts_of_different_lengths_told_together_give_what_each_gives_alone(
    strength: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to and past the context, which the rows reach at different steps. In float64: in float32, one draw
    in some thousands falls between two roundings."""
    model = tiny_model().double()
    monkeypatch.setattr(generate, "MOST_STORIES", 4)
    topics = ("a dog", "two little rabbits and a very long way home", "x", "Tom and Mia " * 10)
    requests = [Request(topic, ending, 7) for topic in topics for ending in ("happy", "sad")]
    sampling = Sampling(count, temperature=0.8, ending_strength=strength)
    together = tell_stories(model, requests, sampling)
    for request, story in zip(requests, together, strict=True):
        assert [story] == tell_stories(model, [request], sampling), request


@torch.no_grad()
def guided_greedy(model: GPT2, asked: Tensor, other: Tensor, strength: float, count: int) -> list[int]:
    """The formula as it is written, each prompt on its own, the whole text again for every token."""
    for _ in range(count):
        positive, negative = (model(ids[None, -CONTEXT:])[0, -1] for ids in (asked, other))
        chosen = (negative + strength * (positive - negative)).argmax()[None]
        asked, other = torch.cat([asked, chosen]), torch.cat([other, chosen])
    return asked[-count:].tolist()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5, 3.0])
def test_guidance_is_its_formula(model: GPT2, strength: float) -> None:
    asked, other = [*prompts(1, 9)], [*prompts(2, 12)[1:]]
    sampling = Sampling(30, temperature=0, ending_strength=strength)
    told = torch.stack(list(stream_tokens(model, asked, [0], sampling, -1, other)), 1)
    assert told[0].tolist() == guided_greedy(model, asked[0], other[0], strength, 30)


def test_ending_strength_runs_from_the_other_ending_to_the_asked_one_and_beyond(model: GPT2) -> None:
    def told(ending: str, strength: float) -> str:
        sampling = Sampling(25, temperature=0.9, ending_strength=strength)
        return tell_stories(model, [Request("a dog", ending, 3)], sampling)[0].text

    assert told("sad", 0.0) == told("happy", 1.0) != told("sad", 1.0)
    assert told("sad", 2.0) not in (told("sad", 1.0), told("happy", 2.0))


def test_streamed_text_never_splits_a_character() -> None:
    text = "A fox \U0001f98a met a na\u00efve \u72d7."
    ids = get_tokenizer(300).encode_ordinary(text)
    pieces = list(stream_text(iter(ids), 300))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert "".join(stream_text(iter(ids[:8]), 300)).endswith("\ufffd")  # cut inside the fox


def test_generate_story_leaves_the_prompt_out_and_knows_the_smaller_vocabularys_end(model: GPT2) -> None:
    story = generate_story(model, "a dog", "happy", max_new_tokens=20, seed=3)
    assert story == tell_stories(model, [Request("a dog", "happy", 3)], Sampling(20))[0].text
    guided = generate_story(model, "a dog", "happy", max_new_tokens=20, ending_strength=2.5, seed=3)
    sampling = Sampling(20, ending_strength=2.5)
    assert guided == tell_stories(model, [Request("a dog", "happy", 3)], sampling)[0].text != story
    with torch.no_grad():
        ends = tiny_model()
        ends.output_layer.bias[EOS] = 1e4
    assert generate_story(ends, "a dog", "happy") == ""


def test_special_tokens_in_a_topic_are_plain_text() -> None:
    ids = get_tokenizer(512).encode_ordinary(format_instruction("<|endoftext|>", "sad"))
    assert EOS not in ids


@pytest.mark.parametrize("strength", ["1", "2"])
def test_streamed_batched_and_json_stories_are_the_same(
    strength: str, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "--checkpoint",
        checkpoint,
        "--topic",
        " a \n dog ",
        "--ending",
        "sad",
        "--seed",
        "7",
        "--max-tokens",
        "25",
        "--ending-strength",
        strength,
    ]
    main(command)
    streamed = capsys.readouterr().out
    main([*command, "--num-stories", "2"])
    batched = capsys.readouterr().out
    main([*command, "--num-stories", "2", "--json"])
    answer = json.loads(capsys.readouterr().out)
    texts = [story["text"] for story in answer["stories"]]
    assert streamed == texts[0] + "\n"
    assert all(text in batched for text in texts)
    assert [story["seed"] for story in answer["stories"]] == [7, 8]
    assert answer["topic"] == " a \n dog "
    assert {story["tokens"] for story in answer["stories"]} == {25}


def test_it_asks_for_what_is_not_given(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], complaint: Callable
) -> None:
    command = ["--checkpoint", checkpoint, "--seed", "7", "--max-tokens", "10"]
    main([*command, "--topic", "a dog", "--ending", "happy"])
    story = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("a dog\nmaybe\nHap\n\n"))
    main(command)
    assert story in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "--topic" in complaint(main, *command)
    assert "--ending" in complaint(main, *command, "--topic", "a dog")


def test_bad_input_gets_one_clear_line(checkpoint: str, complaint: Callable) -> None:
    good = {"--checkpoint": checkpoint, "--topic": "a dog", "--ending": "sad", "--max-tokens": "9"}
    for bad, said in (
        ({"--topic": "  "}, "--topic"),
        ({"--topic": "dog " * 10_000}, "--topic: makes a prompt of"),
        ({"--ending": "funny"}, "happy"),
        ({"--temperature": "-1"}, "--temperature -1.0: must be at least 0"),
        ({"--temperature": "nan"}, "--temperature nan"),
        ({"--top-k": "0"}, "--top-k 0: must be at least 1"),
        ({"--top-k": "1000000000"}, "the model has 512 tokens"),
        ({"--top-p": "1.5"}, "--top-p 1.5: must be at least 0 and at most 1"),
        ({"--ending-strength": "-1"}, "--ending-strength -1.0: must be at least 0"),
        ({"--ending-strength": "nan"}, "--ending-strength nan"),
        ({"--ending-strength": "101"}, "at most 100"),
        ({"--max-tokens": "500"}, "--max-tokens 500: at most"),
        ({"--max-tokens": "9" * 400}, "--max-tokens 999"),
        ({"--num-stories": "0"}, "--num-stories"),
        ({"--topic": "\udcff"}, "--topic: is not UTF-8"),
        ({"--checkpoint": ""}, "model.safetensors"),
        ({"--device": "meta"}, "--device meta"),
        ({"--model-size": "31m"}, "30m"),
        ({"--device": "gpu"}, "--device gpu"),
        ({"--checkpoint": "nowhere/at/all"}, "nowhere/at/all"),
    ):
        arguments = [part for pair in {**good, **bad}.items() for part in pair]
        assert said in complaint(main, *arguments)


def test_without_a_fine_tuned_model_it_says_how_to_get_one(complaint: Callable) -> None:
    answer = complaint(main, "--model-size", "nano", "--topic", "a dog", "--ending", "sad")
    assert "finetune.py --model-size nano" in answer
