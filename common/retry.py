"""Requests to the Hugging Face Hub, made again where what failed may pass.

    files = with_retries("you/my-data", lambda: HfApi().list_repo_files("you/my-data"))

The requests are huggingface_hub's. One that fails for a passing reason (no connection, a dropped one, no
answer, 408, 429, 5xx) is made again until GIVE_UP_AFTER seconds have gone by without success. All else is one
clear line, at once: common/reasons.py.
"""

import functools
import math
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub import constants, get_session, set_client_factory

from common.errors import InputError
from common.reasons import asked_wait, explain

T = TypeVar("T")

GIVE_UP_AFTER = 60.0  # seconds without success
FIRST_WAIT = 1.0  # seconds; doubled with each try, up to 16 times that
TIMEOUT = 30.0  # seconds without an answer; huggingface_hub may have no limit, or a minute six times over
LONGEST_REST = 600.0  # seconds that the Hub may ask us to wait before it gives something


class Retries:
    """Decides after each failure whether to try again, and waits: 1, 2, 4 ... 16 s, or as long as asked.

    It gives up after `patience` seconds (GIVE_UP_AFTER), not counting what the Hub asked to wait. The clock
    starts with the first try or, for work that is `long` in itself, with its first failure.
    """

    def __init__(self, what: str, long: bool = False, patience: float | None = None) -> None:
        self.what = what
        self.patience = GIVE_UP_AFTER if patience is None else patience
        self.since = math.inf if long else time.monotonic()
        self.wait = FIRST_WAIT
        self.rested = 0.0  # seconds that the Hub asked for

    def wait_or_raise(self, error: Exception) -> None:
        """Wait until the next try is due. Raises InputError if there is none."""
        why = explain(error)
        if not why.may_pass:
            raise InputError(f"{self.what}: {why.line}") from error
        self.since = min(self.since, time.monotonic()) + why.wait
        self.rested += why.wait
        if time.monotonic() + self.wait + why.wait - self.since > self.patience or self.rested > LONGEST_REST:
            too_long = ", for too long" if self.patience else ""
            raise InputError(f"{self.what}: {why.line}{too_long}; try again later") from error
        wait = why.wait or self.wait
        print(f"\n{self.what}: {why.line}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)
        self.wait = min(2 * self.wait, 16 * FIRST_WAIT)


def with_retries(what: str, attempt: Callable[[], T], long: bool = False, patience: float | None = None) -> T:
    """What `attempt` returns. Raises InputError, starting with `what`, when there is no use in trying on."""
    retries = Retries(what, long, patience)
    while True:
        try:
            set_up_client()
            return attempt()
        except Exception as error:  # of many unrelated kinds
            retries.wait_or_raise(error)


@functools.cache
def set_up_client() -> None:
    """No request of huggingface_hub's waits for ever; its own hooks are kept. Xet, the Hub's other way to
    large files, is for the Hub itself, as no mirror has it."""
    if "HF_HUB_DISABLE_XET" not in os.environ:
        constants.HF_HUB_DISABLE_XET = constants.HUGGINGFACE_CO_URL_HOME.rstrip("/") != constants.ENDPOINT
    # By itself it tries for up to eight minutes, without a word.
    os.environ.setdefault("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    hooks = get_session().event_hooks["request"]
    set_client_factory(
        lambda: httpx2.Client(
            event_hooks={"request": [*hooks, _limit_waiting], "response": [_refuse]},
            follow_redirects=True,
            timeout=None,
        )
    )


def _limit_waiting(request: httpx2.Request) -> None:
    limits = request.extensions["timeout"]
    for kind, seconds in limits.items():
        limits[kind] = min(seconds or TIMEOUT, TIMEOUT)


def _refuse(response: httpx2.Response) -> None:
    """What huggingface_hub would take: to sleep as long as it is asked to, more bytes than it asked for."""
    if (wait := asked_wait(response)) > LONGEST_REST:
        raise InputError(f"the Hub asks to wait {wait:,.0f} s; try again then")
    part = re.fullmatch(r"bytes=(\d+)-(\d+)", response.request.headers.get("Range", ""))
    said = response.headers.get("Content-Length")  # not of every part, but of every whole file
    length = float(said or (0 if response.status_code == 206 else math.inf))
    if part and response.is_success and length > int(part[2]) - int(part[1]) + 1:
        raise InputError("the Hub gives more than the part of a file that it was asked for")
