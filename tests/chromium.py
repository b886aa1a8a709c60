"""A real browser: what the system has, Debian's Chromium or Chrome. Two looks at a page."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESKTOP: dict[str, Any] = dict(viewport=dict(width=1280, height=900), color_scheme="light")
PHONE: dict[str, Any] = dict(viewport=dict(width=390, height=844), color_scheme="dark", has_touch=True)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium is installed (on Debian: apt-get install chromium)"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=SWITCHES)
