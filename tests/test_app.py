"""The demo without a browser: its API, its limits, its start."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio
import httpx2
import pytest
import yaml
from gradio_client import Client
from huggingface_hub import metadata_load
from packaging.specifiers import SpecifierSet

import app
import generate
from model import newest_checkpoint
from tests.demo import NANO, nano, served, told
from tests.hub_user import ROOT

DEFAULTS: dict[str, Any] = dict(
    topic="a dog", ending="sad", temperature=0.7, max_tokens=200, ending_strength=1, seed=3
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(nano(), at_once=2) as address:
        yield address


def call(address: str, **asked: Any) -> tuple[str, Any]:
    """How a request to the API ended, `complete` or `error`, and what came with it."""
    data = json.dumps({"data": list((DEFAULTS | asked).values())})  # NaN as it is
    url = f"{address}/gradio_api/call/story"
    event = httpx2.post(url, content=data, headers={"Content-Type": "application/json"}).json()["event_id"]
    *_, name, value = httpx2.get(f"{url}/{event}", timeout=60).text.split()
    return "", None


@pytest.mark.parametrize(("ending", "seed"), [("happy", 0), ("sad", 0), ("sad", 7)])
def test_the_api_tells_what_generate_tells(
    address: str, ending: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ...
