"""How stories may end: two to eight short words of a data set, and of the model that was taught them.

A checkpoint says so in endings.json, beside config.json, together with the prompt that asks for an ending:

    {"endings": ["funny", "happy", "sad"], "prompt": "Write a story about: {summary}\\nWith: {ending} ..."}

Without that file, as the published models are, a model's endings are happy and sad. A model may have none: it
goes on with whatever prompt it is given.
"""

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common.errors import CheckpointError, InputError, one_line
from common.files import write_text

ENDINGS: tuple[str, ...] = ("happy", "sad")
ENDINGS_FILE = "endings.json"
FEWEST, MOST = 2, 8
LONGEST = 20  # characters of an ending
NEITHER = "neither"  # what the judge says of a story that ends in no known way


class Taught(NamedTuple):
    """What a model was taught to be asked."""

    endings: tuple[str, ...] = ENDINGS
    prompt: str | None = None  # with {summary} and {ending} where these stand; None: the model does not say


def as_ending(text: str) -> str:
    """An ending as it is written everywhere: in small letters, with single blanks. Raises InputError, with
    the reason, if it is no short word."""
    ending = " ".join(text.split()).lower()
    known = all(unicodedata.category(sign)[0] in "LMN" or sign in " -'" for sign in ending)
    if not known or not ending[:1].isalnum() or len(ending) > LONGEST:
        raise InputError(
            f"{text!r:.40} is no ending: a word or two, at most {LONGEST} letters, digits, - and '"
        )
    if ending == NEITHER:
        raise InputError(f"the ending {NEITHER!r} would be none; take another word")
    return ending


def as_endings(words: Iterable[str]) -> tuple[str, ...]:
    """The different endings, sorted. Raises InputError if one is not as `as_ending` would have it, or there
    are too few or too many; none at all is as good as two."""
    endings = tuple(sorted({*words}))
    if endings and not FEWEST <= len(endings) <= MOST:
        found = ", ".join(repr(ending)[:40] for ending in endings[: MOST + 1])
        more = ", ..." if len(endings) > MOST + 1 else ""
        raise InputError(
            f"{len(endings)} ending{'s' * (len(endings) > 1)} ({found}{more}); two to eight are needed, or "
            "none: name the texts prompt and completion"
        )
    for ending in endings:
        if as_ending(ending) != ending:
            raise InputError(f"the ending {ending!r:.40} must be written {as_ending(ending)!r}")
    return endings


def either(endings: Iterable[str], word: str = "or") -> str:
    """Several words as a sentence has them: "funny, happy or sad"."""
    *first, last = endings
    return f"{', '.join(first)} {word} {last}" if first else last


def read_taught(folder: Path) -> Taught:
    """What the endings.json in a checkpoint's folder says. Raises CheckpointError if it is damaged."""
    file = folder / ENDINGS_FILE
    if not file.is_file():
        return Taught()
    try:
        said = json.loads(file.read_text("utf-8"))
        endings, prompt = said["endings"], said["prompt"]
        if not isinstance(prompt, str) or not isinstance(endings, list):
            raise ValueError("endings must be a list of words, prompt a text")
        return Taught(as_endings(endings), prompt)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file}: damaged; copy it anew ({one_line(error)})") from error


def write_taught(folder: Path, taught: Taught) -> None:
    """Into a checkpoint's folder, if there is something to say."""
    if taught.prompt is not None:
        content = json.dumps(taught._asdict(), ensure_ascii=False, indent=2)
        write_text(folder / ENDINGS_FILE, content + "\n")
