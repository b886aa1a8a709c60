"""Repos of the Hugging Face Hub: their names, their commits, their files in the Hub's cache.

A name is `namespace/name`, and may go on with a folder or a file in that repo and with `@revision`: a branch,
a tag or a commit.
"""

import functools
import glob
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InputError

# huggingface_hub takes a fifth of a second to import: only where it is used

NAME = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(/(?P<path>\w[\w.-]*(/\w[\w.-]*)*))?(@(?P<revision>[\w./-]+))?", re.ASCII
)


class Name(NamedTuple):
    repo_id: str
    path: str  # in the repo; "" means its root
    revision: str | None


def is_name(name: str) -> bool:
    """Whether this means something on the Hub, not a path: there is no such file or folder here."""
    return NAME.fullmatch(name) is not None and not Path(name).exists()


def parts(name: str) -> Name:
    found = NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{name}: is not the name of a repo (namespace/name)")
    return Name(found["repo"], found["path"] or "", found["revision"])


def origin(name: str, folder: Path) -> dict[str, str | None]:
    """What was named and, if that is on the Hub, at which commit `fetch` put it into `folder`."""
    commits = [part for part in folder.parts if re.fullmatch(r"[0-9a-f]{40}", part)]
    return {"name": name, "commit": commits[-1] if is_name(name) else None}


def resolve(name: str, repo_type: str) -> tuple[str, str]:
    """Name -> repo id and commit.

    Where the Hub cannot be reached, the commit that it was at when it last could be; huggingface_hub says so.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    from common.retry import with_retries

    repo_id, path, revision = parts(name)
    ask = functools.partial(HfApi().resolve_revision, repo_id, repo_type=repo_type, revision=revision)
    begins_here = Path(name.partition("/")[0]).exists()
    try:
        return repo_id, with_retries(name, ask, patience=0 if begins_here else None).resolved
    except InputError as error:
        if not _is_answered(error.__cause__):
            with suppress(RevisionResolutionError):
                commit = ask(local_files_only=True).resolved
                print(f"note: {error}; what is in the Hub's cache is taken", file=sys.stderr)
                return repo_id, commit
        if begins_here or path:  # it may as well be a path with a slip in it
            raise InputError(f"{name}: there is no such thing here; as one of the Hub, {error}") from error
        raise


def _is_answered(error: BaseException | None) -> bool:
    """Whether it is the Hub's own word: that there is no such repo, say."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError) and error.response.status_code in range(400, 429)


def fetch(
    name: str,
    repo_type: str,
    choose: Callable[[list[str], str], list[str]] = lambda files, file: [] if file else files,
) -> Path:
    """The folder or file that is named, in the Hub's cache; what is there is used without the network.

    `choose` says which files are wanted: given are the paths below the folder that is named, or that the file
    that is named lies in, and that file's name, else "". Says where they came from.
    """
    from huggingface_hub import (
        HfApi,
        get_cached_repo_tree,
        hf_hub_download,
        snapshot_download,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    from common.retry import with_retries

    repo_id, commit = resolve(name, repo_type)
    where: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type, revision=commit)
    try:
        files = [file.path for file in get_cached_repo_tree(**where)]
    except CachedRepoTreeNotFoundError:
        files = with_retries(name, lambda: HfApi().list_repo_files(**where))
    path = parts(name).path
    folder, _, file = path.rpartition("/") if path in files else (path, "", "")
    below = f"{folder}/" if folder else ""
    chosen = [below + each for each in choose([f[len(below) :] for f in files if f.startswith(below)], file)]
    if not chosen:
        raise InputError(f"{name}: the repo holds none of the files that are needed, or not there")
    cached = all(isinstance(try_to_load_from_cache(filename=file, **where), str) for file in chosen)
    exactly = [glob.escape(file) for file in chosen]
    for file in chosen:  # in this thread, which a signal ends; snapshot_download would wait for its own
        with_retries(name, functools.partial(hf_hub_download, filename=file, **where), long=True)
    snapshot = with_retries(
        name, lambda: snapshot_download(**where, allow_patterns=exactly, local_files_only=cached)
    )
    way = "from the Hub's cache" if cached else "fetched from the Hub"
    print(f"{repo_id}: commit {commit[:12]}, {way}, in {snapshot}", file=sys.stderr)
    return Path(snapshot, path)
