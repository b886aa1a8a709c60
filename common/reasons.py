"""Why something that was asked of the Hugging Face Hub failed, in one line that says what to do.

huggingface_hub and what is below it raise many unrelated kinds of errors, wrapped in one another; the one
that says most is looked for among all of them. Where the Hub gives a reason, it is quoted.
"""

import errno
import json
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from common.errors import InputError, one_line

PASSING = (408, 429, 500, 502, 503, 504)  # HTTP status
CLOCK = (9, 10)  # OpenSSL's numbers of "not yet valid" and "expired"
LONGEST_QUOTE = 300  # characters of what the Hub says


class Reason(NamedTuple):
    line: str
    may_pass: bool = False  # if it is tried again a little later
    wait: float = 0.0  # seconds that the Hub asks to wait before that


def explain(error: Exception) -> Reason:
    if isinstance(error, InputError):
        return Reason(str(error))
    causes = list(_causes(error))
    for look in (_of_this_machine, _of_the_hub, _of_tls, _of_xet, _of_the_network):
        for cause in causes:
            if reason := look(cause):
                return reason
    return Reason(one_line(error))


def asked_wait(response: httpx2.Response) -> float:
    """Seconds that the Hub asks for; 0 if it does not."""
    limit = parse_ratelimit_headers(response.headers)
    if limit and response.status_code == 429 and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _set_here(names: Iterable[str]) -> str:
    """Those of the environment's variables that are set."""
    return ", ".join(name for name in names if os.environ.get(name))


def _proxies(*schemes: str) -> str:
    """The variables that name a proxy, as httpx2 reads them."""
    return _set_here(name for each in schemes for name in (f"{each.upper()}_PROXY", f"{each}_proxy"))


def _of_this_machine(cause: Any) -> Reason | None:
    certificates = _set_here(("SSL_CERT_FILE", "SSL_CERT_DIR"))
    unreadable = isinstance(cause, ssl.SSLError) and cause.library != "SSL"  # no connection's
    missing = type(cause) is FileNotFoundError and not cause.filename  # as ssl raises it
    if certificates and (unreadable or missing):
        return Reason(f"{certificates} cannot be used; unset it, or correct it ({one_line(cause)})")
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return Reason(f"no room on the disk for {cause.filename or 'it'}; make some and start again")
    if isinstance(cause, OfflineModeIsEnabled):
        return Reason("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it")
    proxies = _proxies("https", "http", "all")
    about_proxy = isinstance(cause, ImportError | ValueError) and "proxy" in str(cause).lower()
    if proxies and (about_proxy or isinstance(cause, httpx2.InvalidURL)):
        # Others than this may quote a password.
        lacks = f" ({one_line(cause)})" if isinstance(cause, ImportError) else ""
        return Reason(f"{proxies} cannot be used; unset it, or correct it{lacks}")
    if isinstance(cause, UnicodeEncodeError):
        return Reason("the token, of HF_TOKEN or `hf auth login`, holds signs that no token has")
    refused = isinstance(cause, PermissionError | FileNotFoundError | NotADirectoryError)
    if refused and _is_of_the_cache(Path(cause.filename or "/")):
        return Reason(
            f"{cause.filename} cannot be written ({cause.strerror}), where the Hub's cache is to be; set "
            f"{_set_here(['HF_HUB_CACHE']) or 'HF_HOME'} to a folder of yours"
        )
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return Reason(f"HF_ENDPOINT: {cause}")
    return None


def _is_of_the_cache(place: Path) -> bool:
    folders = [Path(folder) for folder in (constants.HF_HOME, constants.HF_HUB_CACHE)]
    within = any(place.is_relative_to(folder) or folder.is_relative_to(place) for folder in folders)
    return within and place.name != ""


def _of_the_hub(cause: BaseException) -> Reason | None:
    if isinstance(cause, json.JSONDecodeError | FileMetadataError):
        return Reason(f"what answers at {constants.ENDPOINT} is not the Hub; does this network want a login?")
    if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
        return Reason("the repo has no such file")
    if not isinstance(cause, HfHubHTTPError):
        return None
    given = _set_here(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    log_in = f"the token in {given} wins over `hf auth login`: correct it, or unset it"
    if not given:
        log_in = "log in with `uv run hf auth login`"
    if isinstance(cause, GatedRepoError):
        place = f"{'datasets/' if cause.repo_type == 'dataset' else ''}{cause.repo_id}"
        return Reason(f"access to it is on request: ask on {constants.ENDPOINT}/{place}; then {log_in}")
    if isinstance(cause, RepositoryNotFoundError):
        return Reason(f"the Hub has no such repo, or shows it to others only ({log_in})")
    if isinstance(cause, RevisionNotFoundError):
        return Reason("the Hub has no such revision of it")
    if isinstance(cause, DisabledRepoError):
        return Reason("the Hub has disabled it; its page may say why")
    response = cause.response
    if response.status_code == 401:
        return Reason(f"the Hub does not know the token (401); {log_in}")
    line = f"the Hub answers {response.status_code} {response.reason_phrase}"
    if said := "; ".join((cause.server_message or "").split("\n"))[:LONGEST_QUOTE]:
        line += f": {said}"
    elif response.status_code == 403:
        line += "; to push, a token needs write access to that repo"
    return Reason(line, response.status_code in PASSING, asked_wait(response))


def _of_tls(cause: BaseException) -> Reason | None:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return None
    remedy = "SSL_CERT_FILE must name the certificate of whoever reads along, a company's proxy perhaps"
    if cause.verify_code in CLOCK:
        remedy = "is the clock of this machine right?"
    return Reason(f"the certificate that the Hub shows is not trusted ({cause.verify_message}); {remedy}")


def _of_xet(cause: BaseException) -> Reason | None:
    """hf_xet has no classes for its errors, only these and a text; seen of 1.8."""
    said = str(cause)
    if type(cause) not in (RuntimeError, ConnectionError) or "rror: " not in said:
        return None
    if "No space left" in said:
        return Reason("no room on the disk; make some and start again")
    if answer := re.search(r"HTTP status \w+ error \((\d+) ([^)]+)\)", said):
        return Reason(f"the Hub's Xet answers {answer[1]} {answer[2]}", int(answer[1]) in PASSING)
    return Reason("the Hub's Xet fails; HF_HUB_DISABLE_XET=1 does without it", may_pass=True)


def _of_the_network(cause: BaseException) -> Reason | None:
    if isinstance(cause, httpx2.TimeoutException):
        return Reason("no answer from the Hub", may_pass=True)
    if isinstance(cause, httpx2.ConnectError | httpx2.ProxyError):
        hub = httpx2.URL(constants.ENDPOINT)
        proxies = _proxies(hub.scheme, "all")
        if not proxies or urllib.request.proxy_bypass(hub.host):
            return Reason("no connection to the Hub", may_pass=True)
        dead = any(isinstance(each, ConnectionRefusedError | socket.gaierror) for each in _causes(cause))
        refused = isinstance(cause, httpx2.ProxyError) and not str(cause).startswith(("502", "503", "504"))
        line = f"no connection to the Hub through the proxy of {proxies} ({one_line(cause)})"
        return Reason(line, may_pass=not dead and not refused)
    # huggingface_hub has no class for an answer of which less came than was to come
    incomplete = isinstance(cause, OSError) and str(cause).startswith("Consistency check failed")
    if incomplete or isinstance(cause, httpx2.TransportError):
        return Reason("the connection to the Hub was lost", may_pass=True)
    return None
