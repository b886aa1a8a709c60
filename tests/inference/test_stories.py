import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.endings import ENDINGS
from common.errors import InputError
from dataset import format_instruction, get_tokenizer, taught
from generate import choose_token
from inference import stories
from inference.sampling import Sampling
from inference.stories import Draft, Request, Story, encode_requests, stream_story, tell_stories
from model import GPT2
from tiny import CONTEXT, EOS, prepared, tiny_model

KINDS = pytest.mark.parametrize("kind", ["pytorch", "pytorch int8", "engine", "engine int8"])


def test_a_story_depends_on_its_own_seed_alone(model: GPT2) -> None:
    sampling = Sampling(30, temperature=1.0)
    requests = [Request("a dog", "sad", seed) for seed in range(5, 9)]
    together = tell_stories(model, requests, sampling, choose_token)
    assert together == [tell_stories(model, [request], sampling, choose_token)[0] for request in requests]
    assert len({story.text for story in together}) == 4


def test_guidance_is_away_from_every_other_ending() -> None:
    model = tiny_model()
    model.taught = taught(("funny", "happy", "sad"))
    requests = [Request("a dog", "sad", 0), Request("a cat", "funny", 0)]
    asked, others = encode_requests(model, requests, 1.5)
    assert encode_requests(model, requests, 1.0)[1] == []
    decode = get_tokenizer(512).decode
    for request, prompt, rest in zip(requests, asked, others, strict=True):
        texts = [decode(ids) for ids in (prompt, *rest)]
        others_of = [ending for ending in model.taught.endings if ending != request.ending]
        assert texts == [
            format_instruction(request.topic, ending, endings=model.taught.endings)
            for ending in (request.ending, *others_of)
        ]


@pytest.mark.parametrize(("strength", "endings"), [(1.0, ENDINGS), (1.7, ENDINGS), (1.7, ("odd", *ENDINGS))])
@pytest.mark.parametrize("count", [40, CONTEXT])
def test_prompts_of_different_lengths_told_together_give_what_each_gives_alone(
    strength: float, endings: tuple[str, ...], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to and past the context, which the rows reach at different steps. In float64: in float32, one draw
    in some thousands falls between two roundings."""
    model = tiny_model().double()
    model.taught = taught(endings)
    monkeypatch.setattr(stories, "LARGEST_BATCH", 4)
    topics = ("a dog", "two little rabbits and a very long way home", "x", "Tom and Mia " * 10)
    requests = [Request(topic, ending, 7) for topic in topics for ending in endings]
    sampling = Sampling(count, temperature=0.8, ending_strength=strength)
    together = tell_stories(model, requests, sampling, choose_token)
    for request, story in zip(requests, together, strict=True):
        assert [story] == tell_stories(model, [request], sampling, choose_token), request


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
    alone = [tell_stories(model, [request], sampling, choose_token)[0] for request in requests]
    rows = []
    model.layer_norm.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    assert tell_stories(model, requests, sampling, choose_token) == alone
    going = [sum(story.tokens >= step for story in alone) for step in range(len(rows))]
    assert rows == [count * (2 if strength != 1 else 1) for count in going]
    assert len(set(going)) > 5


def test_ending_strength_runs_from_the_other_ending_to_the_asked_one_and_beyond(model: GPT2) -> None:
    def told(ending: str, strength: float) -> str:
        sampling = Sampling(25, temperature=0.9, ending_strength=strength)
        return tell_stories(model, [Request("a dog", ending, 3)], sampling, choose_token)[0].text

    assert told("sad", 0.0) == told("happy", 1.0) != told("sad", 1.0)
    assert told("sad", 2.0) not in (told("sad", 1.0), told("happy", 2.0))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.sampled_from([300, 4096, 50257]))
def test_pieces_of_text_are_whole_characters_and_together_the_text(text: str, vocab_size: int) -> None:
    ids = get_tokenizer(vocab_size).encode_ordinary(text)
    draft = Draft(0, vocab_size, eos_id=-1)
    for token in ids:
        before = draft.so_far().text
        assert draft.add(token) == (draft.so_far().text != before)
        assert text.startswith(draft.so_far().text)
    assert draft.end() == Story(text, 0, len(ids), complete=False)


def test_a_text_that_is_cut_inside_a_character_says_so() -> None:
    text = "A fox \U0001f98a met a na\u00efve \u72d7."
    ids = get_tokenizer(300).encode_ordinary(text)
    draft = Draft(0, 300, eos_id=-1)
    for token in ids[:8]:
        draft.add(token)
    assert draft.end().text.endswith("\ufffd")  # cut inside the fox


@KINDS
def test_a_streamed_story_that_is_closed_or_fails_leaves_nothing_behind(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prepared(kind)
    request, sampling = Request("a dog", "sad", 3), Sampling(40, ending_strength=1.5)
    story = tell_stories(model, [request], sampling, choose_token)[0]
    cut = stream_story(model, request, sampling, choose_token)
    texts = [next(cut).text for _ in range(5)]
    cut.close()
    assert all(later.startswith(text) for text, later in itertools.pairwise([*texts, story.text]))
    assert next(cut, None) is None
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()

    step = "hidden" if isinstance(model, GPT2) else "step"
    steps = [getattr(model, step)] * 6 + [mock.Mock(side_effect=MemoryError("in the middle"))]
    with monkeypatch.context() as patch:
        patch.setattr(model, step, lambda *args: steps.pop(0)(*args))
        with pytest.raises(MemoryError, match="in the middle"):
            list(stream_story(model, request, sampling, choose_token))
    assert not torch.is_inference_mode_enabled()
    assert list(stream_story(model, request, sampling, choose_token))[-1] == story


@KINDS
def test_two_stories_at_once_on_one_model_are_those_that_each_is_alone(kind: str) -> None:
    """Step by step in turn, and in two threads."""
    model = prepared(kind)
    requests, sampling = [Request("a dog", "sad", 3), Request("two cats", "happy", 4)], Sampling(120)
    alone = [tell_stories(model, [request], sampling, choose_token)[0] for request in requests]
    streams = [stream_story(model, request, sampling, choose_token) for request in requests]
    in_turn = zip(*itertools.zip_longest(*streams), strict=True)
    assert [[story for story in stories if story][-1] for stories in in_turn] == alone
    both_ready = threading.Barrier(2)

    def tell(request: Request) -> list[Story]:
        both_ready.wait(60)
        return [list(stream_story(model, request, sampling, choose_token))[-1] for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(tell, requests)) == [[story] * 3 for story in alone]


def test_a_bad_topic_is_refused_at_once(model: GPT2) -> None:
    with pytest.raises(InputError, match="--topic: is empty"):
        stream_story(model, Request(" ", "sad", 0), Sampling(), choose_token)


def test_special_tokens_in_a_topic_are_plain_text() -> None:
    ids = get_tokenizer(512).encode_ordinary(format_instruction("<|endoftext|>", "sad"))
    assert EOS not in ids
