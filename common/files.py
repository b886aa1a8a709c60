"""What is written: one owner of a folder at a time, whole files and folders or none, text in UTF-8.

Files and folders are written under a temporary name, flushed, and renamed. Of what was there, only what this
program wrote is replaced.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from common.errors import InputError, one_line

TEMPORARY = ".tmp"  # the end of the hidden names that files are written under


def write_text(file: Path, text: str) -> None:
    """In UTF-8, with "\\n" at the end of lines, wherever this runs. (A path may hold what is not Unicode.)"""
    file.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def refuse_lfs_pointer(file: Path) -> None:
    """Raises InputError if Git has left its note in the place of a large file."""
    with open(file, "rb") as content:
        if content.read(24) == b"version https://git-lfs.":
            raise InputError(f"{file}: is a Git LFS pointer, not the file; fetch that with `git lfs pull`")


def make_writable(folder: Path) -> None:
    """Make the folder that --output needs, if it is not there. Raises InputError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be written ({error.strerror}); name another") from error


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Within the block, no other process is in one with the same `file`. The kernel sees to it, so a process
    that was killed holds nothing. Raises InputError, naming `what`, if another one is."""
    from filelock import FileLock, Timeout  # which imports asyncio

    lock = FileLock(file, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{what}: another process is writing there; wait until it has ended") from error
    except OSError as error:  # as on NFS without its lock daemon
        print(f"note: {what}: see that nobody else writes there ({one_line(error)})", file=sys.stderr)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            file.unlink()
        lock.release()


@contextmanager
def claimed_folder(output: Path, overwrite: bool, written: Sequence[str], what: str) -> Iterator[Path]:
    """An empty folder to fill, which becomes `output` when the block ends well. It is this process's alone,
    and replaces at most `what`: a folder with a file `written[0]`. See `whole_folder`.

    Raises InputError if something is there that is not to be replaced, or it cannot be written.
    """
    place = output.resolve()
    make_writable(place.parent)
    with locked(place.with_name(f".{place.name}.lock"), f"--output {output}"):
        is_there = output.is_file() or (output.is_dir() and any(output.iterdir()))
        if is_there and not overwrite:
            raise InputError(f"--output {output}: is there already; name another, or add --overwrite")
        if is_there and not (output / written[0]).is_file():
            raise InputError(f"--output {output}: holds something else than {what}; name another")
        remove_leftovers(place.parent, place.name)
        with whole_folder(place, written) as folder:
            yield folder


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`, which takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, written: Sequence[str]) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` when the block ends well.

    What is in `path` by other names than `written` (patterns) is somebody else's, and stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=TEMPORARY))
    new, old = temporary / "new", temporary / "old"
    new.mkdir()

    def ours(folder: str, names: list[str]) -> list[str]:
        at_top = Path(folder) == path
        return [name for name in names if at_top and any(fnmatch(name, pattern) for pattern in written)]

    try:
        yield new
        if path.is_dir():
            shutil.copytree(path, new, ignore=ours, symlinks=True, dirs_exist_ok=True)
        for file in filter(Path.is_file, new.rglob("*")):
            _flush(file)
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what a killed process was writing in `folder`, of all names or of one; a folder it was about to
    replace goes back. Nobody else may be writing there."""
    for path in folder.iterdir():
        if not (path.name.startswith(f".{name}-" if name else ".") and path.name.endswith(TEMPORARY)):
            continue
        if path.is_dir():
            replaced = folder / path.name[1:].rpartition("-")[0]
            if (path / "old").exists() and not replaced.exists():
                (path / "old").rename(replaced)
            shutil.rmtree(path)
        else:
            path.unlink()


def move_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Move the files of `source` with these names (patterns) to the same places in `target`. A folder that
    becomes empty goes."""
    for file in [file for name in names for file in source.glob(name) if file.is_file()]:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
        if file.parent != source:
            with suppress(OSError):
                file.parent.rmdir()


def _flush(file: Path) -> None:
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())
