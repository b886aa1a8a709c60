"""The server's limits, on sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from common.errors import InputError
from serving import server
from serving.fence import networks
from serving.jobs import gr
from serving.server import Connection, check, listen, serve


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("hello")(scope, receive, send)


@contextlib.contextmanager
def serving(proxies: str = "") -> Iterator[int]:
    """Its port."""
    listening = listen("127.0.0.1", 0)
    listening.listen()
    is_well = threading.Event()
    is_well.set()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(serve, app, listening, is_well.is_set, networks(proxies))
        try:
            yield listening.getsockname()[1]
        finally:
            is_well.clear()
            with pytest.raises(SystemExit, match="1"):
                ended.result(60)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def test_one_that_is_not_well_ends_with_exit_code_1(capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as port, connect(port) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert visitor.recv(1000).startswith(b"HTTP/1.1 200")
    assert capfd.readouterr().err == "error: no more stories can be told; to be started again\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"])
def test_who_sends_no_request_is_dropped(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENCE", 0.05)
    with serving() as port, connect(port) as silent:
        silent.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while silent.recv(1000):
                pass


def test_there_are_no_more_connections_than_may_be() -> None:
    with serving() as port, contextlib.ExitStack() as stack:
        Connection.most = 3  # serve() sets it anew
        visitors = [stack.enter_context(connect(port)) for _ in range(3)]
        with connect(port) as one_more, contextlib.suppress(ConnectionResetError):
            assert one_more.recv(1000) == b""
        for visitor in visitors:
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert visitor.recv(1000).startswith(b"HTTP/1.1 200")


def test_one_peer_has_not_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OF_A_PEER", 2)
    with serving() as port, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(port))
        with connect(port) as one_more, contextlib.suppress(ConnectionResetError):
            assert one_more.recv(1000) == b""
    with serving("127.0.0.0/8") as port, contextlib.ExitStack() as stack:
        for _ in range(3):
            visitor = stack.enter_context(connect(port))
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert visitor.recv(1000).startswith(b"HTTP/1.1 200")


def test_what_is_sent_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """By asyncio, where h11 quotes what it did not expect."""
    with serving() as port, connect(port) as visitor:
        visitor.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert visitor.recv(1000).startswith(b"HTTP/1.1 200")
        visitor.sendall(b"Rumpelstiltskin\r\n")
        with contextlib.suppress(ConnectionResetError):
            while visitor.recv(1000):
                pass
    said = capfd.readouterr()
    assert "Rumpelstiltskin" not in said.out + said.err
    assert "Traceback" not in said.err


def test_another_gradio_than_the_demo_is_for_gets_one_clear_line() -> None:
    with gr.Blocks() as page:
        gr.Button().click(lambda: None)
    check(page)
    page.config["protocol"] = "sse_v9"
    with pytest.raises(InputError, match=r"gradio .* is not the one that pyproject.toml names"):
        check(page)
