"""The plots of the story grammar and what they share, from PLOT_FILES and shared.toml.

shared.toml says what a plot is made of, and how to add one.
"""

import functools
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

FOLDER = Path(__file__).parent
PLOT_FILES = ("plots_home.toml", "plots_outdoors.toml", "plots_friends.toml")
REQUIRED_ENDINGS = ("happy", "sad")  # every plot has them: `tell` draws one of them

# What the files hold, as `_checked` wants it: a string names the slots that a text may have, a list says what
# an array may hold, a text or an inner array, and a dict says what a table's values are.
SLOTS = "{name} {kind} {he} {him} {his} {He} {His} {friend} {friend_kind} {thing} {a_thing} {color} {place}"
SLOTS += " {parent}"
WORDS, SENTENCES, PARTS = [""], [SLOTS], [SLOTS, [SLOTS]]
SHARED_SENTENCES = [SLOTS + " {mood} {omen}"]
PLOT = dict(things=WORDS, places=WORDS, summaries=SENTENCES, beginning=PARTS, middle=PARTS, features=WORDS)
ENDING = dict(moods=WORDS, closings=SHARED_SENTENCES)
SHARED = {key: WORDS for key in ("girls", "boys", "animals", "colors", "parents", "omens")}
SHARED |= {key: SHARED_SENTENCES for key in ("openings", "foretelling", "recalling", "coming_true")}

Sentence = str | tuple[str, ...]  # a template with slots such as {name}, or several, of which one is drawn


@dataclass(frozen=True)
class Plot:
    """What happens to a hero and a thing, and how it may end; shared.toml explains each field."""

    name: str
    things: tuple[str, ...]
    places: tuple[str, ...]
    summaries: tuple[str, ...]
    beginning: tuple[Sentence, ...]
    middle: tuple[Sentence, ...]
    endings: dict[str, tuple[str, ...]]  # by name, each with its turns
    features: tuple[str, ...] = ()


@functools.cache
def plots(ending: str | None = None) -> tuple[Plot, ...]:
    """All plots, or those with the ending, in the files' order. Raises InputError as `read_plots` does."""
    if ending is not None:
        return tuple(plot for plot in plots() if ending in plot.endings)
    return tuple(plot for name in PLOT_FILES for plot in read_plots(FOLDER / name))


def read_plots(file: Path) -> list[Plot]:
    """The plots of a file. Raises InputError for a mistake in it: one line with file, plot and key."""
    form = PLOT | {"endings": {ending: SENTENCES for ending in shared()["endings"]}}
    optional = {"features", *shared()["endings"]}.difference(REQUIRED_ENDINGS)
    return [
        Plot(name, **_checked(f"{file.name}: [{name}]", table, form, optional))
        for name, table in _read(file).items()
    ]


@functools.cache
def shared() -> dict[str, Any]:
    """What all plots share, by the keys of shared.toml. Raises InputError for a mistake in that file."""
    table = _read(FOLDER / "shared.toml")
    endings = {ending: ENDING for ending in (*REQUIRED_ENDINGS, *table.get("endings", ()))}
    return _checked("shared.toml:", table, SHARED | {"endings": endings})


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # it is not TOML, or not UTF-8
        raise InputError(f"{file.name}: {error}") from error


def _checked(where: str, value: Any, form: Any, optional: Collection[str] = ()) -> Any:
    """`value` with its arrays as tuples. Raises InputError, with `where`, if it does not have the form."""
    if isinstance(form, dict) and isinstance(value, dict):
        for key in [*value, *form]:
            if key not in form:
                raise InputError(f"{where} {key}: unknown key; the keys are {', '.join(form)}")
            if key not in value and key not in optional:
                raise InputError(f"{where} {key}: is missing")
        return {key: _checked(f"{where} {key}", item, form[key], optional) for key, item in value.items()}
    if isinstance(form, list) and isinstance(value, list) and value:
        return tuple(_checked(where, item, form[-1 if isinstance(item, list) else 0]) for item in value)
    if isinstance(form, str) and isinstance(value, str):
        if unknown := set(re.findall(r"\{[^}]*\}?|\}", value)) - set(form.split()):
            raise InputError(f"{where}: no slot {min(unknown)}; the slots are {form or 'none'}")
        return value
    what = "a table" if isinstance(form, dict) else "an array of strings, not empty"
    raise InputError(f"{where}: must be {what}")
