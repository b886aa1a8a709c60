"""Repos of the Hugging Face Hub: their names, their commits, their files in the Hub's cache.

A name is `namespace/name` or `namespace/name@revision`: a branch, a tag or a commit.
"""

import functools
import glob
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InputError

# huggingface_hub takes a fifth of a second to import: only where it is used

NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", re.ASCII)


def is_name(name: str) -> bool:
    """Whether this means a repo on the Hub, not a path: there is no such file or folder here."""
    return NAME.fullmatch(name) is not None and not Path(name).exists()


def origin(name: str, folder: Path) -> dict[str, str | None]:
    """What was named and, if that is a repo, at which commit `fetch` put it into `folder`."""
    return {"name": name, "commit": folder.name if is_name(name) else None}


def resolve(name: str, repo_type: str) -> tuple[str, str]:
    """`namespace/name[@revision]` -> repo id and commit.

    Where the Hub cannot be reached, the commit that it was at when it last could be; huggingface_hub says so.
    """
    from huggingface_hub import HfApi

    from common.retry import with_retries

    repo_id, _, revision = name.partition("@")
    ask = functools.partial(HfApi().resolve_revision, repo_id, repo_type=repo_type, revision=revision or None)
    if not Path(name).parent.exists():
        return repo_id, with_retries(name, ask).resolved
    try:  # it may as well be a path with a slip in it
        return repo_id, with_retries(name, ask, patience=0).resolved
    except InputError as error:
        raise InputError(f"{name}: there is no such folder here; as a repo of the Hub, {error}") from error


def fetch(name: str, repo_type: str, choose: Callable[[list[str]], list[str]] = lambda files: files) -> Path:
    """The folder that holds the files of a repo that `choose` picks; its name is the commit.

    It lies in the Hub's cache; what is there already is used without the network. Says where it came from.
    """
    from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    from common.retry import with_retries

    repo_id, commit = resolve(name, repo_type)
    where: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type, revision=commit)
    try:
        files = [file.path for file in get_cached_repo_tree(**where)]
    except CachedRepoTreeNotFoundError:
        files = with_retries(name, lambda: HfApi().list_repo_files(**where))
    chosen = choose(files)
    if not chosen:
        raise InputError(f"{name}: the repo holds none of the files that are needed")
    cached = all(isinstance(try_to_load_from_cache(filename=file, **where), str) for file in chosen)
    exactly = [glob.escape(file) for file in chosen]
    folder = with_retries(
        name,
        lambda: snapshot_download(**where, allow_patterns=exactly, local_files_only=cached),
        long=True,
    )
    way = "from the Hub's cache" if cached else "fetched from the Hub"
    print(f"{repo_id}: commit {commit[:12]}, {way}, in {folder}", file=sys.stderr)
    return Path(folder)
