"""The Hugging Face Hub, both ways: repos and streamed files from it, finished folders to it.

    uv run python hub.py --folder checkpoints/sft_30M_model/best --push-to-hub you/my-stories

The requests are huggingface_hub's. What is ours is patience: a request that fails for a passing reason (no
connection, a dropped one, no answer, 408, 429, 5xx) is made again until PATIENCE seconds have gone by without
success, and what is on disk by then is gone on from. All else is one clear line, at once.

A name is `namespace/name` or `namespace/name@revision`: a branch, a tag or a commit.
"""

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, get_session, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, logging
from tqdm import tqdm

from cli import InputError, parse, run, setting

T = TypeVar("T")

NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
PATIENCE = 60.0  # seconds without success
FIRST_WAIT = 1.0  # seconds; doubled with each try, up to 16 times that
TIMEOUT = 20.0  # seconds without an answer, where huggingface_hub has no limit of its own
PASSING = (408, 429, 500, 502, 503, 504)  # HTTP status
LONGEST_REST = 600.0  # seconds that the Hub may ask us to wait (Retry-After), all requests together
BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class Settings:
    folder: str | None = setting(None, "what prepare_data.py wrote, or a checkpoint of finetune.py")
    push_to_hub: str | None = setting(None, "the repo to send it to, namespace/name; made if it is not there")


class Patience:
    """Decides after each failure whether to try again, and waits: 1, 2, 4 ... 16 s, or as long as asked."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.rest = 0.0  # seconds that the Hub asked for
        self.progress()

    def progress(self) -> None:
        """Something was received: start anew."""
        self.since = time.monotonic()
        self.wait = FIRST_WAIT

    def spend(self, error: Exception) -> None:
        """Wait until the next try is due. Raises InputError if there is none."""
        if isinstance(error, InputError):
            raise error
        reason = _reason(error)
        if not _passes(error):
            raise InputError(f"{self.what}: {reason}") from error
        asked = _retry_after(error)
        self.rest += asked
        self.since += asked
        if time.monotonic() + self.wait - self.since > PATIENCE or self.rest > LONGEST_REST:
            raise InputError(f"{self.what}: {reason}, for too long; try again later") from error
        wait = asked or self.wait
        print(f"\n{self.what}: {reason}; trying again in {wait:.0f} s", file=sys.stderr)
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
    return any(isinstance(e, httpx2.TransportError) or _is_short(e) for e in _causes(error))


def _is_short(error: BaseException) -> bool:
    """Whether huggingface_hub found that less came than was to come; it has no class for that."""
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _retry_after(error: Exception) -> float:
    response = _response(error)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdecimal() else 0.0


def _reason(error: Exception) -> str:
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
                return "the token may not do this (403); make one with write access to that repo"
            return f"the Hub answers {status} {cause.response.reason_phrase}"
        if isinstance(cause, httpx2.TimeoutException):
            return "no answer from the Hub"
        if isinstance(cause, httpx2.ConnectError):
            return "no connection to the Hub"
        if isinstance(cause, httpx2.TransportError) or _is_short(cause):
            return "the connection to the Hub was lost"
    return f"{type(error).__name__}: {error}".strip().split("\n")[0][:200]


def patiently(what: str, attempt: Callable[[], T]) -> T:
    """What `attempt` returns. Raises InputError, starting with `what`, when there is no use in trying on."""
    patience = Patience(what)
    while True:
        _set_up_client()
        try:
            return attempt()
        except Exception as error:  # huggingface_hub and what is below it raise many unrelated kinds
            patience.spend(error)


def _set_up_client() -> None:
    """No warnings of huggingface_hub's beside our own lines, and no request that waits for ever."""
    logging.set_verbosity_error()
    hooks = get_session().event_hooks["request"]
    if _limit_waiting not in hooks:
        hooks.append(_limit_waiting)


def _limit_waiting(request: httpx2.Request) -> None:
    """Where huggingface_hub sets no timeout, set ours; the client's default would not do, as it sets None."""
    limits = request.extensions.get("timeout", {})
    kinds = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = {kind: limits.get(kind) or TIMEOUT for kind in kinds}


def is_name(name: str) -> bool:
    """Whether this means a repo on the Hub, not a path: there is neither such a file nor its folder here."""
    return NAME.fullmatch(name) is not None and not Path(name).exists() and not Path(name).parent.exists()


def resolve(name: str, repo_type: str) -> tuple[str, str]:
    """`namespace/name[@revision]` -> repo id and commit.

    Where the Hub cannot be reached, the commit that the revision was at when it last could be.
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
    how: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type, revision=commit)
    quiet: Any = _NoProgress
    files: Any = patiently(name, lambda: snapshot_download(**how, dry_run=True, tqdm_class=quiet))
    chosen = set(choose([file.filename for file in files]))
    if not chosen:
        raise InputError(f"{name}: the repo holds none of the files that are needed")
    cached = not any(file.will_download for file in files if file.filename in chosen)
    how |= dict(allow_patterns=[*chosen], tqdm_class=quiet if cached else None)
    folder = patiently(name, lambda: snapshot_download(**how))
    origin = "from the Hub's cache" if cached else "fetched from the Hub"
    print(f"{repo_id}: commit {commit[:12]}, {origin}, in {folder}", file=sys.stderr)
    return Path(folder)


class _NoProgress(tqdm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"disable": True})


def commit_of(folder: Path) -> str | None:
    """The commit, if it is a folder that `fetch` returned."""
    return folder.name if folder.parent.name == "snapshots" else None


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
        # Git's id of a file is a SHA-1 of a head and the content; large files are known by SHA-256.
        large = found[0].lfs
        self.expected = large.sha256 if large else found[0].blob_id
        self.digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % self.size)

    @property
    def file(self) -> Path:
        return self.whole if self.whole.is_file() else self.incomplete

    def blocks(self) -> Iterator[bytes]:
        """The bytes, each once and in order: those on disk, then those from the Hub."""
        if self.whole.is_file():
            yield from read_blocks(self.whole)
            return
        self.incomplete.parent.mkdir(parents=True, exist_ok=True)
        self.incomplete.touch()
        for block in read_blocks(self.incomplete):
            self.digest.update(block)
            yield block
        with open(self.incomplete, "ab", buffering=0) as out:
            offset = out.tell()
            patience = Patience(self.what)
            while offset < self.size:
                try:
                    for block in self._from_hub(offset):
                        rest = memoryview(block)
                        while rest:  # what a full disk still takes is kept
                            rest = rest[out.write(rest) :]
                        offset += len(block)
                        self.digest.update(block)
                        patience.progress()
                        yield block
                    if offset < self.size:
                        raise httpx2.ReadError("the answer ended early")
                except Exception as error:
                    patience.spend(error)
            os.fsync(out.fileno())
        if offset > self.size or self.digest.hexdigest() != self.expected:
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
    message = "Upload by Tiny Tales SFT"
    try:
        commit = patiently(
            what,
            lambda: HfApi().upload_folder(
                repo_id=repo_id, folder_path=folder, repo_type=repo_type, commit_message=message
            ),
        )
    except InputError as error:
        raise InputError(
            f"{error}. All is in {folder}; send it again with: "
            f"uv run python hub.py --folder {folder} --push-to-hub {repo_id}"
        ) from error
    print(f"pushed {folder} to {commit.repo_url}, commit {commit.oid[:12]}")


def type_of(folder: Path) -> str:
    """What a folder holds, "model" or "dataset". Raises InputError if it is neither."""
    if (folder / "model.safetensors").is_file():
        return "model"
    if (folder / "stats.json").is_file():
        return "dataset"
    raise InputError(
        f"--folder {folder}: holds neither model.safetensors (of a run, name best/, last/ or epoch_N/) "
        "nor a data set of prepare_data.py"
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
