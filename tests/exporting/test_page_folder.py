"""The page without a server, in a real Chromium: the same stories, offline too, and a line when it cannot."""

import contextlib
import functools
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

import export
from chromium import DESKTOP, PHONE, launched
from common.presets import PRESETS
from dataset import taught
from demo import NANO
from exporting import page_folder
from generate import choose_token
from inference.opening import open_model
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import GPT2, load_model
from tiny import with_biases

POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:"
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
    """Any web server, with a strict policy. What begins with one of `cut` breaks off in the middle."""

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("page") / "page"
    export.main(["--checkpoint", str(NANO), "--format", "page", "--output", str(output)])
    return output


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


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
        expect(page.get_by_role("button", name="Tell the story")).to_be_enabled()
        yield page
        assert wrong == []
        assert [url for url in asked if not url.startswith((address, "data:", "about:"))] == []


def ask(page: Page, topic: str, ending: str, seed: int) -> None:
    page.get_by_label("What is the story about?").fill(topic)
    page.get_by_label(ending.capitalize(), exact=True).check()
    if not page.get_by_label("Seed").is_visible():
        page.get_by_text("More", exact=True).click()
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_role("button", name="Tell the story").click()


def story(page: Page, ending: str) -> Locator:
    return page.locator("article", has_text=f"{ending} ending").locator("p")


def told(folder: Path, topic: str, ending: str, seed: int, tokens: int = 200, **how: float) -> str:
    model = open_model(str(folder / "model.safetensors"), "cpu").model
    sampling = Sampling(tokens, **({"temperature": 0.7} | how))  # type: ignore[arg-type]
    return tell_stories(model, [Request(topic, ending, seed)], sampling, choose_token)[0].text


def tell_in(page: Page, folder: Path, tokens: int) -> None:
    """20 stories, compared."""
    ways = [(0.7, 1.0), (0.1, 1.0), (1.4, 1.5), (0.7, 0.0)]  # temperature, strength
    asked = [(TOPICS[i % 5], ("happy", "sad")[i % 2], 4_294_967_295 - i, *ways[i % 4]) for i in range(20)]
    names = ("topic", "ending", "seed", "temperature", "strength")
    stories = page.evaluate(
        TELL_ALL, [dict(zip(names, each, strict=True)) | {"maxTokens": tokens} for each in asked]
    )
    for found, (topic, ending, seed, temperature, strength) in zip(stories, asked, strict=True):
        how = dict(temperature=temperature, ending_strength=strength)
        assert found["text"] == told(folder, topic, ending, seed, tokens, **how)


def test_twenty_stories_are_those_of_generate_to_the_byte(
    browser: Browser, address: str, folder: Path
) -> None:
    with opened(browser, address) as page:
        tell_in(page, folder, 150)


@pytest.mark.slow
def test_those_of_a_model_of_30m_are_too(browser: Browser, tmp_path: Path) -> None:
    model = with_biases(GPT2(**asdict(PRESETS["30m"].config)))
    model.taught = taught(("happy", "sad"))
    page_folder.write(tmp_path, "random", model)
    with served(tmp_path) as address, opened(browser, address) as page:
        tell_in(page, tmp_path, 60)


@pytest.mark.parametrize("look", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_story_is_told_with_its_other_ending_and_by_its_link_without_a_network(
    look: dict[str, Any], browser: Browser, address: str, folder: Path
) -> None:
    with opened(browser, address, look) as page:
        ask(page, TOPICS[2], "sad", 3)
        sad, happy = story(page, "Sad"), story(page, "Happy")
        expect(sad).to_have_text(told(folder, TOPICS[2], "sad", 3))
        page.get_by_role("button", name="The other ending").click()
        expect(happy).to_have_text(told(folder, TOPICS[2], "happy", 3))
        expect(sad).to_have_text(told(folder, TOPICS[2], "sad", 3))
        link = page.get_by_role("link", name="seed 3: the same story again").first.get_attribute("href")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        page.evaluate("navigator.serviceWorker.ready.then(() => undefined)")
        page.context.set_offline(True)
        page.goto("about:blank")
        page.goto(f"{address}{link}")
        expect(sad).to_have_text(told(folder, TOPICS[2], "sad", 3))
        expect(page.get_by_label("What is the story about?")).to_have_value(TOPICS[2])


def test_a_story_is_stopped_and_a_second_one_ends_the_first(browser: Browser, tmp_path: Path) -> None:
    """Of a model that is slow enough to see it."""
    config = asdict(PRESETS["nano"].config) | dict(context_length=2000, embedding_dim=384)
    model = with_biases(GPT2(**config))
    model.taught = taught(("happy", "sad"))
    page_folder.write(tmp_path, "slow", model)
    with served(tmp_path) as address, opened(browser, address) as page:
        page.get_by_text("More", exact=True).click()
        page.get_by_label("Longest story, in tokens").fill("1900")
        ask(page, "a dog", "sad", 1)
        sad = story(page, "Sad")
        expect(sad).not_to_have_text("")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("article")).to_have_attribute("aria-busy", "false")
        stopped = sad.inner_text()
        ask(page, "a cat", "happy", 2)
        expect(story(page, "Happy")).not_to_have_text("")
        ask(page, "a dog", "sad", 1)
        expect(page.locator("article")).to_have_count(1)
        longer = "text => document.querySelector('article p').innerText.length > text.length"
        page.wait_for_function(longer, arg=stopped)
        assert sad.inner_text().startswith(stopped)
        page.get_by_role("button", name="Stop").click()


@pytest.mark.parametrize("name", ["model.safetensors", "gpt2.tiktoken", "engine.wasm", "model.json"])
@pytest.mark.parametrize("how", ["broken off", "changed", "away"])
def test_what_did_not_arrive_as_it_should_is_one_line(
    name: str, how: str, browser: Browser, folder: Path, tmp_path: Path
) -> None:
    here = shutil.copytree(folder, tmp_path / "page")
    if how == "changed":
        content = bytearray((here / name).read_bytes())
        content[0] ^= 1
        (here / name).write_bytes(content)
    if how == "away":
        (here / name).unlink()
    with served(here, *([name] if how == "broken off" else [])) as address, browser.new_page() as page:
        page.goto(address)
        expect(page.get_by_role("status")).to_contain_text("Reload the page.")
        if name != "model.json":
            expect(page.get_by_role("status")).to_contain_text(name)
        assert page.get_by_role("button", name="Tell the story").is_disabled()


def test_a_browser_that_lacks_simd_is_told_so(browser: Browser, folder: Path, tmp_path: Path) -> None:
    """It takes the engine for no WebAssembly that it knows."""
    here = shutil.copytree(folder, tmp_path / "page")
    unknown = b"\0asm\2\0\0\0"
    (here / "engine.wasm").write_bytes(unknown)
    said = json.loads((here / "model.json").read_text())
    said["files"]["engine.wasm"] = dict(bytes=len(unknown), sha256=hashlib.sha256(unknown).hexdigest())
    (here / "model.json").write_text(json.dumps(said))
    with served(here) as address, browser.new_page() as page:
        page.goto(address)
        expect(page.get_by_role("status")).to_contain_text("lacks WebAssembly's SIMD")


def test_what_cannot_be_told_is_said(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        status = page.get_by_role("status")
        ask(page, "   ", "sad", 1)
        expect(status).to_have_text("Say what the story is about.")
        page.evaluate("document.querySelector('#topic').value = 'x y '.repeat(12500)")
        page.get_by_role("button", name="Tell the story").click()
        expect(status).to_have_text("That is too long; shorten it.")
        ask(page, "a dog", "sad", 1)
        expect(page.locator("#news")).to_have_text("")
        expect(page.locator("article")).to_have_attribute("aria-busy", "false")


@pytest.mark.slow
def test_the_engine_in_it_is_that_of_the_source_to_the_byte(tmp_path: Path) -> None:
    page_folder.build_wasm(tmp_path / "engine.wasm")
    assert (tmp_path / "engine.wasm").read_bytes() == (page_folder.PAGE / "engine.wasm").read_bytes()


def test_the_page_is_small(folder: Path) -> None:
    assert sum((folder / name).stat().st_size for name in page_folder.COPIED) <= 100_000
    float32 = 4 * sum(parameter.numel() for parameter in load_model(NANO).parameters())
    assert (folder / "model.safetensors").stat().st_size <= 0.27 * float32
