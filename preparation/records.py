"""The odd format of TinyStoriesInstruct: raw text -> records.

One record after another, each some lines of fields (Features, Words, Summary, Random sentence, Story; in any
order, the story may have fields behind it) up to an <|endoftext|>:

    Features: Dialogue, BadEnding
    Summary: Lily loses her kite.
    Story:
    Lily had a red kite. ...
    <|endoftext|>

A summary becomes the topic of the instruction; a record is sad when BadEnding is one of its features, and
happy otherwise.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from common.errors import InputError
from dataset import format_instruction

END_OF_RECORD = "<|endoftext|>"
MARKER = END_OF_RECORD.encode()
FIELDS = frozenset(("Features", "Words", "Summary", "Random sentence", "Story"))


class Record(NamedTuple):
    """What one raw record says, all texts stripped. `features` is None where it has no Features line."""

    story: str
    summary: str
    features: tuple[str, ...] | None

    @property
    def ending(self) -> str:
        return "sad" if self.features is not None and "BadEnding" in self.features else "happy"

    def example(self) -> dict[str, str]:
        return {
            "instruction": format_instruction(self.summary, self.ending),
            "response": self.story,
            "ending": self.ending,
        }


class Skipped(Exception):
    """A record that cannot become an example; the message is the counter it goes under."""


def whole_records(blocks: Iterable[bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of raw text -> start (in bytes) and text of pieces, at least `size` bytes read for each.

    A piece ends behind an end marker; only the last one ends where the text ends. Raises InputError if a
    piece would hold no marker.
    """
    start, held = 0, bytearray()
    for block in blocks:
        held += block
        if len(held) >= size:
            end = held.rfind(MARKER)
            if end < 0:
                raise InputError(
                    f"--source: no {END_OF_RECORD} in {size:,} bytes; this is not TinyStoriesInstruct"
                )
            end += len(MARKER)
            yield start, bytes(held[:end])
            del held[:end]
            start += end
    yield start, bytes(held)


def split_records(text: bytes, counts: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """The start (in bytes) and the text of one record after another in a piece of raw text.

    The end marker, which may stand alone or behind text, is not part of it. What follows the last one is no
    record: nobody knows where it would have ended. `counts` is added up to: rows (lines of text).
    """
    start = 0
    *records, rest = text.split(MARKER)
    for raw in records:
        counts["rows"] += raw.count(b"\n")
        if raw and not raw.isspace():
            yield start, raw
        start += len(raw) + len(MARKER)
    counts["rows"] += rest.count(b"\n") + (rest[-1:] not in (b"", b"\n"))
    if rest.strip():
        counts["records"] += 1
        counts["skipped: unterminated"] += 1


def parse_record(raw: bytes) -> Record:
    """The fields of one record. Raises Skipped where it does not hold both a summary and a story.

    Before the story, a line that is no field continues the field above it. After it, a line that looks like
    a field is story text unless only fields (and blanks) follow it up to the end of the record; such a field
    is one line. Where a field stands twice, the first one that is not empty counts.
    """
    text = raw.decode(errors="replace").removeprefix("\ufeff")
    lines = (text.replace("\r\n", "\n") if "\r" in text else text).split("\n")
    fields: dict[str, str] = {}
    name = ""
    for start, line in enumerate(lines):  # noqa: B007
        if found := field(line):
            name, value = found
            if name == "Story":
                break
            fields[name] = fields.get(name) or value
        elif line.strip():
            if not name:
                raise Skipped("cut-off start")
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    else:
        raise Skipped("no story")

    end = len(lines)
    closing = []
    while end > start + 1:
        found = field(lines[end - 1])
        if found and found[0] != "Story":
            closing.append(found)
        elif lines[end - 1].strip():
            break
        end -= 1
    for name, content in reversed(closing):
        fields[name] = fields.get(name) or content

    story = "\n".join([value, *lines[start + 1 : end]]).strip()
    summary = fields.get("Summary", "")
    features = fields.get("Features")
    if not story:
        raise Skipped("empty story")
    if not summary:
        raise Skipped("empty summary" if "Summary" in fields else "no summary")
    if "\ufffd" in text and "\ufffd" in f"{story}{summary}{features}":
        raise Skipped("invalid UTF-8")
    return Record(story, summary, None if features is None else tuple(map(str.strip, features.split(","))))


def field(line: str) -> tuple[str, str] | None:
    """Name and content of a line that is a field."""
    name, colon, value = line.partition(":")
    name = name.lstrip()
    return (name, value.strip()) if colon and name in FIELDS else None


def parsed_records(
    text: bytes, unlabelled: str, limit: int | None, counts: Counter[str]
) -> Iterator[tuple[int, int, Record]]:
    """Start and size (in bytes), and content, of every usable record in a piece of raw text, in order.

    `counts` is added up to: rows, records (until there are `limit`), records by ending, and what was skipped,
    by reason.
    """
    for start, raw in split_records(text, counts):
        counts["records"] += 1
        try:
            record = parse_record(raw)
            if record.features is None:
                counts["without features"] += 1
                if unlabelled == "drop":
                    raise Skipped("without features")
        except Skipped as reason:
            counts[f"skipped: {reason}"] += 1
        else:
            counts[record.ending] += 1
            yield start, len(raw), record
        if counts["records"] == limit:
            return
