"""A person reads a report's stories in a terminal and says how each ends, without knowing what was asked."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

from common.endings import NEITHER
from common.errors import InputError
from evaluation.labels import LabelLines, text_hash

UNCLEAR, UNDO, QUIT = "?", "u", "q"


def label_stories(stories: Sequence[str], endings: Sequence[str], answers: LabelLines) -> None:
    """Ask for the ending of each different story that has no answer yet, and keep each answer at once.

    They come in the order of their hashes: shuffled, alike for everybody, so that any two people who stop
    early have read the same ones. Raises InputError if nobody is there to ask.
    """
    import click

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("--label: asks in a terminal, and this is none")
    texts = {text_hash(story): story for story in stories}
    keys = {str(number): ending for number, ending in enumerate(endings, 1)} | {UNCLEAR: NEITHER}
    help = "   ".join(f"{key} {ending}" for key, ending in keys.items() if key != UNCLEAR)
    help += f"   {UNCLEAR} unclear   {UNDO} undo   {QUIT} quit"
    while left := [each for each in sorted(texts) if each not in answers.labels]:
        done = len(texts) - len(left)
        print(
            f"\n--- story {done + 1} of {len(texts)}\n\n{_for_screen(texts[left[0]])}\n\n{help} ", flush=True
        )
        try:
            while (key := click.getchar()) not in (*keys, UNDO, QUIT, ""):
                pass
        except EOFError:  # Ctrl-D
            return
        if key in (QUIT, ""):  # nothing: the terminal is gone
            return
        if key == UNDO:
            given = answers.labels.keys() & texts.keys()
            last = [line["story"] for line in answers.lines if line["story"] in given][-1:]
            for story in last:
                answers.add({"story": story, "ending": None})
        else:
            answers.add({"story": left[0], "ending": keys[key]})
    print(f"\nAll {len(texts)} stories have an answer.")


def _for_screen(story: str) -> str:
    """The paragraphs as wide as the terminal, at most 100; what would steer it is left out."""
    width = min(shutil.get_terminal_size().columns, 100)
    paragraphs = ("".join(sign for sign in line if sign.isprintable()) for line in story.strip().splitlines())
    return "\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs)
