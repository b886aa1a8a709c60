"""The pictures in the README, of the demo or of a page without a server: a sad and a happy story, wide and
narrow, light and dark.

    uv run python -m deploy.screenshots --checkpoint quickstart/model/last
    uv run python -m deploy.screenshots --page quickstart/model/page
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from benchmarks import browser, load
from common.cli import parse, run, setting
from common.errors import InputError

LOOKS: dict[str, Any] = {
    f"{name}_{colours}": dict(viewport=dict(width=width, height=height), color_scheme=colours)
    for name, width, height in (("desktop", 1100, 600), ("phone", 390, 844))
    for colours in ("light", "dark")
}
COLOURS = 64  # of a picture


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(None, "the model of the demo; default: as app.py chooses")
    page: str | None = setting(None, "what export.py --format page wrote, in the place of the demo")
    topic: str = setting("Pip finds a red kite in the park.", "what the stories are about")
    seed: int = setting(0, "seed of both stories", at_least=0)
    output: str = setting("assets", "folder for demo_desktop_light.png, or page_..., and the other three")


def take(address: str, settings: Settings, name: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise InputError("no Chromium is installed (on Debian: apt-get install chromium)")
    link = urlencode(dict(topic=settings.topic, ending="sad", seed=settings.seed))
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for look, how in LOOKS.items():
            page = opened.new_page(**how)
            page.goto(f"{address}#{link}")
            told = page.locator('article[aria-busy="false"]')
            expect(told).to_have_count(1, timeout=60_000)
            page.get_by_role("button", name="The other ending").click()
            expect(told).to_have_count(2, timeout=60_000)
            file = Path(settings.output) / f"{name}_{look}.png"
            page.screenshot(path=file, full_page=True, animations="disabled")
            with Image.open(file) as picture:
                picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)
            print(file)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.page:
        with browser.served(Path(settings.page)) as address:
            take(address, settings, "page")
    else:
        with load.demo(settings.checkpoint) as (address, _):
            take(address, settings, "demo")


if __name__ == "__main__":
    run(main)
