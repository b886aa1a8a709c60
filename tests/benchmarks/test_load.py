"""Many visitors at a real app.py, over loopback."""

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.load import crowd, demo, stream
from demo import NANO, told


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    with demo(str(NANO)) as (address, pid):
        yield address, pid


def test_of_40_at_once_each_gets_its_own_story_or_is_told_that_the_queue_is_full(
    server: tuple[str, int],
) -> None:
    visits, pages = asyncio.run(crowd(server[0], 40))
    assert pages  # the page was there meanwhile
    answered = [visit for visit in visits if visit.text is not None]
    assert all(visit.status == 503 for visit in visits if visit.text is None)
    assert 30 <= len(answered) < 40
    for visit in answered:
        assert visit.text == told(visit.topic, visit.ending, visit.seed).text


@pytest.mark.slow
def test_memory_stays_as_it_is_over_500_stories(server: tuple[str, int]) -> None:
    held = asyncio.run(stream(*server, 500, max_tokens=60))
    assert held[-1] - held[100] < 10 * 2**20
