"""evaluate.py --label, by a person in a pseudo-terminal."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluate
from clean_environment import ROOT
from evaluation.labels import text_hash

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are of POSIX", allow_module_level=True)

from terminal import Terminal

MENU = "1 happy   2 sad   ? unclear   u undo   q quit"
ENDINGS = {"1": "happy", "2": "sad", "?": "neither"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, checkpoint: str, data: str) -> Path:
    """A report of ten stories: two topics and two long ones, both endings; two contrary ones."""
    folder = tmp_path_factory.mktemp("evaluated") / "report"
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(folder), "--topics", "2"]
    given += ["--hard-topics", "2", "--num-stories", "1", "--max-tokens", "20", "--ending-strength", "1"]
    evaluate.main(given)
    return folder


@pytest.fixture
def report(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated, tmp_path / "report")
    return tmp_path / "report"


def stories(report: Path) -> list[dict]:
    """In the order in which they are shown."""
    told = json.loads((report / "evaluation.json").read_text())["checkpoints"][0]["stories"]
    return sorted(told, key=lambda story: text_hash(story["text"]))


def answers(report: Path, name: str = "ann") -> list[tuple[str, str | None]]:
    lines = (report / f"labels-{name}.jsonl").read_text().splitlines()
    return [(line["story"], line["ending"]) for line in map(json.loads, lines)]


def test_nothing_given_is_lost_when_it_is_killed_and_it_goes_on_where_it_was(report: Path) -> None:
    hashes = [text_hash(story["text"]) for story in stories(report)]
    assert len({*hashes}) == 10
    given = "12?2121?12"
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        for number, key in enumerate(given[:3], 1):
            assert f"--- story {number} of 10\n" in terminal.read_until(MENU)
            terminal.press(key)
        assert "--- story 4 of 10\n" in terminal.read_until(MENU)
        terminal.program.kill()
    assert answers(report) == [(h, ENDINGS[key]) for h, key in zip(hashes, given[:3], strict=False)]

    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        for number, key in enumerate(given[3:], 4):
            assert f"--- story {number} of 10\n" in terminal.read_until(MENU)
            terminal.press(key)
        shown = terminal.read_to_the_end()
        assert terminal.program.returncode == 0
    assert answers(report) == [(h, ENDINGS[key]) for h, key in zip(hashes, given, strict=True)]
    assert "All 10 stories have an answer." in shown
    evaluation = json.loads((report / "evaluation.json").read_text())
    pairs = {tuple(pair["raters"]): pair for pair in evaluation["agreement"]}
    judged = [story["judged"]["words"] for story in stories(report)]
    agreed = sum(verdict == ENDINGS[key] for verdict, key in zip(judged, given, strict=True))
    assert pairs["words", "ann"]["stories"] == 10
    assert pairs["words", "ann"]["agreement"]["value"] == pytest.approx(agreed / 10)
    assert "| words and ann " in (report / "report.md").read_text()


def test_undo_takes_back_what_was_said_last_and_shows_that_story_again(report: Path) -> None:
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        first = terminal.read_until(MENU)
        terminal.press("u")  # nothing to undo
        assert terminal.read_until(MENU).strip() == first.strip()
        terminal.press("x")  # no such key
        terminal.press("1")
        second = terminal.read_until(MENU)
        assert second != first
        terminal.press("u")
        assert terminal.read_until(MENU).strip() == first.strip()
        terminal.press("2")
        assert terminal.read_until(MENU) == second
        terminal.press("q")
        terminal.read_to_the_end()
        assert terminal.program.returncode == 0
    one = text_hash(stories(report)[0]["text"])
    assert answers(report) == [(one, "happy"), (one, None), (one, "sad")]


def test_what_was_asked_and_what_judges_say_is_not_shown(report: Path) -> None:
    """The screen holds the story and the keys, and no more."""
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        shown = terminal.read_until(MENU)
        terminal.press("\x04")  # Ctrl-D
        terminal.read_to_the_end()
        assert terminal.program.returncode == 0
    text = "".join(sign for sign in stories(report)[0]["text"] if sign.isprintable() or sign == "\n")
    head, story = shown.removesuffix(MENU).strip().split("\n", 1)
    assert head == "--- story 1 of 10"
    assert "".join(story.split()) == "".join(text.split())


def test_a_report_that_is_written_anew_says_the_same(report: Path) -> None:
    before = {file.name: file.read_bytes() for file in report.iterdir()}
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        terminal.read_until(MENU)
        terminal.press("q")
        terminal.read_to_the_end()
    assert answers(report) == []
    assert {name: (report / name).read_bytes() for name in before} == before


def test_answers_outlive_a_report_that_is_made_anew(report: Path, checkpoint: str, data: str) -> None:
    lines = [{"story": text_hash(each["text"]), "ending": "sad"} for each in stories(report)]
    (report / "labels-ann.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(report), "--overwrite"]
    given += ["--topics", "3", "--hard-topics", "0", "--num-stories", "1", "--max-tokens", "20"]
    evaluate.main([*given, "--ending-strength", "1"])
    evaluation = json.loads((report / "evaluation.json").read_text())
    (ann,) = (rater for rater in evaluation["raters"] if rater["rater"] == "ann")
    assert 0 < ann["stories"] < 6


def test_bad_input_gets_one_clear_line(report: Path, tmp_path: Path, complaint: Callable) -> None:
    assert "--label and --by" in complaint(evaluate.main, "--label", str(report))
    assert "--label and --by" in complaint(evaluate.main, "--by", "ann")
    (tmp_path / "empty").mkdir()
    said = complaint(evaluate.main, "--label", str(tmp_path / "empty"), "--by", "ann")
    assert "no report of evaluate.py" in said
    assert "--by ../ann" in complaint(evaluate.main, "--label", str(report), "--by", "../ann")
    (tmp_path / "empty" / "evaluation.json").write_text('{"judge": {}}')
    said = complaint(evaluate.main, "--label", str(tmp_path / "empty"), "--by", "ann")
    assert "measure anew" in said
    command = [sys.executable, str(ROOT / "evaluate.py"), "--label", str(report), "--by", "ann"]
    piped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert piped.returncode == 2
    assert "--label: asks in a terminal, and this is none" in piped.stderr
