import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.json_lines import JsonLines, Line


class Numbered(JsonLines):
    content = "numbers"

    def check_line(self, line: Line) -> None:
        line["number"] + 0


def add(file: Path, *numbers: int) -> list[int]:
    """The numbers that were there, and `numbers` added behind them."""
    with Numbered.claimed(str(file), f"--output {file}") as lines:
        before = [line["number"] for line in lines.lines]
        for number in numbers:
            lines.add({"number": number})
        assert [line["number"] for line in lines.lines] == [*before, *numbers]
    return before


def test_what_was_added_is_there_at_once_and_the_next_time(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lines.jsonl"
    with Numbered.claimed(str(file), "--output") as lines:
        lines.add({"number": 1})
        assert file.read_bytes() == b'{"number": 1}\n'
    assert add(file, 2, 3) == [1]
    assert add(file) == [1, 2, 3]


@given(cut=st.integers(0, 40), numbers=st.lists(st.integers(), max_size=3))
def test_a_line_that_was_cut_off_is_given_up_and_those_before_it_stay(
    tmp_path_factory: pytest.TempPathFactory, cut: int, numbers: Sequence[int]
) -> None:
    file = tmp_path_factory.mktemp("cut") / "lines.jsonl"
    add(file, 10, 20, 30)
    whole = file.read_bytes()[:cut]
    file.write_bytes(whole)
    left = [10, 20, 30][: whole.count(b"\n") + whole.endswith(b"}")]
    assert add(file, *numbers) == left
    assert add(file) == [*left, *numbers]


def test_what_is_added_is_in_the_folder_that_took_the_place_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lines.jsonl"
    with Numbered.claimed(str(file), "--output") as lines:
        lines.add({"number": 1})
        shutil.copytree(tmp_path / "folder", tmp_path / "other")
        shutil.rmtree(tmp_path / "folder")
        (tmp_path / "other").rename(tmp_path / "folder")
        lines.add({"number": 2})
    assert add(file) == [1, 2]


def test_two_cannot_add_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    with (
        Numbered.claimed(str(file), "--output x"),
        pytest.raises(InputError, match="another process is writing there"),
    ):
        add(file)


@pytest.mark.parametrize(
    "held", [b"a diary\n", b'{"other": 1}\n', b"[1]\n", b'{"number": "one"}\n', b"\xff\n"]
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(held)
    with pytest.raises(InputError, match="holds something else than numbers"):
        add(file, 1)
    assert file.read_bytes() == held
