"""How long the scripts go on asking a Hub that fails, and what they say when it is this machine that does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import close_session, get_session

from common import retry
from common.errors import InputError
from fake_hub import FakeHub
from hub_user import (
    FINETUNED,
    RAW,
    STORY,
    User,
    weights,
)
from tiny import tiny_model


@pytest.mark.parametrize("place", ["GET /api/.*/tree", "GET /objects", "HEAD"])
def test_a_hub_that_asks_for_too_long_a_rest_is_taken_at_its_word(
    place: str, hub: FakeHub, user: User, tmp_path: Path
) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    hub.fail(place, status=429, headers={"Retry-After": "3600"}, times=10**6)
    assert "the Hub asks to wait 3,600 s; try again then" in user.fail(*STORY)


def test_patience_with_long_work_begins_at_its_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "GIVE_UP_AFTER", 0.05)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)

    tries = []

    def work() -> str:
        tries.append(time.monotonic())
        if len(tries) == 1:
            while time.monotonic() < tries[0] + 0.1:
                pass
            raise httpx2.ReadError("lost")
        return "done"

    assert retry.with_retries("work", work, long=True) == "done"
    tries.clear()
    with pytest.raises(InputError, match="for too long"):
        retry.with_retries("work", work)


def test_a_renewed_client_does_not_wait_for_ever_either() -> None:
    retry.set_up_client()
    close_session()
    assert retry._limit_waiting in get_session().event_hooks["request"]


def test_a_rate_limit_is_waited_for(hub: FakeHub, user: User, tmp_path: Path) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    limit = {"RateLimit": '"api";r=0;t=0', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    hub.fail("GET /api/models/[^/]*/[^/]*$", status=429, headers=limit)
    assert (
        "the Hub answers 429 Too Many Requests: a fault; trying again in 1 s" in user.succeed(*STORY).stderr
    )
    limit["RateLimit"] = '"api";r=0;t=3000'
    hub.fail("GET /api/models/[^/]*/[^/]*$", status=429, headers=limit)
    assert "the Hub asks to wait 3,001 s; try again then" in User(tmp_path / "other").fail(*STORY)


@pytest.mark.parametrize(
    ("endpoint", "given", "is_off"),
    [
        ("https://huggingface.co", None, False),
        ("https://hub.example", None, True),
        ("https://huggingface.co", "1", True),
        ("https://hub.example", "0", False),
    ],
)
def test_xet_is_for_the_hub_itself_unless_somebody_says_otherwise(
    endpoint: str, given: str | None, is_off: bool
) -> None:
    """In a process of its own: huggingface_hub reads the variables when it is imported."""
    program = (
        "from huggingface_hub import constants; from common.retry import set_up_client;"
        "set_up_client(); print(constants.HF_HUB_DISABLE_XET)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_XET"}
    environment |= {"HF_ENDPOINT": endpoint} | ({"HF_HUB_DISABLE_XET": given} if given else {})
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(is_off), done.stderr


@pytest.mark.parametrize("script", [["prepare_data.py"], STORY, ["finetune.py"]])
def test_a_server_that_never_answers_is_given_up(script: list[str], hub: FakeHub, user: User) -> None:
    hub.fail(".*", silent=True, times=10**6)
    assert "no answer from the Hub, for too long; try again later" in user.fail(*script, patience=0.5)


def test_a_server_that_is_not_there_is_given_up(hub: FakeHub, user: User) -> None:
    with hub.away():
        assert f"{RAW}: no connection to the Hub, for too long" in user.fail("prepare_data.py", patience=0.5)
        assert f"{FINETUNED}: no connection to the Hub, for too long" in user.fail(*STORY, patience=0.5)
