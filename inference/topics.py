"""Stories about each line of a file, and the file of JSON Lines that a run which was stopped goes on with."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from common.errors import InputError, one_line
from common.files import locked, make_writable
from inference.sampling import Sampling
from inference.stories import Model, Request, tell_batches

if TYPE_CHECKING:
    from inference.decoding import TokenChoice

Line = dict[str, Any]


def read_topics(file: str) -> dict[int, str]:
    """The lines that are not blank, by their numbers. Raises InputError if there are none."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"--topics {file}: cannot be read ({one_line(error)})") from error
    topics = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not topics:
        raise InputError(f"--topics {file}: holds no topics; write one a line")
    return topics


def asked(request: Request, sampling: Sampling, checkpoint: str) -> Line:
    """All that tells a story again, as its line in the file has it."""
    how = asdict(sampling)
    how["max_tokens"] = how.pop("max_new_tokens")
    return request._asdict() | {"checkpoint": checkpoint} | how


def tell_lines(
    model: Model,
    requests: Sequence[Request],
    sampling: Sampling,
    checkpoint: str,
    choose: "TokenChoice",
) -> Iterator[Line]:
    """A line for each request, in their order, as soon as it is told."""
    stories = tell_batches(model, requests, sampling, choose)
    for request, story in zip(requests, stories, strict=True):
        yield asked(request, sampling, checkpoint) | vars(story)


class Told:
    """The lines of an earlier run, and more behind them."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Cuts off what a run that was killed left half. Raises InputError if they are no such lines."""
        self.file, self.name = file, name
        whole = file.read()
        whole = whole[: whole.rfind(b"\n") + 1]
        try:
            self.lines: list[Line] = [json.loads(line) for line in whole.splitlines()]
            self.first_seed: int | None = self.lines[0]["seed"] if self.lines else None
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"--output {name}: holds something else than stories; name another") from error
        file.truncate(len(whole))
        file.seek(len(whole))

    def check(self, expected: Sequence[Line]) -> None:
        """Raises InputError unless each line is what was asked for."""
        for number, (line, wanted) in enumerate(zip(self.lines, expected, strict=False), 1):
            for key, value in wanted.items():
                if line.get(key) != value:
                    raise InputError(
                        f"--output {self.name}: line {number} has {key} {line.get(key)!r}, not {value!r}; "
                        "to go on with it, give the same command, otherwise name another"
                    )
        if len(self.lines) > len(expected):
            raise InputError(f"--output {self.name}: holds more stories than these; name another")

    def add(self, line: Line) -> None:
        self.file.write(json.dumps(line).encode() + b"\n")
        self.file.flush()


@contextmanager
def told_before(name: str) -> Iterator[Told]:
    """The file `name`, made if need be, for this process alone. Raises InputError."""
    place = Path(name).absolute()
    make_writable(place.parent)
    with locked(place.with_name(f".{place.name}.lock"), f"--output {name}"):
        try:
            file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise InputError(f"--output {name}: cannot be written ({one_line(error)})") from error
        with file:
            yield Told(file, name)
