"""Stories about each line of a file, and the file of JSON Lines that a run which was stopped goes on with."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import InputError, one_line
from common.json_lines import JsonLines, Line
from inference.sampling import Sampling
from inference.stories import Model, Request, tell_batches

if TYPE_CHECKING:
    from inference.decoding import TokenChoice


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


class Told(JsonLines):
    """The stories of an earlier run, and more behind them."""

    content = "stories"

    def check_line(self, line: Line) -> None:
        line["seed"]

    @property
    def first_seed(self) -> int | None:
        return self.lines[0]["seed"] if self.lines else None

    def check(self, expected: Sequence[Line]) -> None:
        """Raises InputError unless each line is what was asked for."""
        for number, (line, wanted) in enumerate(zip(self.lines, expected, strict=False), 1):
            for key, value in wanted.items():
                if line.get(key) != value:
                    raise InputError(
                        f"{self.what}: line {number} has {key} {line.get(key)!r}, not {value!r}; "
                        "to go on with it, give the same command, otherwise name another"
                    )
        if len(self.lines) > len(expected):
            raise InputError(f"{self.what}: holds more stories than these; name another")
