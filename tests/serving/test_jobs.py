"""Jobs that begin, are stopped and left at every moment there is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from serving import jobs as module
from serving.jobs import Jobs, gr

TURNS = range(25)  # of the event loop; a job of five numbers has fewer


class Numbers:
    """A page whose function counts to five, and what became of its calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

        async def numbers(visitor: gr.Request, fails_at: int) -> AsyncIterator[int]:
            self.calls["began"] += 1
            try:
                for number in range(5):
                    if number == fails_at:
                        raise ValueError("Rumpelstiltskin")
                    await asyncio.sleep(0)
                    yield number
            finally:
                self.calls["ended"] += 1

        with gr.Blocks() as page:
            gr.api(numbers)
        self.jobs = Jobs(page)

    def join(self, session: str = "s", of: str = "192.0.2.1", fails_at: int = -1) -> str:
        visitor: Any = SimpleNamespace(client=SimpleNamespace(host=of))
        return self.jobs.join(session, self.jobs.of_api("numbers"), [fails_at], visitor)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def read(page: Numbers) -> list[dict[str, Any]]:
    return [message async for message in page.jobs.messages("s")]


def check_ended(page: Numbers) -> None:
    assert page.calls["began"] == page.calls["ended"]
    assert len(page.jobs) == 0
    assert page.jobs._streams == {}


def test_a_job_is_told_from_its_start_to_its_end() -> None:
    page = Numbers()

    async def run() -> None:
        name = page.join()
        *messages, last = await read(page)
        assert {message["event_id"] for message in messages} == {name}
        assert [message["msg"].removeprefix("process_") for message in messages] == [
            *("starts", *["generating"] * 5, "completed")
        ]
        assert [message["output"]["data"] for message in messages[1:]] == [[i] for i in (0, 1, 2, 3, 4, 4)]
        assert last == {"msg": "close_stream"}

    asyncio.run(run())
    check_ended(page)


@pytest.mark.parametrize("count", TURNS[1:])
def test_a_stream_that_is_left_at_any_moment_leaves_nothing(count: int) -> None:
    page = Numbers()

    async def run() -> None:
        page.join()
        page.join()
        reading = asyncio.create_task(read(page))
        await turns(count)
        reading.cancel()
        await asyncio.wait([reading])
        await turns(10)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    check_ended(page)


@pytest.mark.parametrize("count", TURNS)
def test_a_job_that_is_stopped_at_any_moment_ends_its_stream(count: int) -> None:
    page = Numbers()

    async def run() -> None:
        name = page.join()
        reading = asyncio.create_task(read(page))
        await turns(count)
        for session, job in (("other", name), ("s", "other"), ("s", name), ("s", name)):
            page.jobs.stop(session, job)
        async with asyncio.timeout(60):
            assert (await reading)[-1] == {"msg": "close_stream"}

    asyncio.run(run())
    check_ended(page)


def test_a_job_that_comes_while_another_is_read_is_told_in_the_same_stream() -> None:
    page = Numbers()

    async def run() -> None:
        names = {page.join()}
        reading = asyncio.create_task(read(page))
        await turns(5)
        names.add(page.join())
        messages = await reading
        assert {message["event_id"] for message in messages if message["msg"] == "process_completed"} == names

    asyncio.run(run())
    check_ended(page)


def test_what_fails_says_so_without_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    page = Numbers()

    async def run() -> None:
        page.join(fails_at=2)
        messages = await read(page)
        assert (messages[-2]["success"], messages[-2]["output"]["error"]) == (
            False,
            "the story failed; try again",
        )

    asyncio.run(run())
    check_ended(page)
    assert capfd.readouterr() == ("", "note: a job failed: ValueError\n")


def test_where_there_is_no_room_the_oldest_that_nobody_reads_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_JOBS", 5)
    page = Numbers()
    names = [page.join(f"s{number}", f"192.0.2.{number}") for number in range(9)]
    assert list(page.jobs._jobs) == names[-5:]
