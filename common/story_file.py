"""Somebody's own stories in a file: the texts of each line, or what is wrong with the first ten misfits.

    {"topic": "a lost dog", "ending": "odd", "story": "..."}        JSON Lines: .jsonl, .ndjson, .json
    topic,ending,story                                              CSV: .csv or .tsv, and its first line

Text is UTF-8, with or without a mark (BOM) at its start.
"""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError
from common.files import refuse_lfs_pointer

T = TypeVar("T")

NAMES = (("topic", "ending", "story"), ("instruction", "ending", "response"), ("prompt", "completion"))
NEEDED = "topic, ending, story (or instruction, ending, response; or prompt, completion)"
SHOWN = 10  # lines that are named
KINDS = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list"}

# The number of a line and what it holds by name, or why it holds nothing.
Lines = Iterator[tuple[int, dict[str, Any] | InputError]]


def read_story_file(file: Path, make: Callable[[dict[str, str]], T], longest: int) -> list[T]:
    """What `make` makes of each line's texts, which have the names of one of NAMES.

    `make` raises InputError, with the reason, if they do not fit. Raises InputError: all such lines, or the
    reason why nothing can be read. `longest` is in characters, of a text.
    """
    made, problems, unused = [], [], dict[str, None]()
    names: tuple[str, ...] = ()
    other_names = ""
    for number, line in _lines(file):
        if not names and isinstance(line, dict):
            names = _nearest(line)
            if not {*line} >= {*names}:
                other_names = f"line {number} has {_quoted(line)}; needed are {NEEDED}"
        try:
            if isinstance(line, InputError):
                raise line
            unused |= dict.fromkeys(name for name in line if name not in names)
            made.append(make({name: _text(line, name, longest) for name in names}))
        except InputError as error:
            problems.append(f"line {number}: {error}")
    if other_names and not made:
        raise InputError(f"{file}: {other_names}")
    if problems:
        more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise InputError(f"{file}: {'; '.join(problems[:SHOWN])}{more}; correct or remove them")
    if not made:
        raise InputError(f"{file}: holds no stories")
    if unused:
        print(f"note: {file}: not used: {_quoted(unused)}")
    return made


def _lines(file: Path) -> Lines:
    """Raises InputError if the file is neither JSON Lines nor CSV, or not UTF-8."""
    if file.suffix.lower() not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        raise InputError(f"{file}: must be JSON Lines (.jsonl) or CSV (.csv), and be called so")
    refuse_lfs_pointer(file)
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file}: line {number} is not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from error
    if file.suffix.lower() in (".csv", ".tsv"):
        return _csv_lines(text)
    if text.lstrip().startswith("["):
        raise InputError(f"{file}: is one JSON array; write an object a line, as `jq -c '.[]'` does")
    return _json_lines(text)


def _json_lines(text: str) -> Lines:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, InputError(f"is not JSON ({error.msg} at character {error.colno})")
        except (ValueError, RecursionError) as error:  # too long a number, too deep
            yield number, InputError(f"is not JSON that can be read ({error})")
        else:
            yield number, value if isinstance(value, dict) else InputError("is no JSON object")


def _csv_lines(text: str) -> Lines:
    """A line's number is that of the first of its lines: quoted texts may have several."""
    head = next((line for line in text.split("\n") if line.strip()), "")
    header: list[str] = []
    before = 0  # the header's line
    # Spreadsheets separate columns by what their language does not use for numbers.
    separator = max(",;\t", key=head.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        number = lines.line_num + 1
        try:
            values = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, InputError(f"is not CSV; is a quotation mark missing, or one too many? ({error})")
            return  # where the next one starts is not known
        if not any(value.strip() for value in values):
            continue
        if not header:
            header, before = [name.strip().lower() for name in values], number
            if repeated := [name for name in header if header.count(name) > 1 and name]:
                yield number, InputError(f"names {repeated[0]!r:.40} twice")
                return
            if not {*header} >= {*_nearest(header)}:
                yield number, InputError(f"names {_quoted(header)}; needed are {NEEDED}")
                return
        elif len(values) != len(header):
            counts = f"has {len(values)} columns, and line {before} names {len(header)}"
            yield number, InputError(f"{counts}: put texts in quotation marks")
        else:
            yield number, dict(zip(header, values, strict=True))


def _nearest(line: Collection[str]) -> tuple[str, ...]:
    """Those of NAMES that a line comes nearest to."""
    return max(NAMES, key=lambda names: len({*names} & {*line}) / len(names))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name)[:40] for name in list(names)[:SHOWN]) or "nothing"


def _text(line: dict[str, Any], name: str, longest: int) -> str:
    """Raises InputError, with the reason, if it is no text to learn from."""
    if name not in line:
        raise InputError(f"has no {name}")
    text = line[name]
    if not isinstance(text, str):
        raise InputError(f"{name} is {KINDS.get(type(text), 'an object')}, not text")
    if not text.strip():
        raise InputError(f"{name} is empty")
    if len(text) > longest:
        raise InputError(f"{name} is longer than {longest:,} characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{name} holds half a character (\\u{ord(text[error.start]):04x})") from error
    return text
