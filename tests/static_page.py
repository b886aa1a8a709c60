"""A page that export.py wrote, from a plain web server of the test, in Chromium."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from chromium import PHONE
from generate import choose_token
from inference.opening import open_model
from inference.sampling import Sampling
from inference.stories import Request, tell_stories

POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
TOPICS = (
    "a lost dog",
    "  Pip  finds\na red kite in the park. ",
    "\U0001f98a and \U0001f469\u200d\U0001f680 fly, don't they?",
    "\u05db\u05dc\u05d1 \u05e7\u05d8\u05df \u202e\u0643\u0644\u0628",
    "a<|endoftext|>b <script>alert(1)</script> \x85\ufeff\u3000.",
)
TELL_ALL = """async (asked) => {
    const { Teller } = await import("./teller.js");
    const told = await (await fetch("model.json")).json();
    const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
    const made = await WebAssembly.instantiate(await bytes("engine.wasm"));
    const ranks = new TextDecoder("latin1").decode(await bytes("gpt2.tiktoken"));
    const teller = new Teller(made.instance.exports, await bytes("model.safetensors"), ranks, told);
    return asked.map((each) => { let story; for (story of teller.stream(each)); return story; });
}"""


class Handler(SimpleHTTPRequestHandler):
    """With a strict policy. What begins with one of `cut` breaks off in the middle."""

    cut: tuple[str, ...] = ()

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        is_cut = self.path.lstrip("/").startswith(self.cut)
        outputfile.write(content[: len(content) // 2] if is_cut else content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, *cut: str) -> Iterator[str]:
    handler = type("Cutting", (Handler,), {"cut": cut})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def opened(browser: Browser, address: str, look: dict[str, Any] = PHONE) -> Iterator[Page]:
    """The page, with its model. Nothing may be wrong with it, and nothing may come from elsewhere."""
    with browser.new_context(**look) as context:
        page = context.new_page()
        wrong: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        expect(page.get_by_role("button", name="Tell the story")).to_be_enabled(timeout=30_000)
        yield page
        assert wrong == []
        assert [url for url in asked if not url.startswith((address, "about:"))] == []


def told(folder: Path, topic: str, ending: str, seed: int, tokens: int = 200, **how: float) -> str:
    """What generate.py tells with the page's model."""
    model = open_model(str(folder / "model.safetensors"), "cpu").model
    sampling = Sampling(tokens, **({"temperature": 0.7} | how))  # type: ignore[arg-type]
    return tell_stories(model, [Request(topic, ending, seed)], sampling, choose_token)[0].text


def compare_twenty(page: Page, folder: Path, tokens: int = 150) -> None:
    """20 stories of the page with those of generate.py, to the byte."""
    ways = [(0.7, 1.0), (0.1, 1.0), (1.4, 1.5), (0.7, 0.0)]  # temperature, strength
    asked = [(TOPICS[i % 5], ("happy", "sad")[i % 2], 4_294_967_295 - i, *ways[i % 4]) for i in range(20)]
    names = ("topic", "ending", "seed", "temperature", "strength")
    stories = page.evaluate(
        TELL_ALL, [dict(zip(names, each, strict=True)) | {"maxTokens": tokens} for each in asked]
    )
    for found, (topic, ending, seed, temperature, strength) in zip(stories, asked, strict=True):
        how = dict(temperature=temperature, ending_strength=strength)
        assert found["text"] == told(folder, topic, ending, seed, tokens, **how)
