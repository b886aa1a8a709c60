"""Many visitors at a real app.py, over loopback."""

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.load import STRANGERS, crowd, demo, strangers, stream
from demo import NANO, told


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    with demo(str(NANO)) as (address, pid):
        yield address, pid


def test_of_40_at_once_each_gets_its_own_story(server: tuple[str, int]) -> None:
    visits, pages = asyncio.run(crowd(server[0], 40))
    assert pages  # the page was there meanwhile
    for visit in visits:
        assert visit.text == told(visit.topic, visit.ending, visit.seed).text


@pytest.mark.slow
def test_memory_stays_as_it_is_over_500_stories(server: tuple[str, int]) -> None:
    held = asyncio.run(stream(*server, 500, max_tokens=60))
    assert held[-1] - held[100] < 10 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRANGERS)
def test_memory_stays_as_it_is_whatever_strangers_do(server: tuple[str, int], kind: str) -> None:
    held, _ = asyncio.run(strangers(*server, kind, 1000))
    assert held[-1] - held[200] < 10 * 2**20
