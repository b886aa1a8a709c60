"""A Hugging Face Hub on the loopback address, in memory, that can be told to fail.

    hub = FakeHub()
    os.environ |= hub.environment()  # before huggingface_hub is imported
    hub.add("model", "someone/model", {"config.json": b"{}"})
    hub.fail("GET .*config.json", status=503, times=2)

It answers what huggingface_hub asks when files are listed, fetched and pushed, in the way the real one does:
large files by reference (git LFS), with a redirect to another host. Branches other than main, pull requests,
private repos and Xet's storage are not there. Source of the protocol: the requests of huggingface_hub 2.4,
and https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

WRITER, READER = "hf_of_a_writer", "hf_of_a_reader"
API = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
PAGE = r"(/(?P<kind>dataset)s)?/(?P<name>[^/]+/[^/]+)"  # of a model, if nothing else is said
LARGE = 100_000  # bytes from which a file is stored by reference; the real Hub's is 10 MiB
LARGE_SUFFIXES = (".safetensors", ".pt", ".parquet")


@dataclass
class Fault:
    """What befalls requests that `match`, a regex on `METHOD path`, after `skip` and for `times` of them."""

    match: str
    skip: int = 0
    times: int = 1
    status: int | None = None  # answered in place of the file
    said: str = "a fault"  # with that status
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False  # all of the file is sent where a part was asked for
    page: bool = False  # a web page is answered in place of the file
    after_bytes: int | None = None  # of the body, sent or received; then the connection is closed
    honest: bool = True  # the answer tells the length that was to come
    reset: bool = False  # closed with a TCP reset
    silent: bool = False  # never answered


@dataclass
class Repo:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # files by path
    main: str = ""
    changed: dict[str, dict[str, str]] = field(default_factory=dict)  # the last commit of each path

    def commit(self, changes: Mapping[str, bytes], title: str) -> str:
        before = self.commits.get(self.main, {})
        files = {**before, **changes}
        content = repr((self.main, sorted(files.items()))).encode()
        self.main = hashlib.sha1(content).hexdigest()
        self.commits[self.main] = files
        told = dict(id=self.main, title=title, date="2026-01-01T00:00:00.000Z")
        self.changed |= {path: told for path in changes if before.get(path) != changes[path]}
        return self.main


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Dropped(Exception):
    """The connection ends here."""


class FakeHub:
    """Has one address from start to end, and answers there except while it is `away`."""

    def __init__(self) -> None:
        self.port = 0  # any that is free
        self.closing = threading.Event()
        self._start()
        self.url = f"http://127.0.0.1:{self.port}"
        self.reset()

    def _start(self) -> None:
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.fake = self
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Forget all repos, faults and requests."""
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # by SHA-256
        self.faults: list[Fault] = []
        self.xet = False  # large files are said to be in Xet, too
        self.requests: list[str] = []  # "METHOD path", with " bytes=..." where a range was asked for
        self.lock = threading.Lock()
        self.closing.set()  # for requests that were never answered
        self.closing = threading.Event()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens at the address for the length of the block."""
        self.server.shutdown()
        self.server.server_close()
        with socket.socket() as held:  # so that nobody else takes the port
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", self.port))
            yield
        self._start()

    def add(self, kind: str, name: str, files: Mapping[str, bytes], title: str = "Update on the page") -> str:
        """A new commit on main, in a repo that is made if it is not there. Returns the commit."""
        return self.repos.setdefault((kind, name), Repo()).commit(files, title)

    def fail(self, match: str, **how: Any) -> None:
        self.faults.append(Fault(match, **how))

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.match(fault.match, request):
                    if fault.skip:
                        fault.skip -= 1
                    else:
                        fault.times -= 1
                        return fault
        return None

    def environment(self) -> dict[str, str]:
        """For huggingface_hub."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_ETAG_TIMEOUT": "1",  # seconds
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeHub

    def handle_error(self, *request: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # that a client goes away is no error
            super().handle_error(*request)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a kept connection waits 40 ms an answer
    fault: Fault | None = None

    ROUTES = (
        (r"/api/repos/create", "create"),
        (r"/api/validate-yaml", "validate"),
        (API + r"(/revision/(?P<rev>.+))?", "info"),
        (API + r"/tree/(?P<rev>[^/]+)(/(?P<folder>.+))?", "tree"),
        (API + r"/paths-info/(?P<rev>[^/]+)", "paths_info"),
        (API + r"/preupload/main", "preupload"),
        (API + r"/commit/main", "commit"),
        (PAGE + r"/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "file"),
        (PAGE + r"\.git/info/lfs/objects/batch", "batch"),
        (r"/objects/(?P<sha>[0-9a-f]{64})/.*", "object"),
        (r"/xet-token", "xet_token"),
    )

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        self.fake = self.server.fake
        request = f"{self.command} {self.path}"
        asked = self.headers.get("Range")
        self.fake.requests.append(f"{request} {asked}" if asked else request)
        self.fault = self.fake.fault(request)
        try:
            if self.fault and self.fault.silent:
                self.fake.closing.wait()
                raise Dropped
            body = self.receive()
            if self.fault and self.fault.status:
                self.reply({"error": self.fault.said}, self.fault.status, **self.fault.headers)
                return
            if self.fault and self.fault.page:
                self.send(b"<!doctype html><title>Log in</title>", 200, **{"Content-Type": "text/html"})
                return
            for pattern, name in self.ROUTES:
                if match := re.fullmatch(pattern, unquote(self.path.partition("?")[0])):
                    place = match.groupdict()
                    if "kind" in place:
                        place["kind"] = place["kind"] or "model"
                    getattr(self, name)(body, **place)
                    return
            raise Refusal(404, f"not in the fake Hub: {request}")
        except Refusal as refusal:
            head = {"X-Error-Message": refusal.message, "X-Error-Code": refusal.code}
            self.reply({"error": refusal.message}, refusal.status, **head)
        except (Dropped, ConnectionError):
            self.close_connection = True
            if self.fault and self.fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def receive(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        limit = self.fault.after_bytes if self.fault and self.command in ("PUT", "POST") else None
        if limit is not None and limit < length:
            self.rfile.read(limit)
            raise Dropped
        return self.rfile.read(length)

    def reply(self, answer: Any, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(answer).encode(), status, **headers)

    def send(self, content: bytes, status: int, **headers: str) -> None:
        limit = self.fault.after_bytes if self.fault and self.command == "GET" else None
        told = len(content) if not self.fault or self.fault.honest else len(content[:limit])
        self.send_response(status)
        for name, value in {"Content-Length": str(told), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[:limit])
        if limit is not None and limit < len(content):
            self.wfile.flush()
            raise Dropped

    # Who may do what

    def writer(self) -> None:
        """Raises Refusal unless the request has the token of one who may write."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (WRITER, READER):
            raise Refusal(401, "Invalid credentials in Authorization header" if token else "Unauthorized")
        if token == READER:
            raise Refusal(403, "Forbidden: you may only read")

    def files(self, kind: str, name: str, rev: str | None = None) -> tuple[str, dict[str, bytes]]:
        """Commit and files of a revision."""
        repo = self.fake.repos.get((kind, name))
        if repo is None:
            raise Refusal(404, "Repository not found", "RepoNotFound")
        commit = repo.main if rev in (None, "main") else str(rev)
        if commit not in repo.commits:
            raise Refusal(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return commit, repo.commits[commit]

    # Reading

    def info(self, _: bytes, kind: str, name: str, rev: str | None) -> None:
        commit, files = self.files(kind, name, rev)
        self.reply({"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = dict(type="file", path=path, size=len(content), oid=blob_id(content))
        if is_large(path, len(content)):
            entry["lfs"] = dict(oid=sha256(content), size=len(content), pointerSize=134)
        return entry

    def tree(self, _: bytes, kind: str, name: str, rev: str, folder: str | None) -> None:
        files = self.files(kind, name, rev)[1].items()
        below = f"{folder}/" if folder else ""
        self.reply([self.entry(path, content) for path, content in files if path.startswith(below)])

    def paths_info(self, body: bytes, kind: str, name: str, rev: str) -> None:
        asked = json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
        files = self.files(kind, name, rev)[1]
        entries = [self.entry(path, files[path]) for path in asked["paths"] if path in files]
        if asked.get("expand") == ["true"]:
            for entry in entries:
                entry["lastCommit"] = self.fake.repos[kind, name].changed[entry["path"]]
        self.reply(entries)

    def file(self, _: bytes, kind: str, name: str, rev: str, path: str) -> None:
        commit, files = self.files(kind, name, rev)
        if path not in files:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        content = files[path]
        head = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(content)}"'}
        if not is_large(path, len(content)):
            return self.bytes_of(content, head)
        sha = sha256(content)
        self.fake.objects[sha] = content
        head |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha}"'}
        if self.fake.xet:
            head |= {"X-Xet-Hash": sha, "X-Xet-Refresh-Route": f"{self.fake.url}/xet-token"}
        place = f"http://localhost:{self.fake.server.server_port}/objects/{sha}/{path}"
        self.send(b"", 302, Location=place, **head)

    def xet_token(self, _: bytes) -> None:
        """For Xet's storage, of which nothing is here."""
        access = {"X-Xet-Cas-Url": f"{self.fake.url}/xet", "X-Xet-Access-Token": "token"}
        self.reply({}, 200, **access, **{"X-Xet-Token-Expiration": "9999999999"})

    def object(self, body: bytes, sha: str) -> None:
        if self.command != "PUT":
            return self.bytes_of(self.fake.objects[sha], {})
        if sha256(body) != sha:
            raise Refusal(400, "Content does not match its SHA-256")
        self.fake.objects[sha] = body
        self.reply({})

    def bytes_of(self, content: bytes, head: Mapping[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or (self.fault and self.fault.whole):
            return self.send(content, 200, **head)
        start, end = int(asked[1]), int(asked[2] or len(content) - 1)
        place = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        self.send(content[start : end + 1], 206, **head, **place)

    # Writing

    def create(self, body: bytes) -> None:
        self.writer()
        asked = json.loads(body)
        key = asked["type"], f"{asked['organization']}/{asked['name']}"
        status = 409 if key in self.fake.repos else 200
        if status == 200:
            self.fake.add(*key, {".gitattributes": b""})
        self.reply({"url": f"{self.fake.url}/{key[1]}"}, status)

    def preupload(self, body: bytes, kind: str, name: str) -> None:
        self.files(kind, name)
        self.writer()
        files = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            files.append(dict(path=file["path"], shouldIgnore=False, uploadMode=mode))
        self.reply({"files": files})

    def batch(self, body: bytes, kind: str, name: str) -> None:
        self.files(kind, name)
        self.writer()
        objects = []
        for asked in json.loads(body)["objects"]:
            sha = asked["oid"]
            upload = {"upload": {"href": f"{self.fake.url}/objects/{sha}/upload"}}
            objects.append(asked | ({} if sha in self.fake.objects else {"actions": upload}))
        self.reply({"transfer": "basic", "objects": objects})

    def commit(self, body: bytes, kind: str, name: str) -> None:
        self.writer()
        changes, title = {}, ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            title = value.get("summary", title)
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.fake.objects:
                    raise Refusal(400, f"{value['path']} was not uploaded")
                changes[value["path"]] = self.fake.objects[value["oid"]]
        commit = self.fake.add(kind, name, changes, title)
        url = f"{self.fake.url}/{'datasets/' * (kind == 'dataset')}{name}/commit/{commit}"
        self.reply({"success": True, "commitOid": commit, "commitUrl": url})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.S)
        if not match or not isinstance(yaml.safe_load(match[1]), dict):
            raise Refusal(400, "no metadata")
        self.reply({"errors": [], "warnings": []})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob_id(content: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE_SUFFIXES) or size >= LARGE
