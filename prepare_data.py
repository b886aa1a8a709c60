"""Raw TinyStoriesInstruct, or a file of stories -> a balanced instruction data set: as many of each ending.

    uv run python prepare_data.py                                  # from the Hub, about 2.5 million records
    uv run python prepare_data.py --source FOLDER --output DIR     # from the two text files in FOLDER
    uv run python prepare_data.py --source my.jsonl --output DIR   # your own: common/own_stories.py
    uv run python prepare_data.py --push-to-hub you/my-data-set    # and send the result to the Hub

The raw text (see preparation/records.py) is read twice: once from end to end for where the usable records lie
and how they end, then at the places of those that were drawn. So memory holds 13 bytes of each record, not
its text; of a file of stories, all of it.

The output folder is what is pushed to the Hub: a Parquet file a split, a data card and stats.json. Raw text
from the Hub is kept in data/raw/, so that a run that was cut off goes on from there; it may be deleted.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from common import hub
from common.cli import parse, run, setting
from common.endings import ENDINGS
from common.errors import InputError
from common.files import claimed_folder, write_text
from common.own_stories import Example, split_stories
from dataset import COLUMNS, LOCAL_DATA, as_table, topic_of
from preparation.processes import map_in_order, start_pool
from preparation.raw_files import SOURCE, open_source
from preparation.records import parse_record, parsed_records, whole_records
from preparation.streamed_file import RawFile
from sharing.cards import data_card
from sharing.push import check_write_access, push

PIECE = 2 << 20  # bytes of text that are parsed at a time
PARALLEL_FROM = 100 << 20  # bytes from which it is worth starting processes
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
ROW_GROUP = 2_000  # examples
WRITTEN = ("stats.json", "train.parquet", "validation.parquet", "README.md")


@dataclass(frozen=True)
class Settings:
    source: str = setting(
        SOURCE, "Hub id, a folder with the two raw text files, or a file of your stories (.jsonl, .csv)"
    )
    validation: str | None = setting(
        None, "another file of your stories to validate on; default: one in twenty topics of the first"
    )
    output: str = setting(LOCAL_DATA, "folder to write; it appears whole or not at all")
    overwrite: bool = setting(False, "replace the data set in an output folder; other files stay")
    balance: bool = setting(True, "keep as many stories of each ending, else all of them")
    unlabelled: str = setting(
        "happy",
        "raw records without a Features line (46%): 'happy', as the published rule has it, or 'drop'",
        choices=("happy", "drop"),
    )
    limit: int | None = setting(
        None, "read at most this many records of each split, or stories of each file", at_least=1
    )
    seed: int = setting(
        0, "which stories of the commoner endings are drawn, and the order of all", at_least=0
    )
    push_to_hub: str | None = setting(None, "repo to send the result to, namespace/name; default: none")


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

    `blocks` is the raw text in blocks of any size; default: the split of `source`. `counts`: see
    `parsed_records`.
    """
    counts = Counter() if counts is None else counts
    if blocks is None:
        blocks = open_source(source)[0][split].blocks()
    for _, text in whole_records(blocks, PIECE):
        for _, _, record in parsed_records(text, unlabelled, limit, counts):
            yield record.example()
        if counts["records"] == limit:
            return


def choose_examples(endings: np.ndarray, balance: bool, rng: np.random.Generator) -> np.ndarray:
    """Indices of the examples to keep, shuffled: of each ending as many as the rarest has.

    `endings` is (N,) int, their numbers.
    """
    if not balance:
        return rng.permutation(len(endings))
    classes = [np.flatnonzero(endings == number) for number in np.unique(endings)]
    size = min(map(len, classes), default=0)
    drawn = [rng.choice(members, size, replace=False) for members in reversed(classes)]
    return rng.permutation(np.concatenate([np.empty(0, np.int64), *drawn]))


class Index(NamedTuple):
    """Where the usable records of a raw text are; all arrays (N,)."""

    starts: np.ndarray  # int64, bytes
    sizes: np.ndarray  # int32, bytes
    endings: np.ndarray  # int8, their numbers in ENDINGS


def index_records(
    raw: RawFile, split: str, settings: Settings, counts: Counter[str], pool: Executor | None
) -> Index:
    """Read a raw file from end to end. `counts`: see `parsed_records`."""
    limit = settings.limit
    parts = []
    with tqdm(total=raw.size if limit is None else None, desc=split, unit="B", unit_scale=True) as progress:

        def shown() -> Iterator[bytes]:
            for block in raw.blocks():
                progress.update(len(block))
                yield block

        pieces = (
            (start, text, settings.unlabelled, limit and limit - counts["records"])
            for start, text in whole_records(shown(), PIECE)
        )
        for part, more in map_in_order(index_piece, pieces, pool):
            parts.append(part)
            counts.update(more)
            speed = counts["records"] / max(progress.format_dict["elapsed"], 1e-3)
            progress.set_postfix_str(
                f"{counts['rows']:,} rows, {counts['records']:,} records, {speed:,.0f} records/s"
            )
            if counts["records"] == limit:
                break
    return Index(*map(np.concatenate, zip(*parts, strict=True)))


def index_piece(start: int, text: bytes, unlabelled: str, limit: int | None) -> tuple[Index, Counter[str]]:
    """The index of a piece of raw text that starts at byte `start`, and its counts."""
    counts: Counter[str] = Counter()
    found = [
        (start + offset, size, ENDINGS.index(record.ending))
        for offset, size, record in parsed_records(text, unlabelled, limit, counts)
    ]
    starts, sizes, endings = zip(*found, strict=True) if found else ((), (), ())
    return Index(np.array(starts, np.int64), np.array(sizes, np.int32), np.array(endings, np.int8)), counts


def examples_at(file: Path, starts: np.ndarray, sizes: np.ndarray) -> pa.Table:
    """The examples of the records that lie at these places of a raw text."""
    examples = []
    with open(file, "rb", buffering=0) as raw:
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            raw.seek(start)
            record = parse_record(raw.read(size))
            examples.append(Example(record.summary, record.ending, record.story))
    return as_table(examples, ENDINGS)


def write_parquet(file: Path, groups: Iterable[pa.Table]) -> dict[str, int]:
    """Write the examples, a row group a table. Returns their number and size, and that of the file."""
    num_examples = num_bytes = 0
    # pyarrow itself would take the path for UTF-8 in any locale.
    with open(file, "wb") as out, pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for table in groups:
            writer.write_table(table)
            num_examples += table.num_rows
            num_bytes += table.nbytes
    return dict(num_examples=num_examples, num_bytes=num_bytes, file_bytes=file.stat().st_size)


class Split(NamedTuple):
    """A split of the source, before some of its examples are drawn."""

    name: str
    endings: np.ndarray  # (N,) int8, the examples' endings by their number
    counts: Counter[str]
    tables: Callable[[Iterable[np.ndarray]], Iterable[pa.Table]]  # groups of indices -> their examples


def raw_splits(raw: dict[str, RawFile], settings: Settings, pool: Executor | None) -> Iterator[Split]:
    for name, file in raw.items():
        counts = Counter[str]()
        index = index_records(file, name, settings, counts, pool)

        def tables(groups: Iterable[np.ndarray], file: Path = file.file, index: Index = index) -> Any:
            return map_in_order(
                examples_at, ((file, index.starts[group], index.sizes[group]) for group in groups), pool
            )

        yield Split(name, index.endings, counts, tables)


def story_splits(splits: dict[str, list[Example]], endings: Sequence[str]) -> Iterator[Split]:
    for name, examples in splits.items():
        numbers = [endings.index(example.ending) if endings else 0 for example in examples]
        counts = Counter({"stories": len(examples)})
        counts.update({ending: numbers.count(i) for i, ending in enumerate(endings)})

        def tables(groups: Iterable[np.ndarray], examples: list[Example] = examples) -> Any:
            return (as_table([examples[place] for place in group], endings) for group in groups)

        yield Split(name, np.array(numbers, np.int8), counts, tables)


def prepare(settings: Settings, folder: Path) -> dict[str, dict[str, int]]:
    """Fill `folder` with the data set. Returns the counts of each split."""
    file = Path(settings.source)
    endings, commit, parallel = ENDINGS, None, False
    if file.is_file():
        if settings.unlabelled != "happy":
            raise InputError("--unlabelled: is for raw records; a file of stories says how each ends")
        validation = None if settings.validation is None else Path(settings.validation)
        endings, stories = split_stories(file, topic_of, validation, settings.limit)
    else:
        if settings.validation is not None:
            raise InputError("--validation: goes with a file of stories as --source")
        raw, commit = open_source(settings.source)
        parallel = settings.limit is None and raw["train"].size >= PARALLEL_FROM
    if settings.push_to_hub is not None:
        check_write_access(settings.push_to_hub, "dataset")

    stats: dict[str, dict[str, int]] = {}
    parquet: dict[str, dict[str, int]] = {}
    with start_pool(parallel) as pool:
        splits = story_splits(stories, endings) if file.is_file() else raw_splits(raw, settings, pool)
        for number, split in enumerate(splits):
            rng = np.random.default_rng([settings.seed, number])
            kept = choose_examples(split.endings, settings.balance, rng)
            for i, ending in enumerate(endings):
                split.counts[f"kept {ending}"] = int((split.endings[kept] == i).sum())
            if not endings:
                split.counts["kept"] = len(kept)
            stats[split.name] = dict(split.counts)
            lacks = settings.balance and any(not split.counts[f"kept {ending}"] for ending in endings)
            if split.name == "train" and (lacks or not len(kept)):
                raise InputError(
                    f"--source {settings.source}: no example of an ending is left for training "
                    f"({_summary(split.counts)})" + ("; try --no-balance" if settings.balance else "")
                )
            if len(kept):  # a split without examples is left out
                groups = np.split(kept, range(ROW_GROUP, len(kept), ROW_GROUP))
                parquet[split.name] = write_parquet(folder / f"{split.name}.parquet", split.tables(groups))
    report = {
        "source": hub.parts(settings.source).repo_id if commit else file.resolve().name,
        "commit": commit,
        "kind": "stories" if file.is_file() else "TinyStoriesInstruct",
        "endings": endings,
        "settings": {name: getattr(settings, name) for name in ("balance", "unlabelled", "limit", "seed")},
        "splits": stats,
        "parquet": parquet,
    }
    write_text(folder / "stats.json", json.dumps(report, indent=2) + "\n")
    write_text(folder / "README.md", data_card(report))
    return stats


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    output = Path(settings.output)
    with claimed_folder(output, settings.overwrite, WRITTEN, "a data set") as folder:
        stats = prepare(settings, folder)
    for split, counted in stats.items():
        print(f"{split}: {_summary(counted)}")
    print(f"written to {output}")
    if settings.push_to_hub is not None:
        push(output, settings.push_to_hub, "dataset")


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


if __name__ == "__main__":
    run(main)
