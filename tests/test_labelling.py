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
DONE = "--- all 10 stories have an answer\n\nu undo   q quit"
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
        terminal.read_until(DONE)
        terminal.press("q")
        assert "| words and ann " in terminal.read_to_the_end()
        assert terminal.program.returncode == 0
    assert answers(report) == [(h, ENDINGS[key]) for h, key in zip(hashes, given, strict=True)]
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
        terminal.press("1")
        second = terminal.read_until(MENU)
        assert second.strip() != first.strip()
        terminal.press("2")
        terminal.read_until(MENU)
        terminal.press("u")
        assert terminal.read_until(MENU).strip() == second.strip()
        terminal.press("?")
        for _ in range(7):
            terminal.read_until(MENU)
            terminal.press("1")
        terminal.read_until(MENU)
        terminal.press("2")
        terminal.read_until(DONE)
        terminal.press("u")  # the last one, too
        assert "--- story 10 of 10\n" in terminal.read_until(MENU)
        terminal.press("1")
        terminal.read_until(DONE)
        terminal.press("q")
        terminal.read_to_the_end()
        assert terminal.program.returncode == 0
    hashes = [text_hash(story["text"]) for story in stories(report)]
    said = ["happy", "sad", None, "neither", *["happy"] * 7, "sad", None, "happy"]
    assert [ending for _, ending in answers(report)] == said
    assert [story for story, _ in answers(report)] == [
        hashes[number] for number in (0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9)
    ]


def test_keys_that_are_no_answers_are_none(report: Path) -> None:
    """Ctrl and an arrow, F5 and Insert hold digits; what is pasted was not read; x stands for nothing."""
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        for keys in ("\x1b[1;5C", "\x1b[15~", "\x1b[2~", "121", "x", "\n"):
            assert "--- story 1 of 10\n" in terminal.read_until(MENU)
            terminal.press(keys)
        assert "--- story 1 of 10\n" in terminal.read_until(MENU)
        terminal.press("q")
        terminal.read_to_the_end()
    assert answers(report) == []


def test_two_people_label_one_report_at_once(report: Path) -> None:
    with Terminal("evaluate.py", "--label", str(report), "--by", "bob") as bob:
        bob.read_until(MENU)
        with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as ann:
            ann.read_until(MENU)
            ann.press("1")
            ann.read_until(MENU)
            ann.press("q")
            ann.read_to_the_end()
        with Terminal("evaluate.py", "--label", str(report), "--by", "bob") as other:
            assert "another process is writing there" in other.read_to_the_end()
        for key in "12":
            bob.press(key)
            bob.read_until(MENU)
        bob.press("q")
        bob.read_to_the_end()
    assert [len(answers(report, name)) for name in ("ann", "bob")] == [1, 2]
    evaluation = json.loads((report / "evaluation.json").read_text())
    assert [rater["rater"] for rater in evaluation["raters"]][-2:] == ["ann", "bob"]


def test_the_terminal_is_as_it_was_and_may_go_away(report: Path) -> None:
    with Terminal("evaluate.py", "--label", str(report), "--by", "ann") as terminal:
        before = terminal.settings()
        terminal.read_until(MENU)
        assert terminal.settings() != before
        terminal.press("1")
        terminal.read_until(MENU)
        terminal.press("\x03")  # Ctrl-C
        assert "interrupted" in terminal.read_until("interrupted")
        terminal.program.wait()
        assert terminal.program.returncode == 130
        assert terminal.settings() == before
    assert len(answers(report)) == 1


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
    assert 0 < ann["as asked"][0]["stories"] <= 4


def test_bad_input_gets_one_clear_line(report: Path, tmp_path: Path, complaint: Callable) -> None:
    assert "--label and --by" in complaint(evaluate.main, "--label", str(report))
    assert "--label and --by" in complaint(evaluate.main, "--by", "ann")
    said = complaint(evaluate.main, "--label", str(report), "--by", "ann", "--topics", "7")
    assert "--label: takes no other option than --by" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "evaluation.json").write_text('{"judges": {}, "checkpoints": []}')
    for folder, name, said in (
        (tmp_path / "empty", "ann", "no report of evaluate.py"),
        (tmp_path / "old", "ann", "measure anew"),
        (report, "../ann", "--by ../ann"),
        (report, "words", "is what a judge is called"),
    ):
        assert said in complaint(evaluate.main, "--label", str(folder), "--by", name)
    command = [sys.executable, str(ROOT / "evaluate.py"), "--label", str(report), "--by", "ann"]
    piped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert piped.returncode == 2
    assert "--label: asks in a terminal, and this is none" in piped.stderr
    assert not list(report.glob("labels-*"))
