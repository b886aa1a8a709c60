"""How long the scripts go on asking a Hub that fails."""

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


@pytest.mark.parametrize("script", [["prepare_data.py"], STORY, ["finetune.py"]])
def test_a_server_that_never_answers_is_given_up(script: list[str], hub: FakeHub, user: User) -> None:
    hub.fail(".*", silent=True, times=10**6)
    assert "no answer from the Hub, for too long; try again later" in user.fail(*script, patience=0.5)


def test_a_server_that_is_not_there_is_given_up(hub: FakeHub, user: User) -> None:
    with hub.away():
        assert f"{RAW}: no connection to the Hub, for too long" in user.fail("prepare_data.py", patience=0.5)
        assert f"{FINETUNED}: no connection to the Hub, for too long" in user.fail(*STORY, patience=0.5)
