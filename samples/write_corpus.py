"""Write the small corpus: tales of the grammar as raw records, with the real set's proportions and quirks.

    uv run python -m samples.write_corpus --output data/sample --records 40000

What is imitated, with the share in the real set: a Features line in 54% of the records, Words in 66%, a
Random sentence in 30%; the summary behind the story in a third; 12.1% end badly, marked only where there is a
Features line (6.6% of all); a blank line after `Story:` in the train file, none in the validation file; text
on the `Story:` line; the end marker behind the story's last word; a validation file that begins inside a
record; a train file that ends inside one; records without a story; bytes that are not UTF-8; a random
sentence with an unbalanced quote.
"""

import json
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from common.cli import parse, run, setting
from common.files import claimed_folder, write_text
from preparation.raw_files import FILES
from preparation.records import END_OF_RECORD
from samples.story_grammar import Tale, sentences, tell

WORDS, FEATURES, RANDOM_SENTENCE = 0.662, 0.542, 0.300  # share of the real records that have the field
SUMMARY_LAST = 1 / 3


@dataclass(frozen=True)
class Settings:
    output: str = setting("data/sample", "folder for the two text files; a corpus there is replaced")
    records: int = setting(40_000, "records in the train file", at_least=1)
    validation_records: int = setting(1_000, "records in the validation file, of held-out topics", at_least=1)
    omens: bool = setting(True, "stories foretell how they end; else their turn alone tells it")
    seed: int = setting(0, "seed of the stories", at_least=0)


def raw_record(tale: Tale, rng: random.Random, blank_line: bool) -> str:
    """The tale as one raw record, its end marker included."""
    fields = [f"Summary: {tale.summary}"]
    if rng.random() < WORDS:
        words = sorted({word for word in re.findall(r"\b[a-z]{4,}\b", tale.story)})
        fields.append(f"Words: {', '.join(rng.sample(words, 3))}")
    if rng.random() < FEATURES:
        features = [*tale.features, *["BadEnding"] * (tale.ending == "sad")]
        fields.append(f"Features: {', '.join(rng.sample(features, len(features))) or 'None'}")
    if rng.random() < RANDOM_SENTENCE:
        sentence = rng.choice(sentences(tale.story)).strip()
        fields.append(f"Random sentence: {sentence.rstrip(chr(34))}")
    rng.shuffle(fields)
    last = [field for field in fields if field.startswith("Summary")] if rng.random() < SUMMARY_LAST else []
    start = "Story: " if rng.random() < 0.05 else "Story: \n\n" if blank_line else "Story: \n"
    end = "" if rng.random() < 0.02 and not last else "\n"
    first = [field for field in fields if field not in last]
    return "\n".join([*first, start + tale.story, *last]) + end + END_OF_RECORD + "\n"


def write_split(file: Path, count: int, rng: random.Random, train: bool, omens: bool) -> None:
    """Write `count` tales to `file`: held-out topics if it is the validation file, else all others."""

    def record() -> str:
        return raw_record(tell(rng, held_out=not train, omens=omens), rng, blank_line=train)

    with open(file, "w", encoding="utf-8", newline="\n", errors="surrogateescape") as out:
        if not train:
            out.write(record()[40:])  # the tail of a record whose start was cut off
        for _ in tqdm(range(count), desc=file.name, unit=" records", unit_scale=True):
            out.write(record())
        out.write(f"Words: one, two, three\nSummary: A story that is not there.\n{END_OF_RECORD}\n")
        if train:
            out.write(record().replace(". ", ".\udc92 ", 1))  # the byte 0x92: a quotation mark, not UTF-8
            out.write(record()[:-60])  # nobody knows where it would have ended


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    written = ("corpus.json", *FILES.values())
    with claimed_folder(Path(settings.output), True, written, "a corpus") as folder:
        write_text(folder / "corpus.json", json.dumps(asdict(settings)) + "\n")
        for split, count in (("train", settings.records), ("validation", settings.validation_records)):
            rng = random.Random(f"{split} {settings.seed}")
            write_split(folder / FILES[split], count, rng, split == "train", settings.omens)
    print(f"written to {settings.output}")


if __name__ == "__main__":
    run(main)
