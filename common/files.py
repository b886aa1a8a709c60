"""Files and folders that appear whole or not at all: written under a temporary name, flushed, renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError

TEMPORARY = ".tmp"  # the end of the hidden names that files are written under


def make_writable(folder: Path) -> None:
    """Make the folder that --output needs, if it is not there. Raises InputError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be written ({error.strerror}); name another") from error


def claim_folder(output: Path, overwrite: bool, mark: str, what: str) -> None:
    """Check that a whole folder may be written to `output`, replacing at most `what`, known by a file `mark`.

    Raises InputError if something is there that is not to be replaced, or it cannot be written.
    """
    if output.exists() and not overwrite:
        raise InputError(f"--output {output}: is there already; name another, or add --overwrite")
    if output.exists() and not (output / mark).is_file():
        raise InputError(f"--output {output}: holds something else than {what}; name another")
    make_writable(output.parent)


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
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=TEMPORARY))
    new, old = temporary / "new", temporary / "old"
    new.mkdir()
    try:
        yield new
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


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing in `folder`; a folder it was about to replace goes back."""
    for path in folder.glob(f".*{TEMPORARY}"):
        if path.is_dir():
            replaced = folder / path.name[1:].rpartition("-")[0]
            if (path / "old").exists() and not replaced.exists():
                (path / "old").rename(replaced)
            shutil.rmtree(path)
        else:
            path.unlink()


def _flush(file: Path) -> None:
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())
