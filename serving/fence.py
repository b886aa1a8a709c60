"""The fence around Gradio: what comes in, and from whom.

    server.add_middleware(Fence, jobs=jobs, proxies=networks("10.0.0.0/8"))

Of Gradio's routes those are open that only read: the page, its files, its configuration. Jobs are our own
(jobs.py), under the addresses that the page and gradio_client use. A request is read whole and made anew from
the headers that are needed; nothing of it is ever printed. Whatever Gradio raises is one line with the
exception's type.
"""

import asyncio
import ipaddress
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.jobs import Jobs, Refused, gr

LARGEST_REQUEST = 2**13  # bytes: a topic of 500 characters, each escaped, is 6,000
SECONDS_TO_SEND = 20.0  # a request

NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
HOST = re.compile(r"([\w.-]{1,255}|\[[0-9a-fA-F:.]{2,45}\])(:\d{1,5})?", re.ASCII)
READ = re.compile(  # what GET and HEAD may read
    r"/|/health|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static)/[^\\]*|/gradio_api/(info|app_id)"
)
CALL = re.compile(r"/gradio_api/call/(?:v2/)?story(?:/(\w{1,64}))?", re.ASCII)
POSTS = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")
UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx would collect a story
SENT = ("accept", "accept-encoding", "content-type", "if-modified-since", "if-none-match", "range")
Networks: TypeAlias = "Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]"


def networks(names: str) -> Networks:
    """Of proxies, separated by commas: "10.0.0.0/8, 192.168.1.7". Raises ValueError."""
    return [ipaddress.ip_network(name.strip()) for name in names.split(",") if name.strip()]


def address_of(name: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    """None if it is none. A port behind it is not looked at."""
    name = name.strip()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_among(address: "ipaddress.IPv4Address | ipaddress.IPv6Address | None", proxies: Networks) -> bool:
    return address is not None and any(address in network for network in proxies)


def network_of(address: "ipaddress.IPv4Address | ipaddress.IPv6Address | None") -> str:
    """One visitor's: who has an address of IPv6 has a whole network of them."""
    if isinstance(address, ipaddress.IPv6Address):
        address = ipaddress.ip_network((address, 64), strict=False).network_address
    return str(address)


class Fence:
    def __init__(self, app: ASGIApp, jobs: Jobs, proxies: Networks, visitor_header: str) -> None:
        self._app, self._jobs, self._proxies, self._visitor_header = app, jobs, proxies, visitor_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            try:
                if scope["type"] != "http":
                    raise Refused(404, "not found")
                scope = self._rewritten(scope)
                answer = await self._answer(scope, receive)
            except Refused as refusal:
                answer = JSONResponse({"detail": str(refusal)}, refusal.status)
            await (answer or self._app)(scope, receive, watched)
        except asyncio.CancelledError:  # the server ends
            return
        except Exception as error:
            print(f"note: a request failed: {type(error).__name__}", file=sys.stderr)
            if not started:
                await JSONResponse({"detail": "it failed"}, 500)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """None: it is for Gradio. Raises Refused."""
        path, method, jobs = scope["path"], scope["method"], self._jobs
        call = CALL.fullmatch(path)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if method == "POST" and (path in POSTS or (call and not call[1])):
            body = await read_json(scope, receive)
            if call:
                data = body.get("data")
                if "/v2/" in path:
                    data = by_name(jobs.parameters("story"), body)
                return joined(jobs, None, jobs.of_api("story"), data, scope)
            if path == "/gradio_api/reset":  # what is said behind a cancel
                return JSONResponse({"success": True})
            session = body.get("session_hash")
            if not (isinstance(session, str) and NAME.fullmatch(session)):
                raise Refused(400, "not a request that the page makes")
            if path == "/gradio_api/queue/join":
                return joined(jobs, session, body.get("fn_index"), body.get("data"), scope)
            jobs.stop(session, str(body.get("event_id")))
            return JSONResponse({"success": True})
        if method == "GET" or (method == "HEAD" and READ.fullmatch(path)):
            if call and call[1]:
                return stream(jobs.messages(call[1], is_call=True), for_a_call)
            if path == "/gradio_api/queue/data":
                return stream(jobs.messages(query.get("session_hash", "")), for_the_page)
            if READ.fullmatch(path):
                # Without a page, Gradio keeps the first caller's address in what it tells all.
                scope["query_string"] = b"page=" if path == "/gradio_api/info" else b""
                return None
        raise Refused(404, "not found")

    def _rewritten(self, scope: Scope) -> Scope:
        """With the visitor's address, of IPv6 the network, and the headers that are needed."""
        given = Headers(scope=scope)
        address, scheme, host = (
            address_of((scope["client"] or ("",))[0]),
            scope["scheme"],
            given.get("host", "localhost"),
        )
        if is_among(address, self._proxies):
            named = ",".join(given.getlist(self._visitor_header))
            for name in reversed(named.split(",")):  # the last is the word of the nearest proxy
                if not is_among(address, self._proxies) or not (further := address_of(name)):
                    break
                address = further
            if (named := given.get("x-forwarded-proto", "").split(",")[0].strip()) in ("http", "https"):
                scheme = named
            host = given.get("x-forwarded-host", host).split(",")[0].strip()
        if not HOST.fullmatch(host):
            raise Refused(400, "no such host")
        headers = MutableHeaders({name: given[name] for name in SENT if name in given})
        headers["host"], headers["x-forwarded-proto"] = host, scheme
        return {**scope, "client": (network_of(address), 0), "scheme": scheme, "headers": headers.raw}


def joined(jobs: Jobs, session: str | None, function: Any, data: Any, scope: Scope) -> Response:
    if type(function) is not int or not isinstance(data, list):
        raise Refused(400, "not a request that the page makes")
    return JSONResponse({"event_id": jobs.join(session, function, data, gr.Request(Request(scope)))})


def by_name(parameters: dict[str, Any], given: dict[str, Any]) -> list[Any]:
    """The values for a function of the API, whose parameters have these defaults. Raises Refused."""
    if unknown := given.keys() - parameters.keys():
        raise Refused(
            400, f"of {len(unknown)} values, the names are unknown; known are: {', '.join(parameters)}"
        )
    return list((parameters | given).values())


async def read_json(scope: Scope, receive: Receive) -> dict[str, Any]:
    """The body of a request. Raises Refused."""
    if Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "must be application/json")  # any website can make its visitors send other types
    body = b""
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > LARGEST_REQUEST:
                    raise Refused(413, "too large")
                if not message.get("more_body"):
                    break
        asked = json.loads(body)
    except TimeoutError:
        raise Refused(408, "too slow") from None
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None
    if not isinstance(asked, dict):
        raise Refused(400, "not a request that the page makes")
    return asked


def stream(messages: AsyncIterator[dict[str, Any]], form: Callable[[dict[str, Any]], str]) -> Response:
    lines = (form(message) async for message in messages)
    return StreamingResponse(lines, media_type="text/event-stream", headers=UNBUFFERED)


def for_the_page(message: dict[str, Any]) -> str:
    """It expects what has changed since the last message of a job: all."""
    if message["msg"] == "process_generating" and not message["is_first"]:
        data = [[["replace", [], each]] for each in message["output"]["data"]]
        message = message | {"output": {"data": data, "is_generating": True}}
    return f"data: {json.dumps(message)}\n\n"


def for_a_call(message: dict[str, Any]) -> str:
    """Of the API's plain form."""
    kinds = {"process_generating": "generating", "process_completed": "complete", "heartbeat": "heartbeat"}
    if message["msg"] not in kinds:
        return ""
    output = message.get("output", {})
    kind, data = kinds[message["msg"]], output.get("data")
    if not message.get("success", True):
        kind, data = "error", output
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
