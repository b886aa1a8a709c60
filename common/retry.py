"""Requests to the Hugging Face Hub, made again where what failed may pass.

    files = with_retries("you/my-data", lambda: HfApi().list_repo_files("you/my-data"))

The requests are huggingface_hub's. One that fails for a passing reason (no connection, a dropped one, no
answer, 408, 429, 5xx) is made again until GIVE_UP_AFTER seconds have gone by without success. All else is one
clear line, at once. An interrupted download goes on from where it was: huggingface_hub sees to that in
hub.fetch, and preparation/streamed_file.py for the raw text.
"""

import errno
import functools
import math
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import httpx2
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from common.errors import InputError, one_line

T = TypeVar("T")

GIVE_UP_AFTER = 60.0  # seconds without success
FIRST_WAIT = 1.0  # seconds; doubled with each try, up to 16 times that
TIMEOUT = 10.0  # seconds without an answer, where huggingface_hub has no limit of its own
TIMEOUT_OF_WRITES = 120.0  # a commit of large files takes the Hub a while
PASSING = (408, 429, 500, 502, 503, 504)  # HTTP status
LONGEST_REST = 600.0  # seconds that the Hub may ask us to wait (Retry-After) before it gives something


class Retries:
    """Decides after each failure whether to try again, and waits: 1, 2, 4 ... 16 s, or as long as asked.

    It gives up `patience` seconds (GIVE_UP_AFTER) after the last success, not counting what the Hub asked to
    wait. The clock starts with the first try or, for work that is `long` in itself, with its first failure.
    """

    def __init__(self, what: str, long: bool = False, patience: float | None = None) -> None:
        self.what = what
        self.patience = GIVE_UP_AFTER if patience is None else patience
        self.progress()
        if long:
            self.since = math.inf

    def progress(self) -> None:
        """Something was received: start anew."""
        self.since = time.monotonic()
        self.wait = FIRST_WAIT
        self.rested = 0.0  # seconds that the Hub asked for

    def wait_or_raise(self, error: Exception) -> None:
        """Wait until the next try is due. Raises InputError if there is none."""
        if isinstance(error, InputError):
            raise error
        why = reason(error)
        if not _is_transient(error):
            raise InputError(f"{self.what}: {why}") from error
        asked = _retry_after(_response(error))
        self.since = min(self.since, time.monotonic()) + asked
        self.rested += asked
        if time.monotonic() + self.wait + asked - self.since > self.patience or self.rested > LONGEST_REST:
            too_long = ", for too long" if self.patience else ""
            raise InputError(f"{self.what}: {why}{too_long}; try again later") from error
        wait = asked or self.wait
        print(f"\n{self.what}: {why}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)
        self.wait = min(2 * self.wait, 16 * FIRST_WAIT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _response(error: BaseException) -> httpx2.Response | None:
    """The answer of the Hub that an error is about, however huggingface_hub wrapped it."""
    return next((e.response for e in _causes(error) if isinstance(e, HfHubHTTPError)), None)


def _is_transient(error: Exception) -> bool:
    """Whether what failed may work a little later."""
    response = _response(error)
    if response is not None:
        return response.status_code in PASSING
    causes = list(_causes(error))
    hopeless = any(isinstance(cause, httpx2.UnsupportedProtocol) for cause in causes)
    return not hopeless and any(isinstance(e, httpx2.TransportError) or _is_incomplete(e) for e in causes)


def _is_incomplete(error: BaseException) -> bool:
    """Whether huggingface_hub found that less came than was to come; it has no class for that."""
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _retry_after(response: httpx2.Response | None) -> float:
    """Seconds that the Hub asks for; 0 if it does not."""
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdecimal() else 0.0


def _set_here(names: Iterable[str]) -> str:
    """Those of the environment's variables that are set, for a message."""
    return ", ".join(name for name in names if os.environ.get(name))


def reason(error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    proxies = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")  # as httpx reads them
    proxy = _set_here(name for each in proxies for name in (each, each.lower()))
    certificates = _set_here(("SSL_CERT_FILE", "SSL_CERT_DIR"))
    for cause in _causes(error):
        if certificates and (isinstance(cause, ssl.SSLError) or type(cause) is FileNotFoundError):
            return f"{certificates} cannot be used; unset it, or correct it ({one_line(cause)})"
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return f"no room on the disk for {cause.filename or 'it'}; make some and start again"
        if isinstance(cause, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
        if isinstance(cause, RepositoryNotFoundError):
            return "the Hub has no such repo, or shows it to others only (log in with `uv run hf auth login`)"
        if isinstance(cause, RevisionNotFoundError):
            return "the Hub has no such revision of it"
        if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
            return "the repo has no such file"
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            if status == 401:
                return "the Hub does not know the token (401); log in with `uv run hf auth login`"
            if status == 403:
                return "the token may not do this (403); to push it needs write access to that repo"
            return f"the Hub answers {status} {cause.response.reason_phrase}"
        if isinstance(cause, httpx2.TimeoutException):
            return "no answer from the Hub"
        if isinstance(cause, httpx2.ConnectError | httpx2.ProxyError):
            return "no connection to the Hub" + (f", through the proxy of {proxy}" if proxy else "")
        about_proxy = isinstance(cause, ImportError | ValueError) and "proxy" in str(cause).lower()
        if proxy and (about_proxy or isinstance(cause, httpx2.InvalidURL)):
            return f"{proxy} cannot be used; unset it, or correct it ({one_line(cause)})"
        if isinstance(cause, PermissionError | FileNotFoundError | NotADirectoryError) and cause.filename:
            return (
                f"{cause.filename} cannot be written ({cause.strerror}), where the Hub's cache is to be; set "
                f"{_set_here(['HF_HUB_CACHE']) or 'HF_HOME'} to a folder of yours"
            )
        if isinstance(cause, httpx2.UnsupportedProtocol):
            return f"HF_ENDPOINT: {cause}"
        if isinstance(cause, httpx2.TransportError) or _is_incomplete(cause):
            return "the connection to the Hub was lost"
    return one_line(error)


def with_retries(what: str, attempt: Callable[[], T], long: bool = False, patience: float | None = None) -> T:
    """What `attempt` returns. Raises InputError, starting with `what`, when there is no use in trying on."""
    retries = Retries(what, long, patience)
    while True:
        try:
            set_up_client()
            return attempt()
        except Exception as error:  # huggingface_hub and what is below it raise many unrelated kinds
            retries.wait_or_raise(error)


@functools.cache
def set_up_client() -> None:
    """No request of huggingface_hub's waits for ever; its own hooks are kept.

    Xet, its other way to large files, is switched off: it has errors of its own, which nothing here knows.
    """
    constants.HF_HUB_DISABLE_XET = True
    hooks = get_session().event_hooks["request"]
    set_client_factory(
        lambda: httpx2.Client(
            event_hooks={"request": [*hooks, _limit_waiting], "response": [_refuse_long_rests]},
            follow_redirects=True,
            timeout=None,
        )
    )


def _limit_waiting(request: httpx2.Request) -> None:
    limits = request.extensions.get("timeout", {})
    if request.method == "HEAD":  # huggingface_hub waits a minute for an answer, and tries six times
        limits = {}
    writes = request.method == "PUT" or "/commit/" in request.url.path
    for kind in ("connect", "read", "write", "pool"):
        limits[kind] = limits.get(kind) or (TIMEOUT_OF_WRITES if writes else TIMEOUT)
    request.extensions["timeout"] = limits


def _refuse_long_rests(response: httpx2.Response) -> None:
    """huggingface_hub would sleep as long as asked, without a word."""
    if (asked := _retry_after(response)) > LONGEST_REST:
        raise InputError(f"the Hub asks to wait {asked:,.0f} s; try again then")
