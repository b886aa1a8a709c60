"""Stories that come and go while others are told."""

import asyncio
import contextlib
import random
from unittest import mock

import pytest

from generate import choose_token
from inference.sampling import Sampling
from inference.stories import Request, Story, tell_stories
from inference.together import Full, Together
from tiny import prepared

KINDS = pytest.mark.parametrize("kind", ["engine", "engine int8", "torch"])


async def told(together: Together, request: Request, sampling: Sampling) -> Story:
    with together.join(request, sampling) as telling:
        return [news async for news in telling.news()][-1]  # type: ignore[return-value]


@KINDS
def test_each_story_is_the_one_that_is_told_alone(kind: str) -> None:
    """Whoever comes, whoever leaves in the middle, with and without a strength."""
    model = prepared(kind)
    together = Together(model, choose_token)
    dice = random.Random(0)
    asked = [
        (
            Request(f"{i} dogs", dice.choice(["happy", "sad"]), i),
            Sampling(40, 0.9, ending_strength=1 + i % 3 / 2),
        )
        for i in range(30)
    ]

    async def visit(request: Request, sampling: Sampling) -> Story | None:
        await asyncio.sleep(dice.random() / 20)
        if request.seed % 5:
            return await told(together, request, sampling)
        with together.join(request, sampling) as telling:
            async for news in telling.news():
                if isinstance(news, Story):
                    break
        return None

    async def visits() -> list[Story | None]:
        return await asyncio.gather(*(visit(*each) for each in asked))

    for (request, sampling), story in zip(asked, asyncio.run(visits()), strict=True):
        if story:
            assert story == tell_stories(model, [request], sampling, choose_token)[0]
        else:
            assert request.seed % 5 == 0
    assert together._told == together._waiting == []


def test_who_waits_knows_the_place_and_past_the_queue_nobody_comes_in() -> None:
    model = prepared("engine")
    together = Together(model, choose_token, longest_queue=2, most_rows=1)
    sampling = Sampling(100)

    async def visits() -> None:
        with together.join(Request("a dog", "sad", 0), sampling) as first:
            news = first.news()
            while not isinstance(await anext(news), Story):
                pass
            with together.join(Request("a cat", "sad", 1), sampling) as second:
                with together.join(Request("a cow", "sad", 2), sampling) as third:
                    assert (first.place, second.place, third.place) == (None, 1, 2)
                    with pytest.raises(Full, match="2 wait"), together.join(Request("a", "sad", 3), sampling):
                        pass
                    second_news, third_news = second.news(), third.news()
                    assert [await anext(second_news), await anext(third_news)] == [1, 2]
                assert second.place == 1

    asyncio.run(visits())
    assert together._told == together._waiting == []


@KINDS
def test_a_step_that_fails_fails_those_it_was_for_and_no_more(kind: str) -> None:
    model = prepared(kind)
    together = Together(model, choose_token)
    request, sampling = Request("a dog", "sad", 3), Sampling(30)
    step = "hidden" if kind == "torch" else "step"
    with mock.patch.object(model, step, side_effect=MemoryError("no more")), pytest.raises(MemoryError):
        asyncio.run(told(together, request, sampling))
    assert (
        asyncio.run(told(together, request, sampling))
        == tell_stories(model, [request], sampling, choose_token)[0]
    )


def test_a_listener_that_is_slow_gets_the_newest_and_in_the_end_all() -> None:
    model = prepared("engine")
    together = Together(model, choose_token)

    async def listen() -> list[Story | int]:
        with together.join(Request("a dog", "sad", 3), Sampling(100)) as telling:
            return [news async for news in telling.news(pause=0.02)]

    heard = asyncio.run(listen())
    assert heard[-1] == tell_stories(model, [Request("a dog", "sad", 3)], Sampling(100), choose_token)[0]
    assert len(heard) < 100


def test_who_need_not_wait_hears_of_no_place() -> None:
    model = prepared("engine")
    together = Together(model, choose_token, most_rows=2)

    async def visits() -> None:
        with contextlib.ExitStack() as stack:
            tellings = [
                stack.enter_context(together.join(Request("a dog", "sad", seed), Sampling(100)))
                for seed in range(3)
            ]
            assert [telling.place for telling in tellings] == [None, None, 1]
            heard = [news async for news in tellings[0].news()]
            assert all(isinstance(news, Story) for news in heard)

    asyncio.run(visits())
