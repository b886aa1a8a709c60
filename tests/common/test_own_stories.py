import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.own_stories import VALIDATION_SHARE, Example, is_held_out, split_stories
from dataset import format_instruction, topic_of
from story_lines import THREE, Lines, write

LINES = [
    {"topic": f"topic {i % 90}", "ending": THREE[i % 3], "story": f'Story {i},\n"and" so; on.'}
    for i in range(200)
]


@given(st.text(min_size=1).filter(str.strip))
def test_a_topic_is_on_one_side_in_small_letters_or_large(topic: str) -> None:
    assert is_held_out(topic) == is_held_out(topic.casefold())


def test_one_topic_in_twenty_is_held_out() -> None:
    held_out = sum(is_held_out(f"topic {i}") for i in range(20_000))
    assert held_out == pytest.approx(20_000 / VALIDATION_SHARE, rel=0.1)


def test_every_line_is_an_example_of_one_split(tmp_path: Path) -> None:
    endings, splits = split_stories(write(tmp_path / "s.jsonl", LINES), topic_of)
    assert endings == THREE
    assert list(splits) == ["train", "validation"]
    for split, examples in splits.items():
        held_out = split == "validation"
        assert examples == [Example(**line) for line in LINES if is_held_out(line["topic"]) == held_out]
        assert examples


def test_a_topic_stays_on_its_side_when_the_file_changes(tmp_path: Path) -> None:
    _, whole = split_stories(write(tmp_path / "s.jsonl", LINES), topic_of)
    half = random.Random(0).sample(LINES, 100)
    _, splits = split_stories(write(tmp_path / "half.jsonl", half), topic_of)
    assert splits["validation"]
    for split, examples in splits.items():
        assert {*examples} <= {*whole[split]}


def test_a_limit_takes_the_first_lines(tmp_path: Path) -> None:
    limited = split_stories(write(tmp_path / "s.jsonl", LINES), topic_of, limit=70)
    assert limited == split_stories(write(tmp_path / "first.jsonl", LINES[:70]), topic_of)


def test_another_file_may_be_what_is_validated_on(tmp_path: Path) -> None:
    train, validation = write(tmp_path / "t.jsonl", LINES[:-50]), write(tmp_path / "v.jsonl", LINES[-50:])
    assert split_stories(train, topic_of, validation) == (
        THREE,
        {
            "train": [Example(**line) for line in LINES[:-50]],
            "validation": [Example(**line) for line in LINES[-50:]],
        },
    )
    odd = write(tmp_path / "odd.jsonl", [LINES[0] | {"ending": "odd"}])
    with pytest.raises(InputError, match=r"odd\.jsonl: 'odd' is no ending of .*t\.jsonl$"):
        split_stories(train, topic_of, odd)


def test_csv_and_every_set_of_names_say_the_same(tmp_path: Path) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([list(LINES[0]), *(list(line.values()) for line in LINES)])
    (tmp_path / "a.csv").write_bytes(out.getvalue().encode("utf-8-sig"))
    renamed = [
        {
            "instruction": f" {topic}\n" if i % 2 else format_instruction(topic, ending, endings=THREE),
            "ending": ending.upper() if i % 3 else f" {ending} ",
            "response": "\n" + story.replace("\n", "\r\n") + "\r\n",
        }
        for i, (topic, ending, story) in enumerate(line.values() for line in LINES)
    ]
    write(tmp_path / "b.jsonl", renamed)
    expected = split_stories(write(tmp_path / "s.jsonl", LINES), topic_of)
    for name in ("a.csv", "b.jsonl"):
        assert split_stories(tmp_path / name, topic_of) == expected


def test_prompt_and_completion_have_no_ending_and_stay_as_they_are(tmp_path: Path) -> None:
    pairs = [{"prompt": f" Why,\n{i}? ", "completion": f"\n{i}\r\n"} for i in range(100)]
    endings, splits = split_stories(write(tmp_path / "s.jsonl", pairs), topic_of)
    assert endings == ()
    found = [example for examples in splits.values() for example in examples]
    assert sorted(found) == sorted(Example(pair["prompt"], "", pair["completion"]) for pair in pairs)


SAD, HAPPY = ({"topic": "a dog", "ending": ending, "story": "x"} for ending in ("sad", "happy"))
NINE = [{"topic": f"t{i}", "ending": f"e{i}", "story": "x"} for i in range(9)]
HELD_OUT = next(topic for i in range(1000) if is_held_out(topic := f"topic {i}"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([SAD, SAD], "1 ending ('sad'); two to eight are needed, or none"),
        (NINE, "9 endings ('e0', 'e1', 'e2'"),
        ([SAD, HAPPY | {"ending": "oh, no!"}], "line 2: 'oh, no!' is no ending: a word or two"),
        ([SAD, HAPPY | {"ending": "neither"}], "line 2: the ending 'neither' would be none"),
        ([SAD, HAPPY | {"topic": HELD_OUT}], "too few topics: those held out for validation leave"),
        (
            [{"instruction": format_instruction("a", "sad"), "ending": "happy", "response": "x"}],
            "line 1: instruction is neither a topic nor a whole prompt for the ending 'happy'",
        ),
        (
            [{"instruction": format_instruction(" ", "sad"), "ending": "sad", "response": "x"}],
            "line 1: instruction is neither a topic nor a whole prompt",
        ),
    ],
)
def test_stories_that_do_not_fit_get_one_clear_line(lines: Lines, said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "s.jsonl", lines)
    with pytest.raises(InputError) as error:
        split_stories(file, topic_of)
    assert str(error.value).startswith(f"{file}: {said}")
    assert "\n" not in str(error.value)
