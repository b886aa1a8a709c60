"""The pictures of the demo in the README: a sad and a happy story, wide and narrow, light and dark.

uv run python -m deploy.screenshots --checkpoint quickstart/model/last
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from benchmarks.load import demo
from common.cli import parse, run, setting
from common.errors import InputError

LOOKS: dict[str, Any] = {
    f"{name}_{colours}": dict(viewport=dict(width=width, height=height), color_scheme=colours)
    for name, width, height in (("desktop", 1100, 600), ("phone", 390, 844))
    for colours in ("light", "dark")
}


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(None, "the model; default: as app.py chooses")
    topic: str = setting("Pip finds a red kite in the park.", "what the stories are about")
    seed: int = setting(0, "seed of both stories", at_least=0)
    output: str = setting("assets", "folder for demo_desktop_light.png and the other three")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise InputError("no Chromium is installed (on Debian: apt-get install chromium)")
    with demo(settings.checkpoint) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, look in LOOKS.items():
            page = browser.new_page(**look)
            page.goto(address)
            page.get_by_label("What is the story about?").fill(settings.topic)
            page.get_by_label("Sad", exact=True).check()
            page.get_by_role("button", name="More").click()
            page.get_by_label("Seed").fill(str(settings.seed))
            page.get_by_role("button", name="More").click()
            for button, count in (("Tell the story", 1), ("The other ending", 2)):
                page.get_by_role("button", name=button).click()
                expect(page.locator('article[aria-busy="false"]')).to_have_count(count)
            file = Path(settings.output) / f"demo_{name}.png"
            page.screenshot(path=file, full_page=True, animations="disabled")
            print(file)


if __name__ == "__main__":
    run(main)
