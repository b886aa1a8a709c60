"""A small grammar of children's stories: many plots, each with happy and with sad endings.

    tale = tell(random.Random(0))
    tale.summary, tale.story, tale.ending

The summary is drawn before the ending is, so that topic and ending are independent. A story foretells its
ending: a happy or sad omen comes early and is recalled twice. To learn in minutes what that word in the
prompt does, a tiny model must meet the ending in more places than the turn. The grammar writes the corpus
that the quickstart learns from; no story comes from TinyStories.
"""

import functools
import random
import re
import zlib
from dataclasses import dataclass

from samples.frames_friends import FRAMES as FRIENDS
from samples.frames_home import FRAMES as HOME
from samples.frames_outdoors import FRAMES as OUTDOORS
from samples.words import (
    ANIMALS,
    BOYS,
    COLORS,
    COMING_TRUE,
    FORETELLING,
    GIRLS,
    HAPPY_CLOSINGS,
    HAPPY_MOODS,
    OMENS,
    OPENINGS,
    PARENTS,
    RECALLING,
    SAD_CLOSINGS,
    SAD_MOODS,
    Sentence,
)

FRAMES = HOME + OUTDOORS + FRIENDS
SAD_SHARE = 162_492 / 1_342_624  # of the real records that have a Features line


@dataclass(frozen=True)
class Tale:
    summary: str  # the topic, one line
    story: str  # three paragraphs
    ending: str  # "happy" or "sad"
    features: tuple[str, ...]  # of Dialogue, MoralValue, Twist, Foreshadowing, Conflict
    held_out: bool  # its combination of plot, hero and thing is kept out of training
    frame: str  # the plot's key
    mentions: tuple[str, ...]  # words of the summary that a story on topic has too


def tell(rng: random.Random, ending: str | None = None, held_out: bool | None = None) -> Tale:
    """Draw a tale; with `ending` or `held_out` given, one of that kind.

    A tenth of the combinations of plot, hero and thing is held out.
    """
    while True:
        frame = rng.choice(FRAMES)
        slots = _cast(rng)
        slots |= dict(thing=rng.choice(frame.things), place=rng.choice(frame.places), omen=rng.choice(OMENS))
        combination = f"{frame.key}|{slots['name']}|{slots['thing']}"
        out = zlib.crc32(combination.encode()) % 10 == 0
        if held_out in (None, out):
            break

    def say(sentence: Sentence) -> str:
        return (sentence if isinstance(sentence, str) else rng.choice(sentence)).format(**slots)

    summary_template = rng.choice(frame.summaries)
    drawn = "sad" if rng.random() < SAD_SHARE else "happy"
    ending = ending or drawn
    moods, turns, closings = (
        (SAD_MOODS, frame.sad, SAD_CLOSINGS)
        if ending == "sad"
        else (HAPPY_MOODS, frame.happy, HAPPY_CLOSINGS)
    )
    slots["mood"] = rng.choice(moods)
    slots["a_thing"] = f"{'an' if slots['thing'][0] in 'aeiou' else 'a'} {slots['thing']}"
    start = " ".join(map(say, (OPENINGS, FORETELLING, *frame.beginning)))
    trouble = " ".join(map(say, (*frame.middle, RECALLING)))
    turn = " ".join(map(say, (COMING_TRUE, turns, closings)))
    story = "\n".join((start, trouble, turn))
    asked = [slots[name] for name in ("name", "kind", "friend", "thing") if f"{{{name}}}" in summary_template]
    return Tale(
        summary=summary_template.format(**slots),
        story=story,
        ending=ending,
        features=("Dialogue",) * ('"' in story) + frame.features,
        held_out=out,
        frame=frame.key,
        mentions=tuple(asked),
    )


def _cast(rng: random.Random) -> dict[str, str]:
    """The slots that do not depend on the frame: hero, friend, color, parent."""
    girl = rng.random() < 0.5
    name = rng.choice(GIRLS if girl else BOYS)
    friend = rng.choice([other for other in GIRLS + BOYS if other != name])
    kind = rng.choice([*ANIMALS, *["girl" if girl else "boy"] * 5])
    he, him, his = ("she", "her", "her") if girl else ("he", "him", "his")
    return dict(
        name=name,
        kind=kind,
        he=he,
        him=him,
        his=his,
        He=he.capitalize(),
        His=his.capitalize(),
        friend=friend,
        friend_kind=rng.choice([animal for animal in ANIMALS if animal != kind]),
        color=rng.choice(COLORS),
        parent=rng.choice(PARENTS),
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text; an end mark inside a quotation does not end one."""
    return re.findall(r'(?:[^".!?]|"[^"]*"?)+[.!?]*', text)


@functools.cache
def _endings() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """("happy" or "sad", a pattern) for every sentence of every ending, its slots standing for any words."""
    patterns = []
    for ending, texts in (
        ("happy", [*HAPPY_CLOSINGS, *(text for frame in FRAMES for text in frame.happy)]),
        ("sad", [*SAD_CLOSINGS, *(text for frame in FRAMES for text in frame.sad)]),
    ):
        for sentence in {part.strip() for text in texts for part in sentences(text)}:
            parts = re.split(r"\{\w+\}", sentence)
            patterns.append((ending, re.compile(r"\w+(?: \w+)?".join(map(re.escape, parts)))))
    return tuple(patterns)


def ending_of(story: str) -> str | None:
    """ "happy" or "sad" by the last sentence of `story` that is one of an ending's, None if none is."""
    for sentence in reversed(sentences(story)):
        for ending, pattern in _endings():
            if pattern.fullmatch(sentence.strip()):
                return ending
    return None
