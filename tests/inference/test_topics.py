"""A story about each line of a file, and a run that was stopped anywhere in it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from generate import main

TOPICS = "a dog\n\n \u00e0 c\u00e2t \r\na hat"


@pytest.fixture
def command(checkpoint: str, tmp_path: Path) -> list[str]:
    (tmp_path / "topics").write_bytes(TOPICS.encode("utf-8-sig"))
    how = ["--ending", "sad", "--max-tokens", "9", "--num-stories", "2"]
    return ["--checkpoint", checkpoint, "--topics", str(tmp_path / "topics"), *how]


def test_each_line_is_told_as_it_is_alone(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*command, "--seed", "4294967294", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["topic"] for line in lines] == [*["a dog"] * 2, *["à cât"] * 2, *["a hat"] * 2]
    assert [line["seed"] for line in lines] == [4294967294, 4294967295, 0, 1, 2, 3]
    alone = ["--topic", "à cât", "--seed", "1", "--ending", "sad", "--max-tokens", "9", "--json"]
    main([*command[:2], *alone])
    assert json.loads(capsys.readouterr().out)["stories"][0]["text"] == lines[3]["text"]
    main([*command, "--seed", "4294967294"])
    told = capsys.readouterr().out
    assert all(line["text"] in told for line in lines)
    assert told.count("--- à cât, seed ") == 2


def test_a_run_that_was_stopped_anywhere_goes_on(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "deep" / "told.jsonl"
    command += ["--output", str(file)]
    main(command)
    whole = file.read_bytes()
    assert len(whole.splitlines()) == 6
    first = whole.index(b"\n") + 1
    for size in (first, first + 1, len(whole) // 2, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:size])
        main(command)  # the seed is that of the first line
        assert file.read_bytes() == whole
    assert [each.name for each in file.parent.iterdir()] == ["told.jsonl"]


def test_a_file_of_something_else_is_not_gone_on_with(
    command: list[str], complaint: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "told.jsonl"
    command += ["--output", str(file)]
    main([*command, "--seed", "3"])
    whole = file.read_bytes()
    for change, said in (
        (["--seed", "4"], "line 1 has seed 3, not 4"),
        (["--ending", "happy"], "line 1 has ending 'sad', not 'happy'"),
        (["--temperature", "0.5"], "line 1 has temperature 0.7, not 0.5"),
        (["--num-stories", "1"], "line 2 has topic 'a dog', not 'à cât'"),
    ):
        assert f"told.jsonl: {said}; to go on" in complaint(main, *command, *change)
        assert file.read_bytes() == whole
    (tmp_path / "topics").write_text("a dog")
    assert "holds more stories than these" in complaint(main, *command)
    for other in (b"a text\n", b"[1]\n", b"{}\n", b"\xff\n"):
        file.write_bytes(other)
        assert "holds something else than stories" in complaint(main, *command)
        assert file.read_bytes() == other


def test_bad_input_gets_one_clear_line(
    command: list[str], complaint: Callable[..., str], tmp_path: Path
) -> None:
    topics = tmp_path / "topics"
    assert "are two ways to say the same" in complaint(main, *command, "--topic", "a dog")
    assert "--output: goes with --topics" in complaint(main, *command[:2], "--output", "told.jsonl")
    assert f"--output {tmp_path}: " in complaint(main, *command, "--output", str(tmp_path))
    for text, said in (
        (b" \n", "holds no topics"),
        (b"\xff", "cannot be read"),
        (b"a dog\n\n" + b"dog " * 10_000, "line 3 makes a prompt of"),
    ):
        topics.write_bytes(text)
        assert f"--topics {topics}: {said}" in complaint(main, *command)
    topics.unlink()
    assert f"--topics {topics}: cannot be read" in complaint(main, *command)
