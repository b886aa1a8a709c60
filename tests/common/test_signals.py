"""How a script ends: by a signal, by an error, or with nobody left who reads what it prints."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clean_environment import ROOT
from common.signals import SIGNALS, Ended, raised

pytestmark = pytest.mark.usefixtures("foreground")


def test_a_signal_ends_the_work_and_what_is_half_done_is_cleared_away() -> None:
    with raised():
        with pytest.raises(Ended, match="SIGHUP"):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)  # the same wish once more, as it comes through `uv run`
        signal.raise_signal(signal.SIGTERM)
        cleared = True
    assert cleared


def test_what_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def script(tmp_path: Path, body: str) -> list[str]:
    file = tmp_path / "script.py"
    file.write_text(f"import os, sys\nfrom common.cli import run\ndef main():\n    {body}\nrun(main)\n")
    return [sys.executable, str(file)]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_exit_code_is_that_of_the_signal(number: int, tmp_path: Path) -> None:
    done = subprocess.run(
        script(tmp_path, f"os.kill(os.getpid(), {int(number)})"), capture_output=True, text=True
    )
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr


def test_nobody_who_reads_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = script(tmp_path, "print('a' * 10**6); print('b', file=sys.stderr)")
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"b\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_output_that_a_full_disk_does_not_take_is_told_in_the_end(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(script(tmp_path, "print('a')"), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "what it printed is not whole" in done.stderr


def test_what_a_console_cannot_show_becomes_a_question_mark(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(script(tmp_path, r"print('\u03cf!')"), env=environment, capture_output=True)
    assert done.stdout.strip() == b"?!"


def test_descriptors_that_are_closed_are_not_taken_by_files(tmp_path: Path) -> None:
    body = "file = open('kept', 'w'); os.write(2, b'noise'); print(file.fileno() > 2, file=open('said', 'w'))"
    command = " ".join(script(tmp_path, body))
    subprocess.run(["sh", "-c", f"exec {command} 0<&- 1>&- 2>&-"], cwd=tmp_path, check=True)
    assert (tmp_path / "said").read_text() == "True\n"
    assert (tmp_path / "kept").read_text() == ""


def test_every_text_file_is_opened_in_utf_8() -> None:
    """By a look at the code: on Windows, and in other locales, the default is another encoding."""
    opened = re.compile(
        r"(?<![.\w])open\((?!.*(os\.devnull|[rwa]b|encoding))|\.(read|write)_text\((?!.*utf-8)"
    )
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in ROOT.rglob("*.py")
        if not {"tests", ".venv", "benchmarks"} & set(file.relative_to(ROOT).parts)
        for line in file.read_text("utf-8").splitlines()
        if opened.search(line)
    ]
    assert found == ["samples/write_corpus.py: open("] or not found, found
