"""A person reads a report's stories in a terminal and says how each ends, without knowing what was asked."""

import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from common.endings import NEITHER
from common.errors import InputError
from evaluation.labels import LabelLines, text_hash

UNCLEAR, UNDO, QUIT = "?", "u", "q"
END = ("", "\x04")  # the terminal is gone; Ctrl-D


def check_terminal() -> None:
    """Raises InputError if nobody is there to ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("--label: asks in a terminal, and this is none")


def label_stories(stories: Sequence[str], endings: Sequence[str], answers: LabelLines) -> None:
    """Ask for the ending of each different story that has no answer yet, and keep each answer at once.

    They come in the order of their hashes: shuffled, alike for everybody, so that any two people who stop
    early have read the same ones.
    """
    texts = {text_hash(story): story for story in stories}
    keys = {str(number): ending for number, ending in enumerate(endings, 1)} | {UNCLEAR: NEITHER}
    choice = "   ".join(f"{key} {ending}" for key, ending in keys.items() if key != UNCLEAR)
    choice, rest = f"{choice}   {UNCLEAR} unclear   ", f"{UNDO} undo   {QUIT} quit"
    with pressed_keys() as next_key:
        while True:
            answered = answers.labels
            left = [each for each in sorted(texts) if each not in answered]
            if left:
                head = f"story {len(texts) - len(left) + 1} of {len(texts)}"
                shown = f"\n--- {head}\n\n{_for_screen(texts[left[0]])}\n\n{choice}{rest}"
            else:
                shown = f"\n--- all {len(texts)} stories have an answer\n\n{rest}"
            key = next_key(shown)
            if key in (QUIT, *END):
                return
            if key == UNDO:
                given = answered.keys() & texts.keys()
                for story in [line["story"] for line in answers.lines if line["story"] in given][-1:]:
                    answers.add({"story": story, "ending": None})
            elif left and key in keys:
                answers.add({"story": left[0], "ending": keys[key]})


@contextmanager
def pressed_keys() -> Iterator[Callable[[str], str]]:
    """What shows a text and returns the key that is pressed then, without Enter: "" if the terminal is gone,
    something longer for keys that are no sign. What was typed before it was shown is no answer to it."""
    if sys.platform == "win32":
        import msvcrt

        def next_key(shown: str) -> str:
            while msvcrt.kbhit():
                msvcrt.getwch()
            print(shown, flush=True)
            key = msvcrt.getwch()
            if key == "\x03":
                raise KeyboardInterrupt
            return key + msvcrt.getwch() if key in "\0\xe0" else key

        yield next_key
        return

    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def next_key(shown: str) -> str:
        tty.setcbreak(terminal, termios.TCSAFLUSH)  # no Enter, no echo; Ctrl-C is as ever
        print(shown, flush=True)
        return os.read(terminal, 64).decode(errors="replace")

    def come_back(*_: object) -> None:
        """The shell has set the terminal as it likes it while the program was stopped (Ctrl-Z)."""
        tty.setcbreak(terminal, termios.TCSADRAIN)

    handler = signal.signal(signal.SIGCONT, come_back)
    try:
        yield next_key
    finally:
        signal.signal(signal.SIGCONT, handler)
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _for_screen(story: str) -> str:
    """The paragraphs as wide as the terminal, at most 100; what would steer it is left out."""
    width = max(min(shutil.get_terminal_size().columns, 100), 20)
    paragraphs = (
        "".join(" " if sign.isspace() else sign for sign in line if sign.isspace() or sign.isprintable())
        for line in story.strip().splitlines()
    )
    return "\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs) or "(empty)"
