"""A program in a pseudo-terminal, as a person sits before it."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios

from clean_environment import ROOT
from forked import handle_signals_as_in_the_foreground

LONGEST = 120  # seconds: starting a program takes a few


class Terminal:
    def __init__(self, script: str, *arguments: str) -> None:
        """Start a script of ours in the current folder."""
        self.master, slave = pty.openpty()
        command = [sys.executable, str(ROOT / script), *arguments]
        self.program = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=self._sit_down,
        )
        os.close(slave)
        self.unread = ""

    @staticmethod
    def _sit_down() -> None:
        """The terminal is the program's, and Ctrl-C ends it, whatever started us."""
        handle_signals_as_in_the_foreground()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read_until(self, text: str) -> str:
        """What is shown until `text` comes, and that. Fails if nothing is said for LONGEST seconds."""
        while text not in self.unread:
            self.unread += self._read()
        before, _, self.unread = self.unread.partition(text)
        return before + text

    def read_to_the_end(self) -> str:
        """What is shown until the program ends."""
        while some := self._read(at_end=""):
            self.unread += some
        self.program.wait()
        return self.unread

    def _read(self, at_end: str | None = None) -> str:
        if not select.select([self.master], [], [], LONGEST)[0]:
            raise AssertionError(f"the program waits and had shown {self.unread!r}")
        try:
            some = os.read(self.master, 65536).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # how Linux says that nobody has the other side open
            some = ""
        if not some and at_end is None:
            raise AssertionError(f"the program ended and had shown {self.unread!r}")
        return some

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self.master)

    def settings(self) -> list:
        """Whether keys are shown, need Enter, and the like."""
        return termios.tcgetattr(self.master)
