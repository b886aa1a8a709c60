"""Somebody's own stories: any text comes back as it was written, and a line that does not fit is named."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import InputError
from common.story_file import NAMES, read_story_file

LONGEST = 500
AWKWARD = (
    'He said "no", and\nleft; \'why?\'\t\u2028 \x0b\x1c\x85 \\n {summary} {"a": 1}',
    "a dog 🐶 <|endoftext|> and a family 👨‍👩‍👧",
    '"',
    '""",\n,"',
    "\ufeffmark",
    "\x00",
    "=1+1;,|",
    "a\rb",
)
texts = st.one_of(st.text(max_size=60), st.sampled_from(AWKWARD)).filter(str.strip)
stories = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=6)


def read(file: Path, longest: int = LONGEST) -> list[dict[str, str]]:
    return read_story_file(file, dict, longest)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def as_json_lines(lines: list[dict[str, str]], ascii_only: bool = True, end: str = "\n") -> str:
    return "".join(json.dumps(line, ensure_ascii=ascii_only) + end for line in lines)


def as_csv(lines: list[dict[str, str]], separator: str, quote_all: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(lines[0])
    writer.writerows(line.values() for line in lines)
    return out.getvalue()


@given(stories, st.sampled_from(NAMES), st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
@example([(text, "sad", text) for text in AWKWARD], NAMES[0], False, True, "\n")
def test_any_text_comes_back_from_json_lines(
    told: list[tuple[str, str, str]], names: tuple[str, ...], ascii_only: bool, mark: bool, end: str
) -> None:
    lines = [dict(zip(names, texts, strict=False)) for texts in told]
    with tempfile.TemporaryDirectory() as folder:
        content = as_json_lines(lines, ascii_only, end)
        assert read(write(Path(folder), "s.jsonl", "\ufeff" * mark + content)) == lines


@given(
    stories,
    st.sampled_from(NAMES),
    st.sampled_from(",;\t"),
    st.booleans(),
    st.booleans(),
)
@example([(text, "sad", text) for text in AWKWARD], NAMES[0], ",", False, True)
def test_any_text_comes_back_from_csv(
    told: list[tuple[str, str, str]], names: tuple[str, ...], separator: str, quote_all: bool, mark: bool
) -> None:
    lines = [dict(zip(names, texts, strict=False)) for texts in told]
    with tempfile.TemporaryDirectory() as folder:
        content = as_csv(lines, separator, quote_all)
        assert read(write(Path(folder), "s.csv", "\ufeff" * mark + content)) == lines


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    st.sampled_from(["jsonl", "csv"]),
)
def test_any_bytes_are_stories_or_one_line(content: bytes, kind: str) -> None:
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), f"s.{kind}", content)
        try:
            read(file)
        except InputError as error:
            said = str(error)
    assert not said or said.startswith(f"{file}: ")
    assert "\n" not in said


GOOD = {"topic": "a dog", "ending": "sad", "story": "It ran."}
FIRST = json.dumps(GOOD) + "\n"
ROW = "topic,ending,story\n"
DEEP = "[" * 100_000
BAD_FILES = [  # name, content, what is said behind the file's name
    ("s.txt", FIRST, "must be JSON Lines (.jsonl) or CSV (.csv), and be called so"),
    ("s.jsonl", "", "holds no stories"),
    ("s.jsonl", "\n \r\n", "holds no stories"),
    ("s.csv", "\n", "holds no stories"),
    ("s.csv", ROW, "holds no stories"),
    ("s.jsonl", "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file"),
    ("s.jsonl", FIRST.encode("utf-16"), "line 1 is not UTF-8 (byte 0xff); save the file as UTF-8"),
    ("s.csv", ROW.encode() + "ein Bär,sad,x\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe4)"),
    ("s.jsonl", FIRST.encode() + b"\xed\xa0\x80", "line 2 is not UTF-8 (byte 0xed)"),
    ("s.json", json.dumps([GOOD]), "is one JSON array; write an object a line, as `jq -c '.[]'` does"),
    ("s.jsonl", FIRST + "{'topic': 'x'}\n", "line 2: is not JSON (Expecting property name"),
    ("s.jsonl", FIRST + FIRST[:-9], "line 2: is not JSON (Unterminated string"),
    ("s.jsonl", FIRST.strip() + FIRST, "line 1: is not JSON (Extra data"),
    ("s.jsonl", FIRST + '{"topic": ' + DEEP, "line 2: is not JSON that can be read (maximum recursion depth"),
    ("s.jsonl", FIRST + "9" * 5000, "line 2: is not JSON that can be read (Exceeds the limit"),
    ("s.jsonl", FIRST + "3\nnull\n", "line 2: is no JSON object; line 3: is no JSON object; correct or"),
    ("s.jsonl", '{"text": "x"}\n', "line 1 has 'text'; needed are topic, ending, story (or instruction,"),
    ("s.jsonl", "{}\n", "line 1 has nothing; needed are topic"),
    ("s.jsonl", '{"topic": "x"}\n' * 2, "line 1 has 'topic'; needed are topic"),
    ("s.jsonl", '{"topic": "x"}\n' + FIRST, "line 1: has no ending; correct or remove them"),
    ("s.jsonl", '{"prompt": "x", "story": "y"}\n', "line 1 has 'prompt', 'story'; needed are topic"),
    ("s.jsonl", FIRST + '{"prompt": "x", "completion": "y"}\n', "line 2: has no topic"),
    ("s.jsonl", json.dumps(GOOD | {"story": None}), "line 1: story is null, not text"),
    ("s.jsonl", json.dumps(GOOD | {"story": 3}), "line 1: story is a number, not text"),
    ("s.jsonl", json.dumps(GOOD | {"story": True}), "line 1: story is true or false, not text"),
    ("s.jsonl", json.dumps(GOOD | {"topic": ["x"]}), "line 1: topic is a list, not text"),
    ("s.jsonl", json.dumps(GOOD | {"topic": {"x": 1}}), "line 1: topic is an object, not text"),
    ("s.jsonl", json.dumps(GOOD | {"topic": " \n"}), "line 1: topic is empty"),
    ("s.jsonl", json.dumps(GOOD | {"story": "x" * 501}), "line 1: story is longer than 500 characters"),
    ("s.jsonl", json.dumps(GOOD | {"story": "a \ud83d"}), r"line 1: story holds half a character (\ud83d)"),
    (
        "s.csv",
        "a dog,sad,It ran.\n",
        "line 1: names 'a dog', 'sad', 'it ran.'; needed are topic, ending, story",
    ),
    (
        "s.csv",
        "topic,story\na dog,It ran.\n",
        "line 1: names 'topic', 'story'; needed are topic, ending, story",
    ),
    ("s.csv", "topic,ending,story,story\n", "line 1: names 'story' twice"),
    ("s.csv", ROW + "a dog,sad\n", "line 2: has 2 columns, and line 1 names 3: put texts in quotation marks"),
    ("s.csv", ROW + "a dog,sad,It ran, and ran.\n", "line 2: has 4 columns, and line 1 names 3"),
    ("s.csv", "\n\n" + ROW + 'a,sad,"x\ny"\nb,sad\n', "line 6: has 2 columns, and line 3 names 3"),
    ("s.csv", ROW + 'a,sad,"x\ny\n', "line 2: is not CSV; is a quotation mark missing, or one too many?"),
    ("s.csv", ROW + 'a,sad,"x" y\n', "line 2: is not CSV; is a quotation mark missing, or one too many?"),
    ("s.csv", ROW + "a,sad,x\n,sad,y\n", "line 3: topic is empty; correct or remove them"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES)
def test_a_bad_file_gets_one_clear_line(name: str, content: str | bytes, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, name, content)
    with pytest.raises(InputError) as error:
        read(file)
    assert str(error.value).startswith(f"{file}: {said}")
    assert "\n" not in str(error.value)


def test_the_first_ten_misfits_are_named_at_once_and_the_rest_are_counted(tmp_path: Path) -> None:
    lines = [json.dumps(GOOD | {"story": ""} if i % 2 else GOOD) for i in range(26)]
    with pytest.raises(InputError) as error:
        read(write(tmp_path, "s.jsonl", "\n".join(lines)))
    named = "; ".join(f"line {number}: story is empty" for number in range(2, 21, 2))
    assert str(error.value).endswith(f"s.jsonl: {named}; and 3 more; correct or remove them")


def test_what_is_made_of_a_line_may_refuse_it_too(tmp_path: Path) -> None:
    def make(texts: dict[str, str]) -> str:
        if texts["ending"] == "odd":
            raise InputError("is odd")
        return texts["story"]

    lines = [GOOD, GOOD | {"ending": "odd"}, GOOD]
    good = write(tmp_path, "good.jsonl", as_json_lines([GOOD, GOOD]))
    assert read_story_file(good, make, LONGEST) == ["It ran."] * 2
    with pytest.raises(InputError, match=r"bad\.jsonl: line 2: is odd; correct or remove them$"):
        read_story_file(write(tmp_path, "bad.jsonl", as_json_lines(lines)), make, LONGEST)


def test_more_columns_than_are_needed_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = 'ID;Story ;topic;ending\n1;"It ran;\nand ran.";a dog;sad\n'
    (line,) = read(write(tmp_path, "s.csv", content))
    assert line == GOOD | {"story": "It ran;\nand ran."}
    assert "s.csv: not used: 'id'\n" in capsys.readouterr().out
