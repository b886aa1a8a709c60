import io
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from joblib import cpu_count
from torch import Tensor

import generate
from common.cli import InputError
from common.device import choose_compute
from common.int8 import quantize
from dataset import format_instruction, get_tokenizer
from generate import (
    Request,
    Sampling,
    Story,
    choose_token,
    generate_story,
    main,
    stream_story,
    stream_text,
    stream_tokens,
    tell_stories,
)
from inference.cpu import for_inference
from model import GPT2
from tiny import TINY, tiny_model

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


def ready(kind: str) -> GPT2:
    """A tiny model as it is, made ready for inference, or with int8 weights."""
    model = tiny_model()
    if kind == "int8":
        quantize(model)
    return for_inference(model) if kind == "for inference" else model


KINDS = pytest.mark.parametrize("kind", ["plain", "for inference", "int8"])


@pytest.mark.parametrize("kind", ["plain", "for inference"])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("length", "count"),
    [(5, 60), (CONTEXT - 20, 20), (CONTEXT - 20, 21), (CONTEXT - 20, 40), (CONTEXT + 5, 20)],
)
def test_cached_greedy_equals_the_uncached_loop_up_to_and_past_the_context(
    model: GPT2, kind: str, rows: int, length: int, count: int
) -> None:
    ids = prompts(rows, length)
    told = collect(ready(kind), ids, Sampling(count, temperature=0), range(rows), eos_id=-1)
    assert torch.equal(told, uncached_greedy(model, ids, count))


@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_a_model_made_ready_for_inference_tells_the_same_story(model: GPT2, strength: float) -> None:
    """Alone, from few tokens of many: from bounds on the logits."""
    sampling = Sampling(80, temperature=0.9, top_k=20, ending_strength=strength)
    requests = [Request("a dog", "sad", 3)]
    assert tell_stories(ready("for inference"), requests, sampling) == tell_stories(model, requests, sampling)


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
    values, ids = LOGITS.expand(len(UNIFORM), -1).topk(min(sampling.top_k or 6, 6))
    chosen = choose_token(values, ids, UNIFORM, sampling)
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
    for temperature in (1e-40, 1e-46, 1e-320):
        assert share(Sampling(1, temperature=temperature))[1] == 1


def test_temperature_zero_is_the_likeliest() -> None:
    assert share(Sampling(1, temperature=0))[1] == 1


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, 1.0, None),
        Sampling(1, 0.6, None),
        Sampling(1, 1.7, None),
        Sampling(1, 1.0, 5),
        Sampling(1, 1.0, None, 0.7),
        Sampling(1, 1.3, 7, 0.8),
        Sampling(1, 0.9, 8, 0.9, ending_strength=1.8),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "for inference", "int8"])
def test_a_chi_square_test_finds_no_other_distribution_in_what_is_drawn(
    kind: str, sampling: Sampling
) -> None:
    model = tiny_model(vocab_size=12, embedding_dim=16, num_layers=1)
    model.output_layer.weight.data *= 0.3  # so that every token has a chance
    if kind == "int8":
        quantize(model)
    asked, other = torch.tensor([3, 1, 4, 1, 5]), torch.tensor([9, 2, 6])
    with torch.no_grad():
        states = [model.hidden(ids[None])[:, -1] for ids in (asked, other)]
        logits = model.output_layer(torch.lerp(states[1], states[0], sampling.ending_strength))[0].double()
    if kind == "for inference":
        model = for_inference(model)
    draws = 4000
    others = [other] * draws if sampling.ending_strength != 1 else []
    drawn = next(stream_tokens(model, [asked] * draws, range(draws), sampling, -1, others))
    order = logits.argsort(descending=True)[: sampling.top_k]
    likely = torch.softmax(logits[order] / sampling.temperature, -1)
    kept = int((likely.cumsum(-1) - likely < sampling.top_p).sum())
    order, likely = order[:kept], likely[:kept] / likely[:kept].sum()
    counts = torch.bincount(drawn, minlength=12)
    assert counts[order].sum() == draws
    assert len(order) > 2
    assert scipy.stats.chisquare(counts[order].numpy(), (likely * draws).numpy()).pvalue > 0.001


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


@pytest.mark.parametrize("strength", [1.0, 1.6])
@pytest.mark.parametrize("context", [CONTEXT, 104])
def test_rows_that_have_ended_are_no_longer_computed_and_the_others_do_not_notice(
    context: int, strength: float
) -> None:
    """Also past the context length."""
    model = tiny_model(context_length=context).double()
    model.output_layer.bias.data[EOS] = 4.0  # rows end all the time
    topics = ["a dog", "two little rabbits and a very long way home", "x", "Tom and Mia " * 5] * 4
    requests = [Request(topic, "sad", seed) for seed, topic in enumerate(topics)]
    sampling = Sampling(60, temperature=2.0, top_k=None, ending_strength=strength)
    alone = [tell_stories(model, [request], sampling)[0] for request in requests]
    rows = []
    model.layer_norm.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    assert tell_stories(model, requests, sampling) == alone
    going = [sum(story.tokens >= step for story in alone) for step in range(len(rows))]
    assert rows == [count * (2 if strength != 1 else 1) for count in going]
    assert len(set(going)) > 5


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


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.sampled_from([300, 4096, 50257]))
def test_pieces_of_text_are_whole_characters_and_together_the_text(text: str, vocab_size: int) -> None:
    ids = get_tokenizer(vocab_size).encode_ordinary(text)
    pieces = list(stream_text(iter(ids), vocab_size))
    assert "".join(pieces) == text
    assert all(pieces)


def test_a_text_that_is_cut_inside_a_character_says_so() -> None:
    text = "A fox \U0001f98a met a na\u00efve \u72d7."
    ids = get_tokenizer(300).encode_ordinary(text)
    assert "".join(stream_text(iter(ids[:8]), 300)).endswith("\ufffd")  # cut inside the fox


@KINDS
def test_a_streamed_story_that_is_closed_or_fails_leaves_nothing_behind(kind: str) -> None:
    model = ready(kind)
    request, sampling = Request("a dog", "sad", 3), Sampling(40, ending_strength=1.5)
    story = tell_stories(model, [request], sampling)[0]
    cut = stream_story(model, request, sampling)
    texts = [next(cut).text for _ in range(5)]
    cut.close()
    assert all(later.startswith(text) for text, later in itertools.pairwise([*texts, story.text]))
    assert next(cut, None) is None
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()

    calls = []

    def fail_later(*_: object) -> None:
        calls.append(1)
        if len(calls) == 7:
            raise MemoryError("in the middle")

    hook = model.layer_norm.register_forward_pre_hook(fail_later)
    with pytest.raises(MemoryError, match="in the middle"):
        list(stream_story(model, request, sampling))
    assert not torch.is_inference_mode_enabled()
    hook.remove()
    assert list(stream_story(model, request, sampling))[-1] == story


@KINDS
def test_two_stories_at_once_on_one_model_are_those_that_each_is_alone(kind: str) -> None:
    """Step by step in turn, and in two threads."""
    model = ready(kind)
    requests, sampling = [Request("a dog", "sad", 3), Request("two cats", "happy", 4)], Sampling(120)
    alone = [tell_stories(model, [request], sampling)[0] for request in requests]
    streams = [stream_story(model, request, sampling) for request in requests]
    in_turn = zip(*itertools.zip_longest(*streams), strict=True)
    assert [[story for story in stories if story][-1] for stories in in_turn] == alone
    both_ready = threading.Barrier(2)

    def tell(request: Request) -> list[Story]:
        both_ready.wait(60)
        return [list(stream_story(model, request, sampling))[-1] for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(tell, requests)) == [[story] * 3 for story in alone]


def test_a_bad_topic_is_refused_at_once(model: GPT2) -> None:
    with pytest.raises(InputError, match="--topic: is empty"):
        stream_story(model, Request(" ", "sad", 0), Sampling())


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


def test_torch_takes_no_more_threads_than_there_are_cores_for_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """joblib knows a container's limits; this variable of its own is one that a test can set."""
    before = torch.get_num_threads()
    try:
        for cores, threads in ((1, 2), (1, 1), (cpu_count() + 1, 1)):
            monkeypatch.setenv("LOKY_MAX_CPU_COUNT", str(cores))
            torch.set_num_threads(threads)
            choose_compute("cpu")
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_story_starts_without_what_only_other_scripts_need() -> None:
    others = "datasets", "pyarrow", "pandas", "sklearn", "matplotlib", "transformers", "torch._dynamo"
    told = f"import sys, generate; print([name for name in {others} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
