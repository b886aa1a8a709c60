"""The web demo under load: 40 visitors at once, 500 stories told to four who come again and again, strangers.

    uv run python -m benchmarks.load            # minutes, with the newest model here

app.py runs in a process of its own; visitors, each with an address that a proxy would name, speak to its API
over loopback, and share the cores with it. While the 40 wait, the page is fetched again and again.
"""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx2

from common.cli import parse, run, setting
from common.errors import InputError
from dataset import ENDINGS

ROOT = Path(__file__).parent.parent
TOPICS = (
    "A little dog finds a red ball in the park.",
    "Lily plants a seed.",
    "a lost kite",
    "Tom builds a boat.",
)


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(None, "the model; default: as app.py chooses")
    visitors: int = setting(40, "who come at once", at_least=1)
    stories: int = setting(500, "told afterwards, over which memory is to stay as it is", at_least=8)
    requests: int = setting(10_000, "of each kind that a stranger makes; 0: none", at_least=0)


@dataclass(frozen=True)
class Visit:
    """One request for a story, and what came of it."""

    topic: str
    ending: str
    seed: int
    status: int  # of HTTP; where the queue is full, the stream says so
    text: str | None  # the story, None if refused
    first: float  # seconds to the first text
    whole: float  # seconds to all of it


@contextlib.contextmanager
def demo(checkpoint: str | None) -> Iterator[tuple[str, int]]:
    """app.py, from when it can tell stories: its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
    command += ["--checkpoint", checkpoint] if checkpoint else []
    with subprocess.Popen(command, env=os.environ | {"PROXIES": "127.0.0.1"}) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            while process.poll() is None:
                with contextlib.suppress(httpx2.TransportError):
                    if httpx2.get(f"{address}/health").status_code == 200:
                        break
                time.sleep(0.1)
            else:
                raise InputError("app.py did not start; what it said stands above")
            yield address, process.pid
        finally:
            process.terminate()


async def visit(client: httpx2.AsyncClient, number: int, max_tokens: int = 200) -> Visit:
    topic, ending, seed = TOPICS[number % len(TOPICS)], ENDINGS[number // len(TOPICS) % 2], number
    start = time.perf_counter()
    asked = {"data": [topic, ending, 0.7, max_tokens, 1.0, seed]}
    joined = await client.post("/gradio_api/call/story", json=asked, headers=of(number))
    if joined.status_code != 200:
        return Visit(topic, ending, seed, joined.status_code, None, 0.0, time.perf_counter() - start)
    event, first, text = "", 0.0, None
    async with client.stream("GET", f"/gradio_api/call/story/{joined.json()['event_id']}") as lines:
        async for line in lines.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event in ("generating", "complete"):
                first = first or time.perf_counter() - start
                if event == "complete":
                    text = json.loads(value)[0]["text"]
    return Visit(topic, ending, seed, joined.status_code, text, first, time.perf_counter() - start)


def of(number: int) -> dict[str, str]:
    """The address of a visitor, in a header."""
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


@contextlib.asynccontextmanager
async def visitors(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as client:
        yield client


async def crowd(address: str, count: int) -> tuple[list[Visit], list[float]]:
    """`count` visitors at once; and the seconds that the page took, fetched again and again meanwhile."""
    async with visitors(address) as client:
        visits = asyncio.gather(*(visit(client, number) for number in range(count)))
        pages = []
        while not visits.done():
            start = time.perf_counter()
            (await client.get("/")).raise_for_status()
            pages.append(time.perf_counter() - start)
        return await visits, pages


async def stream(address: str, pid: int, count: int, max_tokens: int = 200) -> list[int]:
    """`count` stories told to four visitors; after each, the bytes that app.py holds."""
    held = []
    async with visitors(address) as client:

        async def come_again(first: int) -> None:
            for number in range(first, count, 4):
                assert (await visit(client, number, max_tokens)).text is not None
                held.append(resident(pid))

        await asyncio.gather(*map(come_again, range(4)))
    return held


async def come_and_go(client: httpx2.AsyncClient, number: int, function: int) -> httpx2.Response:
    session = {"session_hash": f"s{number}", "fn_index": function}
    body = session | {"data": ["a dog", "sad", 0.7, 200, 1.0, number]}
    joined = await client.post("/gradio_api/queue/join", json=body, headers=of(number))
    return await client.post("/gradio_api/cancel", json=session | joined.json())


def ask(*asked: object) -> "Stranger":
    """A job of the API whose stream is never opened."""
    return lambda client, number, _: client.post(
        "/gradio_api/call/story", json={"data": asked}, headers=of(number)
    )


# Given a client, a number of its own and that of the function behind the API.
Stranger: TypeAlias = Callable[[httpx2.AsyncClient, int, int], Awaitable[httpx2.Response]]
JSON = {"Content-Type": "application/json"}
STRANGERS: dict[str, Stranger] = {
    "the page": lambda client, *_: client.get("/"),
    "no such page": lambda client, number, _: client.get(f"/gradio_api/file={number}"),
    "not JSON": lambda client, *_: client.post("/gradio_api/queue/join", content=b"[" * 8_000, headers=JSON),
    "too few values": ask(""),
    "never read": ask("a dog", "sad", 0.7, 20, 1.0, 0),
    "join and cancel": come_and_go,
}


async def strangers(address: str, pid: int, kind: str, count: int) -> tuple[list[int], Counter[int]]:
    """`count` requests of a kind by eight at once; after each, what app.py holds; and the statuses."""
    held: list[int] = []
    answers: Counter[int] = Counter()
    async with visitors(address) as client:
        functions = (await client.get("/config")).json()["dependencies"]
        (api,) = (each["id"] for each in functions if each["api_name"] == "story")

        async def come_again(first: int) -> None:
            for number in range(first, count, 8):
                answers[(await STRANGERS[kind](client, number, api)).status_code] += 1
                held.append(resident(pid))

        await asyncio.gather(*map(come_again, range(8)))
    return held, answers


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    with demo(settings.checkpoint) as (address, pid):
        visits, pages = asyncio.run(crowd(address, settings.visitors))
        answered = [visit for visit in visits if visit.text is not None]
        refused = len(visits) - len(answered)
        print(f"{settings.visitors} visitors at once: {len(answered)} answered, {refused} refused")
        for what, seconds in (
            ("first text", [visit.first for visit in answered]),
            ("whole story", [visit.whole for visit in answered]),
            ("the page", pages),
        ):
            print(f"{what:<12} after {statistics.median(seconds):5.2f} s, at most {max(seconds):5.2f} s")
        start = time.perf_counter()
        held = asyncio.run(stream(address, pid, settings.stories))
        report("stories", held, start)
        for kind in STRANGERS if settings.requests else ():
            start = time.perf_counter()
            held, answers = asyncio.run(strangers(address, pid, kind, settings.requests))
            report(f"{kind} ({', '.join(map(str, answers))})", held, start)


def report(what: str, held: list[int], start: float) -> None:
    rate = len(held) / (time.perf_counter() - start)
    marks = [held[(len(held) - 1) * part // 5] // 10**6 for part in range(6)]
    print(f"{len(held):,} x {what}, {rate:,.1f} a second; memory, MB:", *marks)


if __name__ == "__main__":
    run(main)
