"""How long the scripts go on asking a Hub that fails, and what they say when it is this machine that does."""

import importlib.util
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import close_session, constants, get_session

from common import retry
from common.errors import InputError
from fake_hub import FakeHub
from hub_user import (
    FINETUNED,
    RAW,
    STORY,
    User,
    complaint_of,
    finished,
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


@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy"])
def test_a_proxy_of_an_unknown_kind_is_named(
    name: str, hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "gopher://127.0.0.1:9")
    assert f"{FINETUNED}: {name} cannot be used; unset it" in user.fail(*STORY)


@pytest.mark.skipif(bool(importlib.util.find_spec("socksio")), reason="with it, such a proxy can be used")
def test_a_socks_proxy_is_named_from_the_first_client_on(
    hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    line = complaint_of(finished(user.start_process(*STORY)))
    assert f"{FINETUNED}: ALL_PROXY cannot be used; unset it" in line
    assert "socksio" in line


@pytest.mark.parametrize("there", [True, False])
def test_certificates_that_cannot_be_read_are_named(
    there: bool, hub: FakeHub, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As conda leaves the variable when an environment of its own is gone."""
    file = tmp_path / "cacert.pem"
    if there:
        file.write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert f"{FINETUNED}: SSL_CERT_FILE cannot be used; unset it" in user.fail(*STORY)


def test_a_proxy_that_lets_nothing_through_is_named(
    hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake Hub as a proxy: it refuses to connect elsewhere."""
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", hub.url)
    said = f"{FINETUNED}: no connection to the Hub, through the proxy of HTTPS_PROXY"
    assert said in user.fail(*STORY, patience=0.1)
    with hub.away():
        assert said in user.fail(*STORY, patience=0.1)


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(
    hub: FakeHub, user: User, tmp_path: Path
) -> None:
    """A file is in its place: permissions do not bind root."""
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    user.cache.touch()
    in_process = user.fail(*STORY)
    for line in (in_process, complaint_of(finished(user.start_process(*STORY)))):
        assert f"{FINETUNED}: {user.cache}/" in line
        assert "cannot be written" in line
        assert "set HF_HOME to a folder of yours" in line


def test_a_home_that_cannot_be_written_is_named_with_the_remedy(hub: FakeHub, user: User) -> None:
    folder = user.place / "out"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "README.md"):
        (folder / name).touch()
    push = ["sharing.push", "--folder", folder, "--push-to-hub", "author/stories"]
    homeless = ["env", "--unset=HF_HOME", "HOME=/dev/null/nowhere"]
    line = complaint_of(finished(user.start_process(*map(str, push), before=homeless)))
    assert "--push-to-hub author/stories: /dev/null/nowhere/" in line
    assert "set HF_HOME to a folder of yours" in line
