"""The two text files of TinyStoriesInstruct, in a folder or on the Hub."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import hub
from common.errors import InputError
from common.files import refuse_lfs_pointer
from preparation.streamed_file import StreamedFile, read_blocks

SOURCE = "roneneldan/TinyStoriesInstruct"
FILES = {"train": "TinyStories-Instruct-train.txt", "validation": "TinyStories-Instruct-valid.txt"}
RAW_FOLDER = Path("data/raw")


@dataclass(frozen=True)
class LocalFile:
    """Raw text that is here already; to read, the same as a StreamedFile."""

    file: Path

    @property
    def size(self) -> int:
        return self.file.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        return read_blocks(self.file)


RawFile = LocalFile | StreamedFile


def open_source(source: str) -> tuple[dict[str, RawFile], str | None]:
    """The raw file of each split, in a folder or on the Hub (`id[@revision]`), and the commit there.

    Raises InputError if a file is missing, or the Hub does not give it.
    """
    folder = Path(source)
    if folder.exists():
        for name in FILES.values():
            if not (folder / name).is_file():
                raise InputError(f"--source {source}: holds no {name}")
            refuse_lfs_pointer(folder / name)
        return {split: LocalFile(folder / name) for split, name in FILES.items()}, None
    if not hub.is_name(source):
        raise InputError(f"--source {source}: no such folder or file, and not a Hub id (namespace/name)")
    repo_id, commit = hub.resolve(source, "dataset")
    kept = RAW_FOLDER / f"{repo_id.replace('/', '--')}@{commit[:12]}"
    print(f"source: {repo_id}, commit {commit[:12]}; raw text is kept in {kept}")
    return {split: StreamedFile(repo_id, commit, name, kept) for split, name in FILES.items()}, commit
