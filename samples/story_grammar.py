"""A small grammar of children's stories: many plots, each with happy and with sad endings.

    tale = tell(random.Random(0))
    tale.summary, tale.story, tale.ending

The sentences are data in TOML files, which plots.py reads.

The summary is drawn before the ending is, so that topic and ending are independent. A story foretells its
ending, unless it is told without omens: a happy or sad one comes early and is recalled twice. To learn in
minutes what `happy` and `sad` in the prompt do, a tiny model must meet the ending in more places than the
turn. The grammar writes the corpus that the quickstart learns from; no story comes from TinyStories.
"""

import functools
import random
import re
import zlib
from dataclasses import dataclass

from samples.plots import Sentence, plots, shared

SAD_SHARE = 162_492 / 1_342_624  # of the real records that have a Features line


@dataclass(frozen=True)
class Tale:
    summary: str  # the topic, one line
    story: str  # three paragraphs
    ending: str  # "happy" or "sad", or the one that was asked for
    features: tuple[str, ...]  # of Dialogue, MoralValue, Twist, Foreshadowing, Conflict
    held_out: bool  # its combination of plot, hero and thing is kept out of training
    plot: str  # the plot's name
    mentions: tuple[str, ...]  # words of the summary that a story on topic has too


def tell(
    rng: random.Random, ending: str | None = None, held_out: bool | None = None, omens: bool = True
) -> Tale:
    """Draw a tale; with `ending` or `held_out` given, one of that kind; without `omens` it foretells nothing.

    A tenth of the combinations of plot, hero and thing is held out. Raises InputError for a mistake in the
    files, IndexError if no plot has the ending.
    """
    candidates, common = plots(ending), shared()
    while True:
        plot = rng.choice(candidates)
        slots = _draw_characters(rng)
        slots["thing"], slots["place"] = rng.choice(plot.things), rng.choice(plot.places)
        slots["omen"] = rng.choice(common["omens"])
        out = zlib.crc32(f"{plot.name}|{slots['name']}|{slots['thing']}".encode()) % 10 == 0
        if held_out in (None, out):
            break

    def say(sentence: Sentence) -> str:
        return (sentence if isinstance(sentence, str) else rng.choice(sentence)).format(**slots)

    summary_template = rng.choice(plot.summaries)
    drawn = "sad" if rng.random() < SAD_SHARE else "happy"
    ending = ending or drawn
    slots["mood"] = rng.choice(common["endings"][ending]["moods"])
    slots["a_thing"] = f"{'an' if slots['thing'][0] in 'aeiou' else 'a'} {slots['thing']}"
    foretelling, recalling, coming_true = (
        (common[key],) if omens else () for key in ("foretelling", "recalling", "coming_true")
    )
    start = " ".join(map(say, (common["openings"], *foretelling, *plot.beginning)))
    trouble = " ".join(map(say, (*plot.middle, *recalling)))
    closings = common["endings"][ending]["closings"]
    turn = " ".join(map(say, (*coming_true, plot.endings[ending], closings)))
    story = "\n".join((start, trouble, turn))
    asked = [slots[name] for name in ("name", "kind", "friend", "thing") if f"{{{name}}}" in summary_template]
    return Tale(
        summary=summary_template.format(**slots),
        story=story,
        ending=ending,
        features=("Dialogue",) * ('"' in story) + plot.features,
        held_out=out,
        plot=plot.name,
        mentions=tuple(asked),
    )


def _draw_characters(rng: random.Random) -> dict[str, str]:
    """The slots that do not depend on the plot: hero, friend, color, parent."""
    words, girl = shared(), rng.random() < 0.5
    name = rng.choice(words["girls"] if girl else words["boys"])
    friend = rng.choice([other for other in words["girls"] + words["boys"] if other != name])
    kind = rng.choice([*words["animals"], *["girl" if girl else "boy"] * 5])
    friend_kind = rng.choice([animal for animal in words["animals"] if animal != kind])
    he, him, his = ("she", "her", "her") if girl else ("he", "him", "his")
    hero = dict(name=name, kind=kind, he=he, him=him, his=his, He=he.capitalize(), His=his.capitalize())
    color, parent = rng.choice(words["colors"]), rng.choice(words["parents"])
    return dict(hero, friend=friend, friend_kind=friend_kind, color=color, parent=parent)


def sentences(text: str) -> list[str]:
    """The sentences of a text; an end mark inside a quotation does not end one."""
    return re.findall(r'(?:[^".!?]|"[^"]*"?)+[.!?]*', text)


@functools.cache
def _endings() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """(ending, pattern) for every sentence of every ending, its slots standing for any words."""
    patterns = []
    for ending, common in shared()["endings"].items():
        texts = [*common["closings"], *(text for plot in plots(ending) for text in plot.endings[ending])]
        for sentence in {part.strip() for text in texts for part in sentences(text)}:
            parts = re.split(r"\{\w+\}", sentence)
            patterns.append((ending, re.compile(r"\w+(?: \w+)?".join(map(re.escape, parts)))))
    return tuple(patterns)


def ending_of(story: str) -> str | None:
    """The ending, "happy" or "sad", of the last sentence of `story` that belongs to one; None if none does.

    Raises InputError for a mistake in the files.
    """
    for sentence in reversed(sentences(story)):
        for ending, pattern in _endings():
            if pattern.fullmatch(sentence.strip()):
                return ending
    return None
