"""A file of JSON Lines that is added to, line by line, by one process at a time, and read when it goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from common.errors import InputError, one_line
from common.files import locked, make_writable

Line = dict[str, Any]


class JsonLines:
    """The lines of earlier runs, and more behind them."""

    content = "lines of JSON"  # what such a file holds

    def __init__(self, file: Path, what: str) -> None:
        """Reads all that is whole, and leaves the file as it is. Raises InputError, which names it as `what`,
        if it holds something else."""
        self.file, self.what = file, what
        whole, newline, last = file.read_bytes().rpartition(b"\n")
        self.whole = len(whole + newline)  # bytes; what stands behind it may be half of a line
        self.unended = False
        try:
            json.loads(last)
            self.unended = True  # or one that somebody typed without an end
        except ValueError:
            last = b""
        lines = [line for line in (whole + newline + last).splitlines() if line.strip()]
        try:
            self.lines: list[Line] = [json.loads(line) for line in lines]
            for line in self.lines:
                self.check_line(line)
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{what}: holds something else than {self.content}; name another") from error

    def check_line(self, line: Line) -> None:
        """Raises LookupError, TypeError or ValueError if it is no line of such a file."""

    @classmethod
    @contextmanager
    def claimed(cls, name: str, what: str) -> Iterator[Self]:
        """The file `name`, made if need be, for this process alone; what a run that was killed left half is
        cut off. Raises InputError."""
        place = Path(name).absolute()
        make_writable(place.parent)
        with locked(place.with_name(f".{place.name}.lock"), what):
            try:
                with open(place, "ab") as file:
                    lines = cls(place, what)
                    if lines.unended:
                        file.write(b"\n")
                    else:
                        file.truncate(lines.whole)
            except OSError as error:
                raise InputError(f"{what}: cannot be written ({one_line(error)})") from error
            yield lines

    def add(self, line: Line) -> None:
        """It is in the file at once."""
        with open(self.file, "ab") as file:  # by its name: the folder may have been replaced meanwhile
            file.write(json.dumps(line).encode() + b"\n")
        self.lines.append(line)
