"""A person reads a report's stories in a terminal and says how each ends, without knowing what was asked."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from common.endings import NEITHER
from common.errors import InputError
from evaluation.labels import LabelLines, text_hash

UNCLEAR, UNDO, QUIT = "?", "u", "q"
END = ("", "\x04")  # the terminal is gone; Ctrl-D


def label_stories(stories: Sequence[str], endings: Sequence[str], answers: LabelLines) -> None:
    """Ask for the ending of each different story that has no answer yet, and keep each answer at once.

    They come in the order of their hashes: shuffled, alike for everybody, so that any two people who stop
    early have read the same ones. Raises InputError if nobody is there to ask.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("--label: asks in a terminal, and this is none")
    texts = {text_hash(story): story for story in stories}
    keys = {str(number): ending for number, ending in enumerate(endings, 1)} | {UNCLEAR: NEITHER}
    help = "   ".join(f"{key} {ending}" for key, ending in keys.items() if key != UNCLEAR)
    help += f"   {UNCLEAR} unclear   {UNDO} undo   {QUIT} quit"
    with pressed_keys() as next_key:
        while left := [each for each in sorted(texts) if each not in answers.labels]:
            number, story = len(texts) - len(left) + 1, _for_screen(texts[left[0]])
            print(f"\n--- story {number} of {len(texts)}\n\n{story}\n\n{help}", flush=True)
            while (key := next_key()) not in (*keys, UNDO, QUIT, *END):
                pass
            if key in keys:
                answers.add({"story": left[0], "ending": keys[key]})
            elif key != UNDO:
                return
            else:
                given = answers.labels.keys() & texts.keys()
                for story in [line["story"] for line in answers.lines if line["story"] in given][-1:]:
                    answers.add({"story": story, "ending": None})
    print(f"\nAll {len(texts)} stories have an answer.")


@contextmanager
def pressed_keys() -> Iterator[Callable[[], str]]:
    """What returns the next key that is pressed in the terminal, without Enter, and "" if it is gone. Within
    the block the terminal shows no keys; Ctrl-C is as ever."""
    if sys.platform == "win32":
        import msvcrt

        yield msvcrt.getwch
    else:
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSADRAIN)
        try:
            yield lambda: os.read(terminal, 1).decode(errors="replace")
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _for_screen(story: str) -> str:
    """The paragraphs as wide as the terminal, at most 100; what would steer it is left out."""
    width = min(shutil.get_terminal_size().columns, 100)
    paragraphs = ("".join(sign for sign in line if sign.isprintable()) for line in story.strip().splitlines())
    return "\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs)
