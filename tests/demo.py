"""The web demo, served by a thread of the test, with a model that tells as much as the test allows."""

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence

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

NANO = ROOT / "assets" / "nano_base"
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


@contextlib.contextmanager
def served(model: Engine, at_once: int) -> Iterator[str]:
    """The demo's address."""
    listening = app.listen("127.0.0.1", 0)
    listening.listen()  # from now on requests wait for the server
    demo = app.build_server(model, "a tiny model", at_once)
    server = uvicorn.Server(
        uvicorn.Config(demo, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
