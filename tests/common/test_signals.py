"""How a script ends: by a signal, by an error, or with nobody left who reads what it prints."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.signals import SIGNALS, Ended, StopRequest

pytestmark = pytest.mark.usefixtures("foreground")


def test_a_signal_ends_the_work_and_what_is_half_done_is_cleared_away() -> None:
    with StopRequest():
        with pytest.raises(Ended, match="SIGHUP"):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)  # the same wish once more, as it comes through `uv run`
        signal.raise_signal(signal.SIGTERM)
        cleared = True
    assert cleared
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_further_signal_ends_what_waits_to_be_saved() -> None:
    with StopRequest() as stop:
        stop.waits = True
        items = stop.between(range(5))
        assert [next(items), next(items)] == [0, 1]
        for number in SIGNALS:
            signal.raise_signal(number)
        with pytest.raises(Ended):
            next(items)
    assert stop.signal == SIGNALS[0]


def test_one_process_of_several_goes_on_until_all_stop() -> None:
    with StopRequest(alone=False) as stop:
        stop.waits = True
        signal.raise_signal(signal.SIGINT)
        assert list(stop.between(range(3))) == [0, 1, 2]
    assert stop.signal == signal.SIGINT


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
