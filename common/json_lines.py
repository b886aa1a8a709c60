"""A file of JSON Lines that is added to, line by line, by one process at a time, and read when it goes on."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

from common.errors import InputError, one_line
from common.files import locked, make_writable

Line = dict[str, Any]


class JsonLines:
    """The lines of earlier runs, and more behind them."""

    content = "lines of JSON"  # what such a file holds

    def __init__(self, file: BinaryIO, what: str) -> None:
        """Reads all that is whole. Raises InputError, which names the file as `what`, if it holds something
        else."""
        self.file, self.what = file, what
        self.whole = file.read()
        self.whole = self.whole[: self.whole.rfind(b"\n") + 1]
        try:
            self.lines: list[Line] = [json.loads(line) for line in self.whole.splitlines()]
            for line in self.lines:
                self.check_line(line)
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{what}: holds something else than {self.content}; name another") from error

    def check_line(self, line: Line) -> None:
        """Raises LookupError, TypeError or ValueError if it is no line of such a file."""

    @classmethod
    @contextmanager
    def open(cls, name: str, what: str) -> Iterator[Self]:
        """The file `name`, made if need be, for this process alone; what a run that was killed left half is
        cut off. Raises InputError."""
        place = Path(name).absolute()
        make_writable(place.parent)
        with locked(place.with_name(f".{place.name}.lock"), what):
            try:
                file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            except OSError as error:
                raise InputError(f"{what}: cannot be written ({one_line(error)})") from error
            with file:
                lines = cls(file, what)
                file.truncate(file.seek(len(lines.whole)))
                yield lines

    def add(self, line: Line) -> None:
        self.file.write(json.dumps(line).encode() + b"\n")
        self.file.flush()
        self.lines.append(line)
