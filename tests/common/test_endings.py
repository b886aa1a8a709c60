import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.endings import (
    ENDINGS,
    ENDINGS_FILE,
    LONGEST,
    Taught,
    as_ending,
    as_endings,
    either,
    read_taught,
    write_taught,
)
from common.errors import CheckpointError, InputError


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("odd", "odd"),
        (" Funny\n", "funny"),
        ("happily  ever\tafter", "happily ever after"),
        ("half-sad", "half-sad"),
        ("it's 2 late", "it's 2 late"),
        ("TRAURIG", "traurig"),
        ("schön", "schön"),
        ("悲しい", "悲しい"),
        ("दुखद", "दुखद"),  # with marks that are no letters
    ],
)
def test_an_ending_is_a_short_word_in_small_letters(text: str, ending: str) -> None:
    assert as_ending(text) == ending


@pytest.mark.parametrize(
    "text",
    ["", " ", "x" * (LONGEST + 1), "sad!", "a, b", "<b>", "sad|", "-", "😀", "{x}"],
)
def test_what_is_no_short_word_is_no_ending(text: str) -> None:
    with pytest.raises(InputError, match="is no ending: a word or two, at most 20 letters"):
        as_ending(text)


def test_what_the_judge_says_of_no_ending_is_none() -> None:
    with pytest.raises(InputError, match="the ending 'neither' would be none; take another word"):
        as_ending("Neither")


@given(st.text())
def test_any_text_is_an_ending_that_stays_as_it_is_or_none(text: str) -> None:
    try:
        ending = as_ending(text)
    except InputError:
        return
    assert as_ending(ending) == ending
    assert len(ending) <= LONGEST


def test_endings_are_two_to_eight() -> None:
    assert as_endings(["sad", "odd", "sad", "happy"]) == ("happy", "odd", "sad")
    assert as_endings([]) == ()
    with pytest.raises(InputError, match=r"1 ending \('sad'\); two to eight are needed, or none"):
        as_endings(["sad"])
    with pytest.raises(InputError, match=r"12 endings \('a0', .*, 'a6', \.\.\.\); two to eight"):
        as_endings([f"a{i}" for i in range(12)])
    with pytest.raises(InputError, match="the ending 'Sad' must be written 'sad'"):
        as_endings(["happy", "Sad"])


def test_words_as_a_sentence_has_them() -> None:
    assert either(["funny", "happy", "sad"]) == "funny, happy or sad"
    assert either(ENDINGS, "and") == "happy and sad"
    assert either(["odd"]) == "odd"


THREE = Taught(("funny", "happy", "schön"), "Tell {summary}, {ending}:\n")


@pytest.mark.parametrize("taught", [THREE, Taught(prompt="x"), Taught((), "{summary}")])
def test_a_checkpoint_says_what_it_was_taught(taught: Taught, tmp_path: Path) -> None:
    write_taught(tmp_path, taught)
    assert read_taught(tmp_path) == taught


def test_a_checkpoint_that_says_nothing_ends_happily_or_sadly(tmp_path: Path) -> None:
    write_taught(tmp_path, Taught())
    assert not list(tmp_path.iterdir())
    assert read_taught(tmp_path) == Taught(("happy", "sad"), None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff{}",
        *(
            json.dumps(said).encode()
            for said in (
                {"endings": ["happy", "sad"]},
                {"endings": ["happy", "sad"], "prompt": None},
                {"endings": "happy", "prompt": "x"},
                {"endings": ["happy", 3], "prompt": "x"},
                {"endings": ["sad"], "prompt": "x"},
                {"endings": ["<script>", "sad"], "prompt": "x"},
                {"endings": [["a"], ["b"]], "prompt": "x"},
            )
        ),
    ],
)
def test_a_damaged_file_gets_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ENDINGS_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"endings\.json: damaged; copy it anew \(.*\)$"):
        read_taught(tmp_path)
