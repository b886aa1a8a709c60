"""A file of a dataset repo on the Hub that is read while it comes.

The raw text has 2.7 GB: what has come is parsed at once, and kept on disk, so that a download that was
interrupted, by the network or by the user, goes on from there.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from common.errors import InputError
from common.files import locked
from common.retry import Retries, set_up_client, with_retries

BLOCK = 1 << 20  # bytes


class StreamedFile:
    """`blocks` reads it from its start. What has come is in `file`: `{filename}.incomplete` in `folder`
    until all is there and its hash is right."""

    def __init__(self, repo_id: str, commit: str, filename: str, folder: Path) -> None:
        self.repo_id, self.commit, self.filename = repo_id, commit, filename
        self.what = f"{repo_id}/{filename}"
        self.whole = folder / filename
        self.incomplete = folder / f"{filename}.incomplete"
        if self.whole.is_file():
            self.size = self.whole.stat().st_size
            return
        found: list[Any] = with_retries(
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
        with locked(folder.with_name(f"{folder.name}.lock"), f"{self.what}, {folder}"):
            yield from self._read_on()

    def _read_on(self) -> Iterator[bytes]:
        # Git's id of a file is a SHA-1 of a head and the content; large files are known by SHA-256.
        digest = hashlib.sha256() if self.large else hashlib.sha1(b"blob %d\0" % self.size)
        with open(self.incomplete, "ab", buffering=0) as out:
            for block in read_blocks(self.incomplete):
                digest.update(block)
                yield block
            offset = out.tell()
            retries = Retries(self.what)
            try:
                while offset < self.size:
                    try:
                        for block in self._from_hub(offset):
                            rest = memoryview(block)
                            while rest:  # what a full disk still takes is kept
                                rest = rest[out.write(rest) :]
                            offset += len(block)
                            digest.update(block)
                            retries.progress()
                            yield block
                        if offset < self.size:
                            raise httpx2.ReadError("the answer ended early")
                    except Exception as error:
                        retries.wait_or_raise(error)
            finally:
                os.fsync(out.fileno())
        if offset > self.size or digest.hexdigest() != self.expected:
            self.incomplete.unlink()
            raise InputError(f"{self.what}: came damaged (another hash than the Hub's); start again")
        os.replace(self.incomplete, self.whole)

    def _from_hub(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` on, as far as one connection gives them."""
        set_up_client()
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
