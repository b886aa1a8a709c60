"""Somebody's own stories: the examples of a file (story_file.py), for training and for validation."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common.endings import as_ending, as_endings
from common.errors import InputError
from common.story_file import read_story_file

VALIDATION_SHARE = 20  # one in so many topics
LONGEST = 100_000  # characters of a text; of a million blanks, tiktoken's stack overflows


class Example(NamedTuple):
    """A story and what it was asked for. Without an ending ("") the topic is a prompt as it stands."""

    topic: str
    ending: str
    story: str


TopicOf = Callable[[str, str], str]  # an instruction and its ending -> the topic: dataset.topic_of


def split_stories(
    file: Path, topic_of: TopicOf, validation: Path | None = None, limit: int | None = None
) -> tuple[tuple[str, ...], dict[str, list[Example]]]:
    """The endings of a file's stories, and its examples by split, at most `limit` of them from a file.

    Without a file for validation, the stories about one topic in VALIDATION_SHARE are taken: by a hash, so
    that a topic is always on the same side, whatever else the file holds. Raises InputError.
    """

    def example(texts: dict[str, str]) -> Example:
        if "prompt" in texts:
            return Example(texts["prompt"], "", texts["completion"])
        ending = as_ending(texts["ending"])
        topic = texts["topic"] if "topic" in texts else topic_of(texts["instruction"], ending)
        story = texts["story"] if "topic" in texts else texts["response"]
        return Example(" ".join(topic.split()), ending, story.replace("\r\n", "\n").strip())

    examples = read_story_file(file, example, LONGEST // 2)[:limit]
    try:
        endings = as_endings(each.ending for each in examples if each.ending)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    if validation is not None:
        held_out = read_story_file(validation, example, LONGEST // 2)[:limit]
        if unknown := {each.ending for each in held_out} - {*(endings or ("",))}:
            raise InputError(f"{validation}: {min(unknown)!r} is no ending of {file}")
        return endings, {"train": examples, "validation": held_out}
    splits: dict[str, list[Example]] = {"train": [], "validation": []}
    for each in examples:
        splits["validation" if is_held_out(each.topic) else "train"].append(each)
    if {*endings} - {each.ending for each in splits["train"]} or not splits["train"]:
        raise InputError(f"{file}: too few topics: those held out for validation leave an ending without any")
    return endings, splits


def is_held_out(topic: str) -> bool:
    digest = hashlib.blake2b(topic.casefold().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % VALIDATION_SHARE == 0
