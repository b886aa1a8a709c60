"""The two text files of TinyStoriesInstruct, in a folder or on the Hub."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi

from common import hub
from common.errors import InputError
from common.files import refuse_lfs_pointer, whole_file, write_text
from common.retry import with_retries
from preparation.streamed_file import RawFile, StreamedFile

SOURCE = "roneneldan/TinyStoriesInstruct"
FILES = {"train": "TinyStories-Instruct-train.txt", "validation": "TinyStories-Instruct-valid.txt"}
RAW_FOLDER = Path("data/raw")


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
        return {split: RawFile(folder / name) for split, name in FILES.items()}, None
    if not hub.is_name(source):
        raise InputError(f"--source {source}: no such folder or file, and not a Hub id (namespace/name)")
    repo_id, commit = hub.resolve(source, "dataset")
    below = PurePosixPath(hub.parts(source).path)
    print(f"source: {repo_id}, commit {commit[:12]}; raw text is kept in {RAW_FOLDER}")
    return {split: _on_the_hub(repo_id, commit, below / name) for split, name in FILES.items()}, commit


def _on_the_hub(repo_id: str, commit: str, path: PurePosixPath) -> StreamedFile:
    """It is kept under its hash, which a commit to another file does not change; and what the Hub told of it,
    so that the network is not needed once all has come."""
    told = RAW_FOLDER / f"{commit[:12]}-{'-'.join(path.parts)}.json"
    if not told.exists():
        where: dict[str, Any] = dict(repo_id=repo_id, repo_type="dataset", revision=commit)
        found: list[Any] = with_retries(repo_id, lambda: HfApi().get_paths_info(paths=[str(path)], **where))
        if not found:
            raise InputError(f"{repo_id}/{path}: the repo has no such file")
        digest = found[0].lfs.sha256 if found[0].lfs else found[0].blob_id
        with whole_file(told) as file:
            write_text(file, json.dumps({"size": found[0].size, "digest": digest}) + "\n")
    known = json.loads(told.read_text("utf-8"))
    whole = RAW_FOLDER / f"{known['digest'][:12]}-{path.name}"
    return StreamedFile(f"datasets/{repo_id}@{commit}/{path}", whole=whole, **known)
