from pathlib import Path
from typing import Any

import pytest

from common.endings import ENDINGS
from evaluation.labels import LabelLines, labels_file, read_labels, text_hash, with_labels
from evaluation.requests import HELD_OUT


def story(topic: str, ending: str, text: str, judged: dict, topics: str = HELD_OUT) -> dict[str, Any]:
    return {"topic": topic, "ending": ending, "text": text, "judged": judged, "topics": topics}


def evaluation(*stories: dict[str, Any]) -> dict[str, Any]:
    return {
        "settings": {"seed": 0},
        "endings": list(ENDINGS),
        "judges": {judge: {} for judge in stories[0]["judged"]},
        "checkpoints": [{"stories": list(stories)}],
    }


def answer(folder: Path, name: str, *answers: tuple[str, str | None]) -> None:
    with LabelLines.open(str(labels_file(folder, name)), "--label") as lines:
        for text, ending in answers:
            lines.add({"story": text_hash(text), "ending": ending})


STORIES = [
    story(f"topic {i}", asked, f"{i} {asked}", {"right": asked, "happy": "happy"})
    for i in range(10)
    for asked in ENDINGS
]


def test_the_last_answer_counts_unless_it_was_taken_back(tmp_path: Path) -> None:
    answer(tmp_path, "ann", ("a", "sad"), ("b", "happy"), ("a", "happy"), ("c", "sad"), ("c", None))
    answer(tmp_path, "bob", ("a", "neither"))
    people = read_labels(tmp_path)
    assert people == {
        "ann": {text_hash("a"): "happy", text_hash("b"): "happy"},
        "bob": {text_hash("a"): "neither"},
    }


def test_raters_are_compared_on_what_both_know(tmp_path: Path) -> None:
    """One who is always right, one who says happy whatever is told, and a person who read eight stories of
    four topics, was right on six, and called two unclear."""
    labels = {text_hash(each["text"]): each["ending"] for each in STORIES[:8]}
    labels[text_hash(STORIES[0]["text"])] = labels[text_hash(STORIES[1]["text"])] = "neither"
    found = with_labels(evaluation(*STORIES), {"ann": labels, "of another report": {"0": "sad"}})
    shares = {each["rater"]: (each["stories"], each["as asked"][0].value) for each in found["raters"]}
    assert shares == {"right": (20, 1), "happy": (20, 0.5), "ann": (8, 0.75)}
    pairs = {tuple(pair["raters"]): pair for pair in found["agreement"]}
    assert list(pairs) == [("right", "happy"), ("right", "ann"), ("happy", "ann")]
    assert [pair["stories"] for pair in pairs.values()] == [20, 8, 8]
    assert pairs["right", "happy"]["kappa"].value == 0
    assert pairs["right", "ann"]["agreement"].value == 0.75
    # Each of right's endings is half of the eight, and ann has three of each: chance is 3/8.
    assert pairs["right", "ann"]["kappa"].value == pytest.approx((0.75 - 0.375) / (1 - 0.375))


def test_what_a_rater_does_not_know_is_not_held_against_him() -> None:
    some = [
        story(each["topic"], each["ending"], each["text"], each["judged"] | {"grammar": None})
        for each in STORIES[:4]
    ]
    known = [
        story(each["topic"], each["ending"], each["text"], each["judged"] | {"grammar": each["ending"]})
        for each in STORIES[4:]
    ]
    found = with_labels(evaluation(*some, *known), {})
    (grammar,) = (each for each in found["raters"] if each["rater"] == "grammar")
    assert (grammar["stories"], grammar["as asked"][0].value) == (16, 1)
    assert {pair["stories"] for pair in found["agreement"] if "grammar" in pair["raters"]} == {16}


def test_adherence_is_of_held_out_topics_and_agreement_of_all() -> None:
    hard = story("a party", "sad", "a party, happy", {"right": "happy", "happy": "happy"}, "contrary topics")
    found = with_labels(evaluation(*STORIES, hard), {})
    assert found["raters"][0]["as asked"][0].value == 1
    assert found["agreement"][0]["stories"] == 21


@pytest.mark.parametrize("name", ["", "../ann", "a b", "-x", "x" * 41, "a.b"])
def test_a_name_is_part_of_a_files_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="--by"):
        labels_file(tmp_path, name)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels-ann.jsonl").write_text("dear diary\n")
    with pytest.raises(ValueError, match=r"labels-ann\.jsonl: holds something else than answers of --label"):
        read_labels(tmp_path)
