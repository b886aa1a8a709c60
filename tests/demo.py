"""The web demo, served by a thread of the test, with a model that tells as much as the test allows."""

import contextlib
import functools
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import uvicorn

import app
from clean_environment import ROOT
from common.endings import ENDINGS
from dataset import taught
from generate import choose_token
from inference import engine
from inference.engine import Engine
from inference.sampling import Sampling
from inference.stories import Request, Story, encode_prompt, tell_stories
from inference.together import Together
from serving.fence import networks
from serving.jobs import Jobs
from serving.server import VISITOR_HEADER, Connection

NANO = ROOT / "assets" / "nano_base"
ASKED = ["a dog", "sad", 0.7, 200, 1, 3]  # of the API
CALL = "/gradio_api/call/story"
ENOUGH = 100_000  # tokens, for any test
# Setting up a client takes longer than most requests, and a connection that is kept waits 40 ms a request.
VISITOR = httpx2.Client(timeout=60, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))


def nano(endings: tuple[str, ...] = ENDINGS) -> Engine:
    model = Engine.from_file(NANO / "model.safetensors", threads=1)
    model.taught = taught(endings)
    return model


@functools.cache
def told(topic: str, ending: str, seed: int, endings: tuple[str, ...] = ENDINGS) -> Story:
    """What nano tells with the page's settings."""
    model = nano(endings)
    room = model.config.context_length - len(encode_prompt(model, topic, ending))
    return tell_stories(model, [Request(topic, ending, seed)], Sampling(min(200, room), 0.7), choose_token)[0]


class Pace:
    """Holds a model before each of its steps until that is allowed, and counts them."""

    def __init__(self, model: Engine) -> None:
        self.model, self.steps = model, 0
        self._allowed = threading.Semaphore(0)
        self._next_tokens = model.next_tokens
        model.next_tokens = self._paced  # type: ignore[method-assign]

    def _paced(self, stories: Sequence[engine.Story]) -> list[int]:
        assert self._allowed.acquire(timeout=60)
        self.steps += 1
        return self._next_tokens(stories)

    def allow(self, steps: int) -> None:
        self._allowed.release(steps)


_jobs: dict[str, Jobs] = {}
_servers: dict[str, uvicorn.Server] = {}


def jobs_of(address: str) -> Jobs:
    """Of a demo that is served."""
    return _jobs[address]


@contextlib.contextmanager
def served(
    model: Engine | Together,
    share: int = 100,
    proxies: str = "127.0.0.1",
    visitor_header: str = VISITOR_HEADER,
    **limits: int,
) -> Iterator[str]:
    """The demo's address. Who comes from there may name a visitor's, as a proxy does."""
    listening = app.listen("127.0.0.1", 0)
    listening.listen()  # from now on requests wait for the server
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    together = model if isinstance(model, Together) else Together(model, choose_token, share, **limits)
    demo = app.build_demo(together, "a tiny model", networks(proxies), visitor_header)
    _jobs[address] = demo.state.jobs
    config = uvicorn.Config(
        demo,
        http=Connection,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = _servers[address] = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join()


def cut(address: str) -> None:
    """All connections to a demo that is served break off."""
    for connection in [*_servers[address].server_state.connections]:
        connection.loop.call_soon_threadsafe(connection.transport.abort)  # type: ignore[union-attr]


def post(address: str, path: str, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return VISITOR.post(
        address + path, content=content, headers={"Content-Type": "application/json", **headers}
    )


def call(address: str, asked: list[Any] = ASKED, **headers: str) -> str:
    """The id of a job."""
    return post(address, CALL, {"data": asked}, **headers).raise_for_status().json()["event_id"]


class Reader:
    """Of a job's stream, by a thread of its own."""

    def __init__(self, address: str, asked: list[Any] = ASKED, of: str = "") -> None:
        job = call(address, asked, **({"X-Forwarded-For": of} if of else {}))
        self.began = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._text = self._thread.submit(self._read, f"{address}{CALL}/{job}")

    def _read(self, address: str) -> str:
        lines = []
        with VISITOR.stream("GET", address) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                self.began.set()
        return "\n".join(lines)

    def text(self) -> str:
        return self._text.result(60)
