"""The obvious way to prepare the data: single rows from a stream of `datasets`, all examples in lists.

    uv run python -m benchmarks.plain_preparation --source FOLDER --output DIR

It parses a record with prepare_data.py's function, and gives the same data set as that script, row for row.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from common.cli import parse, run, setting
from preparation.raw_files import FILES
from preparation.records import END_OF_RECORD, Skipped, parse_record
from prepare_data import choose_examples


@dataclass(frozen=True)
class Settings:
    source: str = setting("data/sample", "folder with the two raw text files")
    output: str = setting("data/plain", "folder for a Parquet file a split")


def examples(file: Path) -> Iterator[dict[str, str]]:
    """The usable records of a raw file."""
    rows = datasets.load_dataset(
        "text", data_files=str(file), split="train", streaming=True, encoding_errors="replace"
    )
    lines = []
    for row in rows:
        text, marker, _ = row["text"].partition(END_OF_RECORD)
        lines.append(text)
        if marker:
            with contextlib.suppress(Skipped):
                yield parse_record("\n".join(lines).encode()).example()
            lines = []


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    for number, (split, name) in enumerate(FILES.items()):
        parsed = list(examples(Path(settings.source) / name))
        sad = np.array([example["ending"] == "sad" for example in parsed])
        kept = choose_examples(sad, balance=True, rng=np.random.default_rng([0, number]))
        datasets.Dataset.from_list([parsed[i] for i in kept]).to_parquet(output / f"{split}.parquet")


if __name__ == "__main__":
    run(main)
