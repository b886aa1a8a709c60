"""What is said when the Hub refuses, or something else answers in its place, or this machine is at fault."""

import importlib.util
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import constants

from common import hub as common_hub
from common.errors import InputError
from common.reasons import explain
from fake_hub import WRITER, FakeHub
from hub_user import FINETUNED, STORY, User, complaint_of, finished, weights
from tiny import tiny_model

GATED = dict(status=403, headers={"X-Error-Code": "GatedRepo"})
DISABLED = dict(status=403, headers={"X-Error-Message": "Access to this resource is disabled."})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (GATED, "access to it is on request: ask on {url}/{name}; then log in with `uv run hf auth login`"),
        (DISABLED, "the Hub has disabled it"),
        (dict(status=401), "the Hub does not know the token (401); log in with `uv run hf auth login`"),
        (dict(status=451), "the Hub answers 451 Unavailable For Legal Reasons"),
        (dict(page=True), "what answers at {url} is not the Hub; does this network want a login?"),
        (dict(status=511), "the Hub answers 511 Network Authentication Required"),
    ],
)
@pytest.mark.parametrize("place", ["GET /api/models/[^/]*/[^/]*$", "GET /api/.*/tree", "HEAD"])
def test_the_hubs_own_reason_is_given(
    place: str, fault: dict[str, Any], said: str, hub: FakeHub, user: User, tmp_path: Path
) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    hub.fail(place, times=10**6, **fault)
    line = user.fail(*STORY)
    assert f"{FINETUNED}: {said.format(url=hub.url, name=FINETUNED)}" in line
    assert "try again later" not in line


def test_a_gated_data_set_is_asked_for_where_it_is(hub: FakeHub, user: User) -> None:
    hub.add("dataset", "author/data", {"train.parquet": b""})
    hub.fail("GET", **GATED)
    with pytest.raises(InputError, match=f"ask on {hub.url}/datasets/author/data; "):
        common_hub.fetch("author/data", "dataset")


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [
        (
            "POST /api/repos/create",
            403,
            "You don't have the rights to create a model under the namespace author",
        ),
        ("POST .*/preupload/", 403, "Private repository storage limit reached"),
        ("POST .*/commit/", 400, 'Invalid metadata in README.md: "license" must be one of them'),
        ("POST .*/commit/", 403, "Private repository storage limit reached"),
    ],
)
def test_what_the_hub_says_of_a_push_is_quoted(
    place: str, status: int, words: str, hub: FakeHub, checkpoint: str, tmp_path: Path
) -> None:
    author = User(tmp_path / "author", token=WRITER)
    hub.fail(place, status=status, headers={"X-Error-Message": words})
    line = author.fail("sharing.push", "--folder", checkpoint, "--push-to-hub", "author/stories")
    assert f"the Hub answers {status} " in line
    assert f": {words}" in line


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_token_of_the_environment_is_named(
    name: str, hub: FakeHub, user: User, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hf_of_nobody")
    line = user.fail("sharing.push", "--folder", checkpoint, "--push-to-hub", "author/stories")
    wins = f"the token in {name} wins over `hf auth login`: correct it, or unset it"
    assert f"the Hub does not know the token (401); {wins}" in line
    assert f"shows it to others only ({wins})" in user.fail(*STORY)
    assert "hf_of_nobody" not in line


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl, to make a certificate")
def test_a_certificate_that_is_not_trusted_is_named_at_once(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"https://localhost:{server.server_port}")
        line = user.fail(*STORY)
        server.shutdown()
    said = f"{FINETUNED}: the certificate that the Hub shows is not trusted (self-signed certificate); "
    assert f"{said}SSL_CERT_FILE must name the certificate of whoever reads along" in line


def test_a_certificate_of_another_time_makes_one_think_of_the_clock() -> None:
    expired = ssl.SSLCertVerificationError()
    expired.library, expired.verify_code, expired.verify_message = "SSL", 10, "certificate has expired"
    lost = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    lost.__cause__ = expired
    line, may_pass, _ = explain(lost)
    assert not may_pass
    assert line.endswith("is not trusted (certificate has expired); is the clock of this machine right?")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "the Hub's Xet answers 403 Forbidden; or name"),
        (503, "the Hub's Xet answers 503 Service Unavailable, for too long; try again later"),
        (None, "the Hub's Xet fails; HF_HUB_DISABLE_XET=1 does without it, for too long"),
    ],
)
def test_xets_errors_are_told_from_each_other(
    status: int | None, said: str, hub: FakeHub, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "0")
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    hub.xet = True
    hub.fail("GET /xet/", times=10**6, **(dict(status=status) if status else dict(after_bytes=0, page=True)))
    line = user.fail(*STORY, patience=0.1)
    assert f"{FINETUNED}: {said}" in line
    assert ("try again later" in line) == (status != 403)


@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy"])
def test_a_proxy_of_an_unknown_kind_is_named(
    name: str, hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "gopher://127.0.0.1:9")
    assert f"{FINETUNED}: {name} cannot be used; unset it" in user.fail(*STORY)


@pytest.mark.parametrize("scheme", ["http", "gopher"])
def test_a_password_of_a_proxy_is_not_shown(
    scheme: str, hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:secret/word@proxy:8080")
    line = user.fail(*STORY)
    assert "ALL_PROXY cannot be used" in line
    assert "secret" not in line


def test_a_token_that_can_be_none_is_named(hub: FakeHub, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abc\u2026")
    line = user.fail(*STORY)
    assert f"{FINETUNED}: the token, of HF_TOKEN or `hf auth login`, holds signs that no token has" in line
    assert "hf_abc" not in line


def test_a_file_that_cannot_be_read_is_not_the_caches() -> None:
    said = explain(PermissionError(13, "Permission denied", "best/model.safetensors")).line
    assert "best/model.safetensors" in said
    assert "HF_HOME" not in said


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
    """The fake Hub as a proxy: it refuses to connect elsewhere. One that is dead is named at once, too."""
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", hub.url)
    said = f"{FINETUNED}: no connection to the Hub through the proxy of HTTPS_PROXY ("
    for line in (user.fail(*STORY), _while_away(hub, user)):
        assert said in line
        assert "try again later" not in line


def _while_away(hub: FakeHub, user: User) -> str:
    with hub.away():
        return user.fail(*STORY)


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
