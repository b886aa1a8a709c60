"""The page without a server, in a real Chromium: the same stories, offline too, and a line when it cannot."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

import export
from chromium import DESKTOP, PHONE, launched
from common.endings import write_taught
from common.presets import PRESETS
from dataset import taught
from demo import NANO
from exporting import page_folder
from model import GPT2, load_model
from static_page import TOPICS, compare_twenty, opened, served, told
from tiny import with_biases


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


def ask(page: Page, topic: str, ending: str, seed: int) -> None:
    page.get_by_label("What is the story about?").fill(topic)
    page.get_by_label(ending.capitalize(), exact=True).check()
    if not page.get_by_label("Seed").is_visible():
        page.get_by_text("More", exact=True).click()
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_role("button", name="Tell the story").click()


def story(page: Page, ending: str) -> Locator:
    return page.locator("article", has_text=f"{ending} ending").locator("p")


def test_twenty_stories_are_those_of_generate_to_the_byte(
    browser: Browser, address: str, folder: Path
) -> None:
    with opened(browser, address) as page:
        compare_twenty(page, folder)


@pytest.mark.slow
def test_those_of_a_model_of_30m_are_too(browser: Browser, tmp_path: Path) -> None:
    model = with_biases(GPT2(**asdict(PRESETS["30m"].config)))
    model.taught = taught(("happy", "sad"))
    page_folder.write(tmp_path, "random", model)
    with served(tmp_path) as address, opened(browser, address) as page:
        compare_twenty(page, tmp_path, 60)


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
        page.wait_for_function(
            "navigator.serviceWorker.getRegistration().then((found) => Boolean(found?.active))"
        )
        page.context.set_offline(True)
        page.goto("about:blank")
        page.goto(f"{address}index.html?from=afar{link}")
        expect(sad).to_have_text(told(folder, TOPICS[2], "sad", 3))
        expect(page.get_by_label("What is the story about?")).to_have_value(TOPICS[2])


def test_a_link_says_all_of_a_story_or_is_refused(browser: Browser, address: str, folder: Path) -> None:
    link = "#topic=a+fox&ending=sad&temperature=1.25&max_tokens=33&ending_strength=1.5&seed=7"
    how = dict(temperature=1.25, ending_strength=1.5)
    with opened(browser, address) as page:
        page.goto(f"{address}{link}")
        expect(story(page, "Sad")).to_have_text(told(folder, "a fox", "sad", 7, 33, **how))
        expect(page.locator("article")).to_contain_text("tokens, ")
        page.goto(f"{address}#topic=a+fox&ending=happy&seed=8")
        expect(story(page, "Happy")).to_have_text(told(folder, "a fox", "happy", 8))
        for wrong in ("seed=abc", "seed=1&ending=odd", "seed=1&temperature=99", "seed=1&max_tokens=1"):
            page.goto(f"{address}#topic=a+fox&{wrong}")
            expect(page.get_by_role("status")).to_have_text("The link asks for what cannot be told here.")
            page.goto(f"{address}#")
            page.reload()
            expect(page.get_by_role("button", name="Tell the story")).to_be_enabled()


def test_of_three_endings_each_other_has_its_button(browser: Browser, tmp_path: Path) -> None:
    model = load_model(NANO)
    model.taught = taught(("funny", "happy", "sad"))
    page_folder.write(tmp_path, "three", model)
    write_taught(tmp_path, model.taught)
    with served(tmp_path) as address, opened(browser, address) as page:
        ask(page, "a fox", "happy", 1)
        for ending in ("sad", "funny"):
            page.get_by_role("button", name=f"{ending.capitalize()} ending").click()
            expected = told(tmp_path, "a fox", ending, 1)
            expect(story(page, ending.capitalize())).to_have_text(expected)
        expect(story(page, "Happy")).to_have_text(told(tmp_path, "a fox", "happy", 1))


def test_what_was_kept_and_changed_is_fetched_anew(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        changed = """async () => {
            const cache = await caches.open("tiny-tales");
            for (const { url } of await cache.keys()) {
                if (url.includes("tiktoken")) await cache.put(url, new Response("none"));
            }
        }"""
        page.evaluate(changed)
        page.reload()
        expect(page.get_by_role("button", name="Tell the story")).to_be_enabled(timeout=30_000)


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
