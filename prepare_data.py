"""Raw TinyStoriesInstruct -> a balanced instruction data set: every sad story, as many happy ones.

    uv run python prepare_data.py                                  # from the Hub, about 2.5 million records
    uv run python prepare_data.py --source FOLDER --output DIR     # from the two text files in FOLDER
    uv run python prepare_data.py --push-to-hub you/my-data-set    # and send the result to the Hub

The raw text holds one record after another, each some lines of fields (Features, Words, Summary, Random
sentence, Story; in any order, the story may have fields behind it) up to an <|endoftext|>:

    Features: Dialogue, BadEnding
    Summary: Lily loses her kite.
    Story:
    Lily had a red kite. ...
    <|endoftext|>

A summary becomes the topic of the instruction; a record is sad when BadEnding is one of its features, and
happy otherwise. The text is read twice: once from end to end for where the usable records lie and how they
end, then at the places of those that were drawn. So memory holds 13 bytes a record, whatever the size.

The output folder is what is pushed to the Hub: a Parquet file a split, a data card and stats.json. Raw text
from the Hub is kept in data/raw/, so that a run that was cut off goes on from there; it may be deleted.
"""

import itertools
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

import hub
from cards import data_card
from cli import InputError, parse, run, setting
from dataset import LOCAL_DATA, format_instruction
from files import make_writable, whole_folder

SOURCE = "roneneldan/TinyStoriesInstruct"
FILES = {"train": "TinyStories-Instruct-train.txt", "validation": "TinyStories-Instruct-valid.txt"}
RAW_FOLDER = Path("data/raw")
END_OF_RECORD = "<|endoftext|>"
FIELD = re.compile(r"\s*(Features|Words|Summary|Random sentence|Story):(.*)")
LONGEST_RECORD = 1 << 20  # bytes; the longest real ones have about 10,000
SCHEMA = pa.schema([(name, pa.string()) for name in ("instruction", "response", "ending")])
ROW_GROUP = 10_000  # examples


@dataclass(frozen=True)
class Settings:
    source: str = setting(SOURCE, "Hub id, or a folder with the two raw text files")
    output: str = setting(LOCAL_DATA, "folder to write; it appears whole or not at all")
    overwrite: bool = setting(False, "replace an output folder that is there")
    balance: bool = setting(True, "keep as many happy stories as sad ones, else all of them")
    unlabelled: str = setting(
        "happy",
        "records without a Features line (46%): 'happy', as the published rule has it, or 'drop'",
        choices=("happy", "drop"),
    )
    limit: int | None = setting(None, "read at most this many records of each split", at_least=1)
    seed: int = setting(0, "which happy stories are drawn, and the order of the examples", at_least=0)
    push_to_hub: str | None = setting(None, "repo to send the result to, namespace/name; default: none")


@dataclass(frozen=True)
class Record:
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


def split_records(blocks: Iterable[bytes], counts: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """Blocks of raw text -> the start (in bytes) and the text of one record after another.

    The end marker, which may stand alone or behind text, is not part of it. What follows the last one is no
    record: nobody knows where it would have ended. `counts` is added up to: rows (lines of text).
    """
    start = 0
    rest = b""
    for block in blocks:
        *records, rest = (rest + block).split(END_OF_RECORD.encode())
        for text in records:
            counts["rows"] += text.count(b"\n")
            if text and not text.isspace():
                yield start, text
            start += len(text) + len(END_OF_RECORD)
        if len(rest) > LONGEST_RECORD:
            raise InputError(
                f"--source: no {END_OF_RECORD} in {LONGEST_RECORD:,} bytes; this is not TinyStoriesInstruct"
            )
    if start or rest:
        counts["rows"] += rest.count(b"\n") + (not rest.endswith(b"\n"))
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
    lines = text.replace("\r\n", "\n").split("\n")
    if not FIELD.match(next(filter(str.strip, lines), "")):
        raise Skipped("cut-off start")
    fields: dict[str, str] = {}
    name = ""
    start = None
    for number, line in enumerate(lines):
        match = FIELD.match(line)
        if match and match[1] == "Story":
            start = number
            break
        if match:
            name = match[1]
            fields[name] = fields.get(name) or match[2].strip()
        elif line.strip():
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    if start is None:
        raise Skipped("no story")

    end = len(lines)
    while end > start + 1 and (_closing_field(lines[end - 1]) or not lines[end - 1].strip()):
        end -= 1
    for line in lines[end:]:
        if match := FIELD.match(line):
            fields[match[1]] = fields.get(match[1]) or match[2].strip()

    first = FIELD.match(lines[start])
    assert first
    story = "\n".join([first[2], *lines[start + 1 : end]]).strip()
    summary = fields.get("Summary", "")
    if not story:
        raise Skipped("empty story")
    if not summary:
        raise Skipped("empty summary" if "Summary" in fields else "no summary")
    features = fields.get("Features")
    if "\ufffd" in f"{story}{summary}{features}":
        raise Skipped("invalid UTF-8")
    return Record(
        story, summary, None if features is None else tuple(item.strip() for item in features.split(","))
    )


def _closing_field(line: str) -> bool:
    match = FIELD.match(line)
    return match is not None and match[1] != "Story"


@dataclass(frozen=True)
class LocalFile:
    """Raw text that is here already; to read, the same as a hub.StreamedFile."""

    file: Path

    @property
    def size(self) -> int:
        return self.file.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        return hub.read_blocks(self.file)


def open_source(source: str) -> tuple[dict[str, LocalFile | hub.StreamedFile], str | None]:
    """The raw file of each split, in a folder or on the Hub (`id[@revision]`), and the commit there.

    Raises InputError if a file is missing, or the Hub does not give it.
    """
    folder = Path(source)
    if folder.exists():
        for name in FILES.values():
            if not (folder / name).is_file():
                raise InputError(f"--source {source}: holds no {name}")
        return {split: LocalFile(folder / name) for split, name in FILES.items()}, None
    repo_id, commit = hub.resolve(source, "dataset")
    kept = RAW_FOLDER / f"{repo_id.replace('/', '--')}@{commit[:12]}"
    print(f"source: {repo_id}, commit {commit[:12]}; raw text is kept in {kept}")
    return {split: hub.StreamedFile(repo_id, commit, name, kept) for split, name in FILES.items()}, commit


def parsed_records(
    blocks: Iterable[bytes], unlabelled: str, limit: int | None, counts: Counter[str]
) -> Iterator[tuple[int, int, Record]]:
    """Start and size (in bytes) in the raw text, and content, of every usable record, in order.

    `counts` is added up to: rows, records, records by ending, and what was skipped, by reason.
    """
    for start, raw in split_records(blocks, counts):
        counts["records"] += 1
        try:
            record = parse_record(raw)
            if record.features is None:
                counts["without features"] += 1
                if unlabelled == "drop":
                    raise Skipped("without features")
            counts[record.ending] += 1
            yield start, len(raw), record
        except Skipped as reason:
            counts[f"skipped: {reason}"] += 1
        if counts["records"] == limit:
            return


def parsed_examples_generator(
    split: str = "train",
    *,
    blocks: Iterable[bytes] | None = None,
    source: str = SOURCE,
    unlabelled: str = "happy",
    limit: int | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[dict[str, str]]:
    """Yield {"instruction", "response", "ending"} for every usable record, in the order of the raw text.

    `blocks` is the raw text in pieces of any size; default: the split of `source`. `counts`: see
    `parsed_records`.
    """
    if blocks is None:
        blocks = open_source(source)[0][split].blocks()
    for _, _, record in parsed_records(blocks, unlabelled, limit, Counter() if counts is None else counts):
        yield record.example()


def choose(sad: np.ndarray, balance: bool, rng: np.random.Generator) -> np.ndarray:
    """Indices of the examples to keep, shuffled: all of the smaller class, as many of the larger.

    `sad` is (N,) bool, the examples' endings.
    """
    if not balance:
        return rng.permutation(len(sad))
    classes = np.flatnonzero(sad), np.flatnonzero(~sad)
    size = min(map(len, classes))
    return rng.permutation(np.concatenate([rng.choice(members, size, replace=False) for members in classes]))


@dataclass(frozen=True)
class Index:
    """Where the usable records of a raw file are; all arrays (N,)."""

    starts: np.ndarray  # int64, bytes
    sizes: np.ndarray  # int32, bytes
    sad: np.ndarray  # bool


def index_records(
    raw: LocalFile | hub.StreamedFile, split: str, settings: Settings, counts: Counter[str]
) -> Index:
    """Read a raw file from end to end."""
    starts, sizes, sad = array("q"), array("i"), bytearray()
    total = raw.size if settings.limit is None else None
    with tqdm(total=total, desc=split, unit="B", unit_scale=True) as progress:

        def shown() -> Iterator[bytes]:
            for block in raw.blocks():
                yield block
                seconds = progress.format_dict["elapsed"] or 1e-9
                rows, records = counts["rows"], counts["records"]
                progress.set_postfix_str(
                    f"{rows:,} rows, {records:,} records, {records / seconds:,.0f} records/s", refresh=False
                )
                progress.update(len(block))

        for start, size, record in parsed_records(shown(), settings.unlabelled, settings.limit, counts):
            starts.append(start)
            sizes.append(size)
            sad.append(record.ending == "sad")
    return Index(np.frombuffer(starts, np.int64), np.frombuffer(sizes, np.int32), np.frombuffer(sad, bool))


def examples_at(raw: BinaryIO, index: Index, kept: np.ndarray) -> Iterator[dict[str, str]]:
    """The examples number `kept` of an index, read where they lie."""
    for i in kept:
        raw.seek(index.starts[i])
        yield parse_record(raw.read(index.sizes[i])).example()


def write_parquet(file: Path, examples: Iterator[dict[str, str]]) -> dict[str, int]:
    """Write the examples, a row group at a time. Returns their number and size, and that of the file."""
    num_examples = num_bytes = 0
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while group := list(itertools.islice(examples, ROW_GROUP)):
            table = pa.Table.from_pylist(group, SCHEMA)
            writer.write_table(table)
            num_examples += table.num_rows
            num_bytes += table.nbytes
    return dict(num_examples=num_examples, num_bytes=num_bytes, file_bytes=file.stat().st_size)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    output = Path(settings.output)
    if output.exists() and not settings.overwrite:
        raise InputError(f"--output {output}: is there already; name another, or add --overwrite")
    if output.exists() and not (output / "stats.json").is_file():
        raise InputError(f"--output {output}: holds something else than a data set; name another")
    make_writable(output.parent)
    if settings.push_to_hub is not None:
        hub.check_write_access(settings.push_to_hub, "dataset")
    raw, commit = open_source(settings.source)

    stats: dict[str, dict[str, int]] = {}
    parquet: dict[str, dict[str, int]] = {}
    with whole_folder(output) as folder:
        for number, split in enumerate(FILES):
            counts = Counter[str]()
            index = index_records(raw[split], split, settings, counts)
            kept = choose(index.sad, settings.balance, np.random.default_rng([settings.seed, number]))
            counts["kept sad"] = int(index.sad[kept].sum())
            counts["kept happy"] = len(kept) - counts["kept sad"]
            stats[split] = dict(counts)
            if len(kept):  # a split without examples is left out: `datasets` could not load it
                with open(raw[split].file, "rb") as file:
                    parquet[split] = write_parquet(
                        folder / f"{split}.parquet", examples_at(file, index, kept)
                    )
            elif split == "train":
                raise InputError(
                    f"--source {settings.source}: no example is left for training ({_summary(counts)})"
                    + ("; try --no-balance" if settings.balance else "")
                )
        report = {"settings": asdict(settings), "commit": commit, "splits": stats, "parquet": parquet}
        (folder / "stats.json").write_text(json.dumps(report, indent=2) + "\n")
        (folder / "README.md").write_text(data_card(report))
    for split, counted in stats.items():
        print(f"{split}: {_summary(counted)}")
    print(f"written to {output}")
    if settings.push_to_hub is not None:
        hub.push(output, settings.push_to_hub, "dataset")


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


if __name__ == "__main__":
    run(main)
