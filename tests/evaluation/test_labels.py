import math
from pathlib import Path
from typing import Any

import pytest

from common.endings import ENDINGS
from evaluation.labels import LabelLines, labels_file, read_labels, text_hash, with_labels
from evaluation.requests import HELD_OUT


def story(topic: str, ending: str, text: str, judged: dict, topics: str = HELD_OUT) -> dict[str, Any]:
    return {"topic": topic, "ending": ending, "text": text, "judged": judged, "topics": topics}


def evaluation(*checkpoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "settings": {"seed": 0},
        "endings": list(ENDINGS),
        "judges": {judge: {} for judge in checkpoints[0][0]["judged"]},
        "checkpoints": [{"stories": stories} for stories in checkpoints],
    }


def answer(folder: Path, name: str, *answers: tuple[str, str | None]) -> None:
    with LabelLines.claimed(str(labels_file(folder, name)), "--label") as lines:
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
    people = read_labels(tmp_path, ENDINGS)
    assert people == {
        "ann": {text_hash("a"): "happy", text_hash("b"): "happy"},
        "bob": {text_hash("a"): "neither"},
    }


def test_raters_are_compared_on_what_both_know(tmp_path: Path) -> None:
    """One who is always right, one who says happy whatever is told, and a person who read eight stories of
    four topics, was right on six, and called two unclear."""
    labels = {text_hash(each["text"]): each["ending"] for each in STORIES[:8]}
    labels[text_hash(STORIES[0]["text"])] = labels[text_hash(STORIES[1]["text"])] = "neither"
    found = with_labels(evaluation(STORIES), {"ann": labels, "of another report": {"0": "sad"}})
    shares = {each["rater"]: each["as asked"][0] for each in found["raters"]}
    assert [each["stories"] for each in shares.values()] == [20, 20, 8]
    assert {rater: each["share"].value for rater, each in shares.items()} == {
        "right": 1,
        "happy": 0.5,
        "ann": 0.75,
    }
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
    found = with_labels(evaluation(some + known), {})
    (grammar,) = (each for each in found["raters"] if each["rater"] == "grammar")
    assert (grammar["as asked"][0]["stories"], grammar["as asked"][0]["share"].value) == (16, 1)
    assert {pair["stories"] for pair in found["agreement"] if "grammar" in pair["raters"]} == {16}


def test_adherence_is_of_held_out_topics_and_agreement_of_all() -> None:
    hard = story("a party", "sad", "a party, happy", {"right": "happy", "happy": "happy"}, "contrary topics")
    found = with_labels(evaluation([*STORIES, hard]), {})
    assert found["raters"][0]["as asked"][0]["share"].value == 1
    assert found["agreement"][0]["stories"] == 21


def test_each_checkpoint_is_judged_by_its_own_stories() -> None:
    """The second does the contrary of what it is asked; a person read one story of each."""
    contrary = [
        story(each["topic"], each["ending"], f"{each['text']}!", {"right": other, "happy": "happy"})
        for each in STORIES
        for other in ENDINGS
        if other != each["ending"]
    ]
    labels = {text_hash(told[i]["text"]): told[i]["ending"] for told in (STORIES, contrary) for i in (0, 3)}
    found = with_labels(evaluation(STORIES, contrary), {"ann": labels})
    shares = {
        rater["rater"]: [each["share"].value for each in rater["as asked"]] for rater in found["raters"]
    }
    assert shares == {"right": [1, 0], "happy": [0.5, 0.5], "ann": [1, 1]}
    assert [each["stories"] for each in found["raters"][-1]["as asked"]] == [2, 2]
    pairs = {tuple(pair["raters"]): pair for pair in found["agreement"]}
    assert pairs["right", "ann"]["agreement"].value == 0.5
    assert pairs["right", "happy"]["stories"] == 40


def test_who_said_little_has_no_narrow_interval() -> None:
    labels = {text_hash(each["text"]): "happy" for each in STORIES[:4]}
    found = with_labels(evaluation(STORIES), {"ann": labels})
    (ann,) = (rater for rater in found["raters"] if rater["rater"] == "ann")
    assert ann["as asked"][0]["share"] == (0.5, 0, 1)
    kappas = {tuple(pair["raters"]): pair["kappa"] for pair in found["agreement"]}
    assert kappas["right", "ann"].value == 0
    assert math.isnan(kappas["right", "ann"].low)


@pytest.mark.parametrize("name", ["words", "valence", "grammar", "", "../ann", "a b", "-x", "x" * 41, "a.b"])
def test_a_name_is_part_of_a_files_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="--by"):
        labels_file(tmp_path, name)


def test_files_of_other_names_are_nobodys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(tmp_path, "ann", ("a", "sad"))
    for name in ("ann (conflicted copy)", "a|b", "words"):
        (tmp_path / f"labels-{name}.jsonl").write_text("")
    assert read_labels(tmp_path, ENDINGS).keys() == {"ann"}
    assert capsys.readouterr().err.count("is left out") == 3


def test_a_file_that_was_edited_is_read_as_far_as_it_makes_sense(tmp_path: Path) -> None:
    answer(tmp_path, "ann", ("a", "sad"), ("b", "happy"))
    file = labels_file(tmp_path, "ann")
    text = file.read_text()
    file.write_text("\ufeff" + text.replace("\n", "\r\n\r\n").rstrip())
    assert read_labels(tmp_path, ENDINGS)["ann"] == {text_hash("a"): "sad", text_hash("b"): "happy"}
    answer(tmp_path, "ann", ("c", "neither"))
    assert len(read_labels(tmp_path, ENDINGS)["ann"]) == 3
    file.write_text(text.replace("sad", "Sad"))
    with pytest.raises(ValueError, match=r"labels-ann\.jsonl: 'Sad' is no ending of this report"):
        read_labels(tmp_path, ENDINGS)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels-ann.jsonl").write_text("dear diary\n")
    with pytest.raises(ValueError, match=r"labels-ann\.jsonl: holds something else than answers of --label"):
        read_labels(tmp_path, ENDINGS)
