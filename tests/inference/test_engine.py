"""The engine tells what PyTorch tells but for rounding, and the same bits however it is asked."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from common.endings import Taught
from common.int8 import quantize
from generate import choose_token
from inference.compile import EngineError
from inference.decoding import stream_tokens
from inference.engine import Engine, Story, Text
from inference.sampling import LARGEST_SEED, Sampling, uniform
from inference.stories import Request, tell_stories
from model import GPT2
from tiny import CONTEXT, EOS, a_draw, engine_of, logits_behind, some_ids, tiny_model

KINDS = pytest.mark.parametrize("is_int8", [False, True], ids=["float32", "int8"])


def some_model(is_int8: bool = False, seed: int = 0, **changes: Any) -> GPT2:
    model = tiny_model(seed, **changes)
    if is_int8:
        quantize(model)
    return model


def told(engine: Engine, prompts: list[list[int]], sampling: Sampling, **how: Any) -> list[tuple[int, ...]]:
    """A story for each prompt."""
    steps = engine.stream_tokens(prompts, range(len(prompts)), sampling, EOS, **how)
    return list(zip(*steps, strict=True))


@pytest.mark.parametrize("strength", [1.0, 1.5])
@pytest.mark.parametrize("length", [5, CONTEXT - 20, CONTEXT + 5])
def test_greedy_stories_are_pytorchs_up_to_and_past_the_context(length: int, strength: float) -> None:
    model = some_model()
    prompts = [some_ids(length, seed) for seed in range(3)]
    others = [[some_ids(length, seed + 9)] for seed in range(3)] if strength != 1 else []
    sampling = Sampling(40, temperature=0, ending_strength=strength)
    steps = stream_tokens(
        model,
        list(map(torch.tensor, prompts)),
        range(3),
        sampling,
        choose_token,
        -1,
        [list(map(torch.tensor, rest)) for rest in others],
    )
    expected = [tuple(row) for row in torch.stack(list(steps), 1).tolist()]
    assert list(
        zip(*engine_of(model).stream_tokens(prompts, range(3), sampling, -1, others), strict=True)
    ) == (expected)


@pytest.mark.parametrize("endings", [("happy", "sad"), ("funny", "happy", "sad")])
def test_requests_are_told_alike_by_both(endings: tuple[str, ...]) -> None:
    """In float32 they round otherwise, and hardly ever choose otherwise."""
    model = some_model()
    model.taught = Taught(endings)
    requests = [Request("a dog", ending, seed) for seed in range(4) for ending in endings]
    sampling = Sampling(50, 0.9, 40, 0.95, 1.5)
    assert tell_stories(engine_of(model), requests, sampling, choose_token) == tell_stories(
        model, requests, sampling, choose_token
    )


@KINDS
def test_a_prompt_read_at_once_is_the_prompt_read_token_by_token(is_int8: bool) -> None:
    engine = engine_of(some_model(is_int8))
    ids = some_ids(150)
    text = Text(engine, ids, 150)
    for position, token in enumerate(ids):
        logits = engine.step([(text, token, position)], [a_draw()])
    assert np.array_equal(logits[0], logits_behind(engine, ids))


@KINDS
@pytest.mark.parametrize("strength", [1.0, 1.7])
def test_a_story_is_the_same_alone_and_beside_others_and_with_any_number_of_threads(
    is_int8: bool, strength: float
) -> None:
    model = some_model(is_int8, seed=4)
    prompts = [some_ids(3 + 7 * i, i) for i in range(45)]
    others = [[some_ids(9 + i, i), some_ids(4, i)] for i in range(45)] if strength != 1 else []
    sampling = Sampling(40, 0.8, 20, 0.9, strength)

    def tell(engine: Engine, places: Sequence[int]) -> list[list[int]]:
        chosen = (
            [prompts[i] for i in places],
            list(places),
            sampling,
            EOS,
            [others[i] for i in places if others],
        )
        rows = [list(row) for row in zip(*engine.stream_tokens(*chosen), strict=True)]
        return [row[: row.index(EOS)] if EOS in row else row for row in rows]

    engines = {threads: engine_of(model, threads) for threads in (1, 2, 4)}
    together = {threads: tell(engine, range(45)) for threads, engine in engines.items()}
    assert together[1] == together[2] == together[4]
    for threads, i in itertools.product(engines, (0, 13, 44)):
        assert tell(engines[threads], [i]) == [together[1][i]]
    assert len({tuple(row) for row in together[1]}) == 45


def test_a_row_that_ended_stays_ended() -> None:
    model = some_model(seed=4)
    engine = engine_of(model)
    plain = [list(row) for row in told(engine, [some_ids(6, i) for i in range(4)], Sampling(40, 0))]
    eos = plain[0][7]
    steps = engine.stream_tokens([some_ids(6, i) for i in range(4)], range(4), Sampling(40, 0), eos)
    for row, whole in zip(zip(*steps, strict=True), plain, strict=True):
        end = whole.index(eos) + 1 if eos in whole else 40
        assert list(row[:end]) == whole[: min(end, len(row))]
        assert {*row[end:]} <= {eos}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, 1.0, None),
        Sampling(1, 0.6, 50),
        Sampling(1, 1.7, 7),
        Sampling(1, 1.0, None, 0.7),
        Sampling(1, 1.3, 7, 0.8),
        Sampling(1, 1e-40, 5),
        Sampling(1, 1.0, 5, 0.0),
        Sampling(1, 0.0, 9),
    ],
)
def test_a_token_is_the_one_that_generate_chooses(sampling: Sampling) -> None:
    """Of the same logits, by the same random number."""
    engine = engine_of(some_model(seed=2))
    ids = some_ids(5)
    text = Text(engine, ids, 5)
    engine.step([(text, token, position) for position, token in enumerate(ids)], ())
    k = sampling.top_k or 512
    chances = [(seed, place) for seed in (0, 1, 77, LARGEST_SEED) for place in range(40)]
    how = dict(top_k=k, temperature=sampling.temperature, top_p=sampling.top_p)
    for seed, place in chances:
        draw = a_draw(**how, seed=seed, place=place)
        logits = torch.from_numpy(engine.step([(text, ids[-1], 4)], [draw]))
        values, tokens = logits.topk(1 if sampling.temperature == 0 else k)
        drawn = torch.tensor([uniform(seed, place)])
        assert draw.token == choose_token(values, tokens, drawn, sampling).item()


def test_of_equal_logits_the_first_token_is_the_likelier() -> None:
    model = some_model()
    with torch.no_grad():
        model.output_layer.weight.zero_()
        model.output_layer.bias.zero_()
        model.output_layer.bias[[40, 7, 300]] = 5
    engine = engine_of(model)
    assert told(engine, [[1, 2]], Sampling(3, 0)) == [(7, 7, 7)]
    (story,) = told(engine, [[1, 2]], Sampling(40, 1.0, 2))
    assert {*story} == {7, 40}


def test_random_numbers_are_even_and_do_not_depend_on_each_other() -> None:
    for numbers in (
        [uniform(seed, 0) for seed in range(20_000)],
        [uniform(0, place) for place in range(20_000)],
        [uniform(LARGEST_SEED, place) for place in range(20_000)],
        [(uniform(seed, 3) - uniform(seed, 4)) % 1 for seed in range(20_000)],
        [(uniform(seed, 3) - uniform(seed + 1, 3)) % 1 for seed in range(20_000)],
        [(uniform(seed, 3) - uniform(seed + 1, 2)) % 1 for seed in range(20_000)],
    ):
        counts = np.histogram(numbers, 50, (0, 1))[0]
        assert counts.sum() == 20_000
        assert scipy.stats.chisquare(counts).pvalue > 0.001


@KINDS
def test_weights_may_lie_at_any_address(is_int8: bool) -> None:
    model = some_model(is_int8)
    odd = {}
    for name, weight in model.state_dict().items():
        content = np.frombuffer(b"x" + weight.numpy().tobytes(), np.uint8)[1:]
        odd[name] = content.view(weight.numpy().dtype).reshape(weight.shape)
    ids = some_ids(20)
    assert np.array_equal(logits_behind(engine_of(model), ids), logits_behind(engine_of(model, **odd), ids))


def test_what_it_cannot_take_is_refused_before_c_sees_it() -> None:
    model = some_model()
    engine = engine_of(model)
    text = Text(engine, [1, 2], 2)
    for tokens, draws in (
        ([], ()),
        ([(text, 1, 0)] * 65, ()),
        ([(text, -1, 0)], ()),
        ([(text, 512, 0)], ()),
        ([(text, 1, -1)], ()),
        ([(text, 1, 2)], ()),
        ([(text, 1, 0)], [a_draw(rows=2)]),
        ([(text, 1, 0)], [a_draw(rows=0)]),
        ([(text, 1, 0)], [a_draw(top_k=0)]),
        ([(text, 1, 0)], [a_draw(top_k=513)]),
    ):
        with pytest.raises(ValueError, match=r"range|tokens"):
            engine.step(tokens, draws)
    name = "layer_norm.weight"
    good = model.state_dict()[name].numpy()
    for bad, said in (
        (good[1:], "layer_norm.weight has"),
        (good.astype(np.float64), "layer_norm.weight has"),
        (good * np.float32("nan"), "is no number"),
    ):
        with pytest.raises(EngineError, match=said):
            engine_of(model, **{name: bad})
    with pytest.raises(EngineError, match="surplus, which is unknown"):
        engine_of(model, surplus=good)
    with pytest.raises(EngineError, match="the weights lack blocks"):
        Engine({name: good}, model.config)


def test_stories_of_one_engine_may_be_told_by_many_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    engine = engine_of(some_model(), threads=2)
    sampling = Sampling(30, 0.8, 20)

    def tell(seed: int) -> list[int]:
        return [token for (token,) in engine.stream_tokens([some_ids(5 + seed, seed)], [seed], sampling, EOS)]

    alone = [tell(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(tell, range(6))) == alone


def test_a_story_keeps_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(some_model())
    read: list[int] = []
    step = Engine.step

    def counted(self: Engine, tokens: Sequence, draws: Sequence) -> np.ndarray:
        read.append(len(tokens))
        return step(self, tokens, draws)

    monkeypatch.setattr(Engine, "step", counted)
    story = Story(engine, [some_ids(100)], 0, Sampling(3, 0))
    for _ in range(3):
        engine.next_tokens([story])
    assert read == [64, 35, 1, 1, 1]
