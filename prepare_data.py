"""Raw TinyStoriesInstruct -> a balanced instruction data set: every sad story, as many happy ones.

    uv run python prepare_data.py                                  # from the Hub, about 2.5 million records
    uv run python prepare_data.py --source FOLDER --output DIR     # from the two text files in FOLDER

The raw text holds one record after another, each some lines of fields (Features, Words, Summary, Random
sentence, Story; in any order, the story may have fields behind it) up to an <|endoftext|>:

    Features: Dialogue, BadEnding
    Summary: Lily loses her kite.
    Story:
    Lily had a red kite. ...
    <|endoftext|>

A summary becomes the topic of the instruction; a record is sad when BadEnding is one of its features, and
happy otherwise. The output folder holds the splits as `datasets` saves them, a data card and stats.json.
"""

import glob
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from cli import InputError, parse, run, setting
from dataset import LOCAL_DATA, format_instruction
from files import make_writable, whole_folder

if TYPE_CHECKING:
    from datasets import Dataset

SOURCE = "roneneldan/TinyStoriesInstruct"
FILES = {"train": "TinyStories-Instruct-train.txt", "validation": "TinyStories-Instruct-valid.txt"}
END_OF_RECORD = "<|endoftext|>"
FIELD = re.compile(r"\s*(Features|Words|Summary|Random sentence|Story):(.*)")
ROWS_AT_ONCE = 10_000


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


@dataclass(frozen=True)
class Record:
    """What one raw record says, all texts stripped. `features` is None where it has no Features line."""

    story: str
    summary: str
    features: tuple[str, ...] | None

    @property
    def ending(self) -> str:
        return "sad" if self.features is not None and "BadEnding" in self.features else "happy"


class Skipped(Exception):
    """A record that cannot become an example; the message is the counter it goes under."""


def split_records(rows: Iterable[str], counts: Counter[str]) -> Iterator[list[str]]:
    """Rows of text, one line each -> the lines of one record after another.

    The end marker may stand alone or behind text. What follows the last one is no record: nobody knows where
    it would have ended.
    """
    lines: list[str] = []
    for row in rows:
        counts["rows"] += 1
        *ended, rest = row.rstrip("\r\n").removeprefix("\ufeff").split(END_OF_RECORD)
        for text in ended:
            lines.append(text)
            if any(line.strip() for line in lines):
                yield lines
            lines = []
        if rest or not ended:
            lines.append(rest)
    if any(line.strip() for line in lines):
        counts["records"] += 1
        counts["skipped: unterminated"] += 1


def parse_record(lines: list[str]) -> Record:
    """The fields of one record. Raises Skipped where it does not hold both a summary and a story.

    Before the story, a line that is no field continues the field above it. After it, a line that looks like
    a field is story text unless only fields (and blanks) follow it up to the end of the record; such a field
    is one line. Where a field stands twice, the first one that is not empty counts.
    """
    fields: dict[str, str] = {}
    rest = [line for line in lines if line.strip()]
    if not FIELD.match(rest[0]):
        raise Skipped("cut-off start")
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


def open_rows(source: str, split: str) -> Iterator[str]:
    """The lines of a split of the raw data, streamed from a folder or from the Hub (`id[@revision]`).

    Bytes that are not UTF-8 arrive as U+FFFD from a folder; from the Hub, where `datasets` does not pass
    `encoding_errors` on, they raise InputError, and so does a folder that lacks the split's file.
    """
    from datasets import load_dataset

    how: dict[str, Any] = dict(split=split, streaming=True, encoding_errors="replace")
    if Path(source).exists():
        file = Path(source) / FILES[split]
        if not file.is_file():
            raise InputError(f"--source {source}: holds no {FILES[split]}")
        stream = load_dataset("text", data_files={split: glob.escape(str(file))}, **how)
    else:
        repo_id, _, revision = source.partition("@")
        try:
            stream = load_dataset(repo_id, revision=revision or None, **how)
        except Exception as error:  # datasets and the Hub client raise many unrelated kinds
            reason = str(error).strip().split("\n")[0][:200]
            raise InputError(
                f"--source {source}: no such folder, and the Hub did not give it ({reason})"
            ) from error
    return _rows(stream, source)


def _rows(stream: Any, source: str) -> Iterator[str]:
    try:
        for batch in stream.iter(batch_size=ROWS_AT_ONCE):
            yield from batch["text"]
    except UnicodeDecodeError as error:
        raise InputError(
            f"--source {source}: holds bytes that are not UTF-8; download its two text files and name their "
            "folder: from there, such records are skipped"
        ) from error


def parsed_examples_generator(
    split: str = "train",
    *,
    rows: Iterable[str] | None = None,
    source: str = SOURCE,
    unlabelled: str = "happy",
    limit: int | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[dict[str, str]]:
    """Yield {"instruction", "response", "ending"} for every usable record, in the order of the raw rows.

    `counts` (if given) is added up to: rows, records, records by ending, and what was skipped, by reason.
    """
    counts = Counter() if counts is None else counts
    rows = open_rows(source, split) if rows is None else rows
    for lines in split_records(rows, counts):
        if limit is not None and counts["records"] == limit:
            return
        counts["records"] += 1
        try:
            record = parse_record(lines)
        except Skipped as reason:
            counts[f"skipped: {reason}"] += 1
            continue
        if record.features is None:
            counts["without features"] += 1
            if unlabelled == "drop":
                counts["skipped: without features"] += 1
                continue
        counts[record.ending] += 1
        yield {
            "instruction": format_instruction(record.summary, record.ending),
            "response": record.story,
            "ending": record.ending,
        }


def choose(sad: np.ndarray, balance: bool, rng: np.random.Generator) -> np.ndarray:
    """Indices of the examples to keep, shuffled: all of the smaller class, as many of the larger.

    `sad` is (N,) bool, the examples' endings.
    """
    if not balance:
        return rng.permutation(len(sad))
    classes = np.flatnonzero(sad), np.flatnonzero(~sad)
    size = min(map(len, classes))
    return rng.permutation(np.concatenate([rng.choice(members, size, replace=False) for members in classes]))


def prepare_split(
    settings: Settings, rows: Iterator[str], split: str, folder: Path
) -> tuple["Dataset | None", dict[str, int]]:
    """Parse a split to disk under `folder`, and choose from it. Returns what is kept (or None) and counts."""
    from datasets import Dataset, Features, Value
    from datasets.arrow_writer import ArrowWriter

    counts: Counter[str] = Counter()
    columns = Features({name: Value("string") for name in ("instruction", "response", "ending")})
    sad = bytearray()  # one byte an example
    file = folder / f"{split}.arrow"
    shown = tqdm(rows, desc=split, unit=" rows", unit_scale=True)
    examples = parsed_examples_generator(
        split, rows=shown, unlabelled=settings.unlabelled, limit=settings.limit, counts=counts
    )
    with ArrowWriter(path=str(file), features=columns) as writer:
        for example in examples:
            writer.write(example)
            sad.append(example["ending"] == "sad")
        writer.finalize()
    shown.close()
    endings = np.frombuffer(sad, bool)
    kept = choose(endings, settings.balance, np.random.default_rng([settings.seed, list(FILES).index(split)]))
    counts["kept happy"], counts["kept sad"] = int((~endings[kept]).sum()), int(endings[kept].sum())
    return Dataset.from_file(str(file)).select(kept) if len(kept) else None, dict(counts)


def data_card(settings: Settings, stats: dict[str, dict[str, int]]) -> str:
    names = list(dict.fromkeys(name for counts in stats.values() for name in counts))
    table = [
        f"| {name} | " + " | ".join(f"{stats[split].get(name, 0):,}" for split in stats) + " |"
        for name in names
    ]
    return f"""---
license: cdla-sharing-1.0
language: en
task_categories: [text-generation]
---
# Balanced TinyStories instructions

Instruction: what a story is about, and whether it ends happily or sadly. Response: the story.
Made from `{settings.source}` by `prepare_data.py`, seed {settings.seed}, balanced: {settings.balance}.

A record is sad when `BadEnding` is one of its features, and happy otherwise. Records without a Features line
(here: {settings.unlabelled}) may end badly unmarked.

| | {" | ".join(stats)} |
|---|{"---|" * len(stats)}
{chr(10).join(table)}
"""


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    import datasets

    output = Path(settings.output)
    if output.exists() and not settings.overwrite:
        raise InputError(f"--output {output}: is there already; name another, or add --overwrite")
    if output.exists() and not (output / "dataset_dict.json").is_file():
        raise InputError(f"--output {output}: holds something else than a data set; name another")
    datasets.disable_progress_bars()
    rows = {split: open_rows(settings.source, split) for split in FILES}
    make_writable(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as parsed:
        prepared = {split: prepare_split(settings, rows[split], split, Path(parsed)) for split in FILES}
        stats = {split: counts for split, (_, counts) in prepared.items()}
        if prepared["train"][0] is None:
            raise InputError(
                f"--source {settings.source}: no example is left for training ({_summary(stats['train'])})"
                + ("; try --no-balance" if settings.balance else "")
            )
        # A split with no example is left out: `datasets` saves one, but cannot load it.
        splits = {split: kept for split, (kept, _) in prepared.items() if kept}
        with whole_folder(output) as folder:
            datasets.DatasetDict(splits).save_to_disk(folder)
            report = {"settings": asdict(settings), "splits": stats}
            (folder / "stats.json").write_text(json.dumps(report, indent=2) + "\n")
            (folder / "README.md").write_text(data_card(settings, stats))
    for split, counts in stats.items():
        print(f"{split}: {_summary(counts)}")
    print(f"written to {output}")


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


if __name__ == "__main__":
    run(main)
