"""A raw text that is here, or one on the Hub that is read while it comes.

It has 2.7 GB: what has come is parsed at once, and kept on disk, so that a download that was interrupted, by
the network or by the user, goes on from there. (One of huggingface_hub's own begins anew.)
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfFileSystem

from common.errors import InputError
from common.files import locked
from common.retry import with_retries

BLOCK = 1 << 20  # bytes that are read from the disk at a time
PART = 8 << 20  # bytes that the Hub is asked for at a time


class RawFile:
    """Text of `size` bytes that lies in `file`, as far as `blocks` has read it."""

    def __init__(self, file: Path) -> None:
        self.file, self.size = file, file.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        """The bytes, each once and in order."""
        with open(self.file, "rb") as content:
            while block := content.read(BLOCK):
                yield block


class StreamedFile(RawFile):
    """One at `place`, as HfFileSystem names it, with this SHA-256 or id of Git's. It will be `whole`; until
    all is there and its hash is right, what has come lies in `{whole}.incomplete`."""

    def __init__(self, place: str, size: int, digest: str, whole: Path) -> None:
        self.place, self.size, self.digest, self.whole = place, size, digest, whole
        self.file = whole if whole.is_file() else whole.with_name(f"{whole.name}.incomplete")

    def blocks(self) -> Iterator[bytes]:
        if self.file == self.whole:
            yield from super().blocks()
            return
        with locked(self.whole.with_name(f"{self.whole.name}.lock"), f"{self.place}, {self.whole}"):
            yield from self._read_on()

    def _read_on(self) -> Iterator[bytes]:
        # Git's id of a file is a SHA-1 of a head and the content; large files are known by SHA-256.
        digest = hashlib.sha1(b"blob %d\0" % self.size) if len(self.digest) == 40 else hashlib.sha256()
        with open(self.file, "ab", buffering=0) as out:
            for block in super().blocks():
                digest.update(block)
                yield block
            try:
                for part in self._parts(out.tell()):
                    rest = memoryview(part)
                    while rest:  # what a full disk still takes is kept
                        rest = rest[out.write(rest) :]
                    digest.update(part)
                    yield part
            finally:
                os.fsync(out.fileno())
        if digest.hexdigest() != self.digest:
            self.file.unlink()
            raise InputError(f"{self.place}: came damaged (another hash than the Hub's); start again")
        os.replace(self.file, self.whole)
        self.file = self.whole

    def _parts(self, start: int) -> Iterator[bytes]:
        """From the Hub, from the byte `start` on."""
        remote: Any = None

        def read() -> bytes:
            nonlocal remote
            remote = remote or HfFileSystem().open(self.place, "rb", block_size=PART, cache_type="none")
            remote.seek(start)
            wanted = min(PART, self.size - start)
            part = bytes(remote.read(wanted))
            if not 0 < len(part) <= wanted:
                raise httpx2.ReadError("an answer of another length")
            return part

        while start < self.size:
            part = with_retries(self.place, read)
            start += len(part)
            yield part
