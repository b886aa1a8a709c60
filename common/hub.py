"""The Hugging Face Hub, both ways: repos and streamed files from it, finished folders to it.

    uv run python -m common.hub --folder checkpoints/sft_30M_model/best --push-to-hub you/my-stories

The requests are huggingface_hub's. What is ours is patience: a request that fails for a passing reason (no
connection, a dropped one, no answer, 408, 429, 5xx) is made again until PATIENCE seconds have gone by without
success. All else is one clear line, at once. Raw text that has come is gone on from, by a later run too.

A name is `namespace/name` or `namespace/name@revision`: a branch, a tag or a commit.
"""

import errno
import functools
import glob
import hashlib
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from filelock import FileLock, Timeout
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_cached_repo_tree,
    get_session,
    get_token,
    hf_hub_url,
    set_client_factory,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from common.cli import InputError, parse, run, setting

T = TypeVar("T")

NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
PATIENCE = 60.0  # seconds without success
FIRST_WAIT = 1.0  # seconds; doubled with each try, up to 16 times that
TIMEOUT = 10.0  # seconds without an answer, where huggingface_hub has no limit of its own
TIMEOUT_OF_WRITES = 120.0  # a commit of large files takes the Hub a while
PASSING = (408, 429, 500, 502, 503, 504)  # HTTP status
LONGEST_REST = 600.0  # seconds that the Hub may ask us to wait (Retry-After) before it gives something
BLOCK = 1 << 20  # bytes
PUSHED = {
    "model": ("model.safetensors", "config.json", "README.md"),
    "dataset": ("train.parquet", "stats.json", "README.md", "*.parquet"),
}


@dataclass(frozen=True)
class Settings:
    folder: str | None = setting(None, "what prepare_data.py wrote, or a checkpoint of finetune.py")
    push_to_hub: str | None = setting(None, "the repo to send it to, namespace/name; made if it is not there")


class Patience:
    """Decides after each failure whether to try again, and waits: 1, 2, 4 ... 16 s, or as long as asked.

    What counts is the time since the last success: since the first try at the latest, but for work that is
    `long` in itself since its first failure.
    """

    def __init__(self, what: str, long: bool = False) -> None:
        self.what = what
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
        if not _passes(error):
            raise InputError(f"{self.what}: {why}") from error
        asked = _retry_after(_response(error))
        self.since = min(self.since, time.monotonic()) + asked
        self.rested += asked
        if time.monotonic() + self.wait + asked - self.since > PATIENCE or self.rested > LONGEST_REST:
            raise InputError(f"{self.what}: {why}, for too long; try again later") from error
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


def _passes(error: Exception) -> bool:
    """Whether what failed may work a little later."""
    response = _response(error)
    if response is not None:
        return response.status_code in PASSING
    causes = list(_causes(error))
    hopeless = any(isinstance(cause, httpx2.UnsupportedProtocol) for cause in causes)
    return not hopeless and any(isinstance(e, httpx2.TransportError) or _is_short(e) for e in causes)


def _is_short(error: BaseException) -> bool:
    """Whether huggingface_hub found that less came than was to come; it has no class for that."""
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _retry_after(response: httpx2.Response | None) -> float:
    """Seconds that the Hub asks for; 0 if it does not."""
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdecimal() else 0.0


def reason(error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    for cause in _causes(error):
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
        if isinstance(cause, httpx2.ConnectError):
            return "no connection to the Hub"
        if isinstance(cause, httpx2.UnsupportedProtocol):
            return f"HF_ENDPOINT: {cause}"
        if isinstance(cause, httpx2.TransportError) or _is_short(cause):
            return "the connection to the Hub was lost"
    return f"{type(error).__name__}: {error}".strip().split("\n")[0][:200]


def patiently(what: str, attempt: Callable[[], T], long: bool = False) -> T:
    """What `attempt` returns. Raises InputError, starting with `what`, when there is no use in trying on."""
    _set_up_client()
    patience = Patience(what, long)
    while True:
        try:
            return attempt()
        except Exception as error:  # huggingface_hub and what is below it raise many unrelated kinds
            patience.wait_or_raise(error)


@functools.cache
def _set_up_client() -> None:
    """No request of huggingface_hub's waits for ever, and all take the way that is tested here.

    Its own hooks are kept. Xet, its other way to large files, has errors of its own.
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
    if request.method == "HEAD":  # huggingface_hub waits a minute for each of six
        limits = {}
    writes = request.method == "PUT" or "/commit/" in request.url.path
    for kind in ("connect", "read", "write", "pool"):
        limits[kind] = limits.get(kind) or (TIMEOUT_OF_WRITES if writes else TIMEOUT)
    request.extensions["timeout"] = limits


def _refuse_long_rests(response: httpx2.Response) -> None:
    """huggingface_hub would sleep as long as asked, without a word."""
    if (asked := _retry_after(response)) > LONGEST_REST:
        raise InputError(f"the Hub asks to wait {asked:,.0f} s; try again then")


def is_name(name: str) -> bool:
    """Whether this means a repo on the Hub, not a path: there is neither such a file nor its folder here."""
    return NAME.fullmatch(name) is not None and not Path(name).exists() and not Path(name).parent.exists()


def origin(name: str, folder: Path) -> dict[str, str | None]:
    """What was named and, if that is a repo, at which commit `fetch` put it into `folder`."""
    return {"name": name, "commit": folder.name if is_name(name) else None}


def resolve(name: str, repo_type: str) -> tuple[str, str]:
    """`namespace/name[@revision]` -> repo id and commit.

    Where the Hub cannot be reached, the commit that it was at when it last could be; huggingface_hub says so.
    """
    repo_id, _, revision = name.partition("@")
    found = patiently(
        name, lambda: HfApi().resolve_revision(repo_id, repo_type=repo_type, revision=revision or None)
    )
    return repo_id, found.resolved


def fetch(name: str, repo_type: str, choose: Callable[[list[str]], list[str]] = lambda files: files) -> Path:
    """The folder that holds the files of a repo that `choose` picks; its name is the commit.

    It lies in the Hub's cache; what is there already is used without the network. Says where it came from.
    """
    repo_id, commit = resolve(name, repo_type)
    where: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type, revision=commit)
    try:
        files = [file.path for file in get_cached_repo_tree(**where)]
    except CachedRepoTreeNotFoundError:
        files = patiently(name, lambda: HfApi().list_repo_files(**where))
    chosen = choose(files)
    if not chosen:
        raise InputError(f"{name}: the repo holds none of the files that are needed")
    cached = all(isinstance(try_to_load_from_cache(filename=file, **where), str) for file in chosen)
    exactly = [glob.escape(file) for file in chosen]
    folder = patiently(
        name,
        lambda: snapshot_download(**where, allow_patterns=exactly, local_files_only=cached),
        long=True,
    )
    origin = "from the Hub's cache" if cached else "fetched from the Hub"
    print(f"{repo_id}: commit {commit[:12]}, {origin}, in {folder}", file=sys.stderr)
    return Path(folder)


class StreamedFile:
    """A file of a dataset repo, read from its start while it comes, and kept on disk for the next time.

    What has come is in `file`: `{filename}.incomplete` in `folder` until all is there and its hash is right.
    """

    def __init__(self, repo_id: str, commit: str, filename: str, folder: Path) -> None:
        self.repo_id, self.commit, self.filename = repo_id, commit, filename
        self.what = f"{repo_id}/{filename}"
        self.whole = folder / filename
        self.incomplete = folder / f"{filename}.incomplete"
        if self.whole.is_file():
            self.size = self.whole.stat().st_size
            return
        found: list[Any] = patiently(
            self.what,
            lambda: HfApi().get_paths_info(repo_id, [filename], repo_type="dataset", revision=commit),
        )
        if not found:
            raise InputError(f"{self.what}: the repo has no such file")
        self.size = found[0].size
        self.large = found[0].lfs
        self.expected = self.large.sha256 if self.large else found[0].blob_id

    @property
    def file(self) -> Path:
        return self.whole if self.whole.is_file() else self.incomplete

    def blocks(self) -> Iterator[bytes]:
        """The bytes, each once and in order: those on disk, then those from the Hub."""
        if self.whole.is_file():
            yield from read_blocks(self.whole)
            return
        folder = self.incomplete.parent
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{folder}.lock", timeout=0):
                yield from self._read_on()
        except Timeout as error:
            raise InputError(f"{self.what}: another run is fetching it; wait until it has ended") from error

    def _read_on(self) -> Iterator[bytes]:
        # Git's id of a file is a SHA-1 of a head and the content; large files are known by SHA-256.
        digest = hashlib.sha256() if self.large else hashlib.sha1(b"blob %d\0" % self.size)
        with open(self.incomplete, "ab", buffering=0) as out:
            for block in read_blocks(self.incomplete):
                digest.update(block)
                yield block
            offset = out.tell()
            patience = Patience(self.what)
            try:
                while offset < self.size:
                    try:
                        for block in self._from_hub(offset):
                            rest = memoryview(block)
                            while rest:  # what a full disk still takes is kept
                                rest = rest[out.write(rest) :]
                            offset += len(block)
                            digest.update(block)
                            patience.progress()
                            yield block
                        if offset < self.size:
                            raise httpx2.ReadError("the answer ended early")
                    except Exception as error:
                        patience.wait_or_raise(error)
            finally:
                os.fsync(out.fileno())
        if offset > self.size or digest.hexdigest() != self.expected:
            self.incomplete.unlink()
            raise InputError(f"{self.what}: came damaged (another hash than the Hub's); start again")
        os.replace(self.incomplete, self.whole)

    def _from_hub(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` on, as far as one connection gives them."""
        _set_up_client()
        url = hf_hub_url(self.repo_id, self.filename, repo_type="dataset", revision=self.commit)
        # A compressed answer would count other bytes than the file's.
        headers = build_hf_headers() | {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"}
        with get_session().stream("GET", url, headers=headers) as response:
            hf_raise_for_status(response)
            if response.status_code != 206 and offset:
                raise InputError(f"{self.what}: the server cannot go on in the middle of a file")
            yield from response.iter_raw()


def read_blocks(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as content:
        while block := content.read(BLOCK):
            yield block


def check_write_access(repo_id: str, repo_type: str) -> None:
    """Make the repo if it is not there. Raises InputError if it cannot be written with the token at hand."""
    what = f"--push-to-hub {repo_id}"
    if "@" in repo_id or not NAME.fullmatch(repo_id):
        raise InputError(f"{what}: is not the name of a repo (namespace/name)")
    if get_token() is None:
        raise InputError(f"{what}: needs a token; log in with `uv run hf auth login`, or set HF_TOKEN")
    api = HfApi()
    patiently(what, lambda: api.create_repo(repo_id, repo_type=repo_type, exist_ok=True))
    # Of a repo that exists, that says nothing. Asking how a file would be sent does, and sends none.
    file = CommitOperationAdd("README.md", b"?")
    patiently(what, lambda: api.preupload_lfs_files(repo_id, [file], repo_type=repo_type))


def push(folder: Path, repo_id: str, repo_type: str) -> None:
    """Send a finished folder as one commit. If that fails, it stays, and InputError says how to try again."""
    what = f"--push-to-hub {repo_id}"
    how: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type, allow_patterns=[*PUSHED[repo_type]])
    message = "Upload by Tiny Tales SFT"
    try:
        commit = patiently(
            what,
            lambda: HfApi().upload_folder(folder_path=folder, commit_message=message, **how),
            long=True,
        )
    except InputError as error:
        command = shlex.join(["-m", "common.hub", "--folder", str(folder), "--push-to-hub", repo_id])
        raise InputError(
            f"{error}. All is in {folder}; send it again with: uv run python {command}"
        ) from error
    print(f"pushed {folder} to {commit.repo_url}, commit {commit.oid[:12]}")


def type_of(folder: Path) -> str:
    """What a folder holds, "model" or "dataset". Raises InputError if it is neither."""
    for repo_type, files in PUSHED.items():
        if all((folder / file).is_file() for file in files if "*" not in file):
            return repo_type
    raise InputError(
        f"--folder {folder}: holds neither a checkpoint ({', '.join(PUSHED['model'])}; of a run, name best/, "
        "last/ or epoch_N/) nor a data set of prepare_data.py"
    )


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.folder is None or settings.push_to_hub is None:
        raise InputError("--folder and --push-to-hub: both are needed")
    folder = Path(settings.folder)
    repo_type = type_of(folder)
    check_write_access(settings.push_to_hub, repo_type)
    push(folder, settings.push_to_hub, repo_type)


if __name__ == "__main__":
    run(main)
