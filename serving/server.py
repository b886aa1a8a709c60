"""The page on a server that drops connections that send nothing, and ends when no stories can be told."""

import contextlib
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import h11
import uvicorn
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import InputError
from serving.fence import LARGEST_REQUEST, Fence, Networks, address_of, is_among, network_of
from serving.jobs import Jobs, gr

VISITOR_HEADER = "X-Forwarded-For"
SILENCE = 20.0  # seconds, after which a connection without a request is closed
MOST_CONNECTIONS = 2000  # as far as there are file descriptors for them
MOST_OF_A_PEER = 700  # connections: a class of children, each with a page or two
OWN_FILES = 64  # descriptors that are no connections


class Connection(H11Protocol):
    """One of at most `most`, kept while a request is on it or one was just answered, and while the peer takes
    what is sent."""

    most = MOST_CONNECTIONS
    of_a_peer: ClassVar[Counter[str]] = Counter()
    proxies: Networks = ()  # peers with as many as they like

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._before: tuple[Any, int] = (None, 0)
        self._taken = False  # of what is sent, some since the last look
        self._look_at = self.loop.call_later(SILENCE, self._look)
        peer = address_of(str(self.client[0] if self.client else ""))
        self._peer = "" if is_among(peer, self.proxies) else network_of(peer)
        self.of_a_peer[self._peer] += 1
        if len(self.connections) > self.most or (self._peer and self.of_a_peer[self._peer] > MOST_OF_A_PEER):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_at.cancel()
        self.of_a_peer[self._peer] -= 1
        if not self.of_a_peer[self._peer]:
            del self.of_a_peer[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except h11.ProtocolError:  # asyncio would print it, with what was sent
            self.transport.abort()
        if len(self.conn.trailing_data[0]) > LARGEST_REQUEST:  # behind a request that is being answered
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[no-untyped-call]
        self._taken = True

    def _look(self) -> None:
        """Whether, since the last look, a request came or goes on, and what was written was taken."""
        unsent = self.transport.get_write_buffer_size()
        is_idle = self.cycle is None or self.cycle.response_complete
        before, self._before = self._before, (self.cycle, unsent)
        is_stuck = unsent >= before[1] > 0 and not self._taken
        self._taken = False
        if (is_idle and self.cycle is before[0]) or is_stuck:
            self.transport.abort()
        else:
            self._look_at = self.loop.call_later(SILENCE, self._look)


def build_server(
    page: gr.Blocks,
    can_tell: Callable[[], bool],
    share: int,
    proxies: Networks,
    visitor_header: str,
    **look: Any,
) -> FastAPI:
    """The page, its API, and /health."""
    check(page)
    server = FastAPI(openapi_url=None)
    server.state.jobs = Jobs(page, 2 * share)

    @server.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> JSONResponse:
        well = can_tell()
        return JSONResponse({"status": "ok" if well else "no story can be told"}, 200 if well else 503)

    server.add_middleware(Fence, jobs=server.state.jobs, proxies=proxies, visitor_header=visitor_header)
    return gr.mount_gradio_app(
        server,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        **look,
    )


def check(page: gr.Blocks) -> None:
    """Raises InputError if Gradio is not as serving/jobs.py knows it."""
    known = all(hasattr(each, name) for each in page.fns.values() for name in ("fn", "inputs", "outputs"))
    if not known or page.config.get("protocol") != "sse_v3":
        raise InputError(f"gradio {gr.__version__} is not the one that pyproject.toml names; install that")


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises InputError."""
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if host == "::":  # all addresses, those of IPv4 too
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port} (or $HOST, $PORT): cannot listen there ({error.strerror})"
        ) from error
    return listening


def raise_limit() -> int:
    """Of open files, as far as the user may; returns what there may be."""
    try:
        import resource
    except ImportError:  # on Windows
        return 512
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OWN_FILES if most == resource.RLIM_INFINITY else most
    with contextlib.suppress(OSError, ValueError):  # macOS has another limit, too
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def serve(
    app: ASGIApp, listening: socket.socket, is_well: Callable[[], bool], proxies: Networks = ()
) -> None:
    """Until a signal, or until it is not well: then with exit code 1, so that the host starts it again."""
    Connection.proxies = proxies
    Connection.most = max(1, min(MOST_CONNECTIONS, raise_limit() - OWN_FILES))
    config = uvicorn.Config(
        app,
        http=Connection,
        log_level="error",
        access_log=False,
        ws="none",
        proxy_headers=False,  # the fence has its own, for a proxy that a setting names
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    ended, failed = threading.Event(), False

    def watch() -> None:
        nonlocal failed
        while not ended.wait(1):
            failed = failed or not (server.should_exit or is_well())
            server.should_exit = server.should_exit or failed

    threading.Thread(target=watch, daemon=True).start()
    try:
        server.run([listening])
    finally:
        ended.set()
    if failed:
        print("error: no more stories can be told; to be started again", file=sys.stderr)
        sys.exit(1)
