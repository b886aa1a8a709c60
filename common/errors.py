"""Errors whose message is for the user: it names what was wrong and says what to do. `cli.run` prints it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What the user gave cannot be used."""


class CheckpointError(OSError):
    """A checkpoint is missing, damaged, or made for another model."""


def one_line(error: BaseException) -> str:
    """An exception's own words, those of its first cause, without colours; of a long text both ends."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", f"{type(error).__name__}: {error}").split())
    return words if len(words) <= 320 else f"{words[:160]} ... {words[-160:]}"


@contextmanager
def only_shown(what: str) -> Iterator[None]:
    """What only shows something never ends a run: an error in the block becomes a note."""
    try:
        yield
    except Exception as error:
        print(f"note: {what}: {one_line(error)}", file=sys.stderr)
