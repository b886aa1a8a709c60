"""Processes that begin where others are after seconds: with torch and the scripts imported.

multiprocessing's fork server imports them once a worker and does nothing else; each process is a copy of it.
What depends on how an interpreter starts is tested with subprocess.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from clean_environment import ROOT
from common.signals import SIGNALS

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "datasets", "matplotlib.backends.backend_agg", "finetune", "evaluate", "quickstart"]
)


class Forked:
    """A process that calls `work`, in this one's folder and environment; its output goes to files."""

    def __init__(self, work: Callable[..., object], *arguments: object) -> None:
        self._output = Path(tempfile.mkdtemp(prefix="forked-"))
        given = (self._output, dict(os.environ), work, arguments)
        self._process = CONTEXT.Process(target=_begin, args=given, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.is_alive()

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def finish(self, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """What became of it: status, stdout and stderr. Fails if it has not ended after so many seconds."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            self._process.join()
        stdout, stderr = ((self._output / name).read_text() for name in ("stdout", "stderr"))
        assert status is not None, f"it never ended: {stdout}{stderr}"
        return subprocess.CompletedProcess([], status, stdout, stderr)


def run_script(name: str, *arguments: object) -> None:
    """A script as the main module, with these arguments."""
    script = str(ROOT / name)
    sys.argv = [script, *map(str, arguments)]
    runpy.run_path(script, run_name="__main__")


def _begin(
    output: Path, environment: dict[str, str], work: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(output / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    handle_signals_as_in_the_foreground()
    work(*arguments)


def handle_signals_as_in_the_foreground() -> None:
    """As a shell starts a program, whatever started this one: nohup has SIGHUP ignored, say."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
