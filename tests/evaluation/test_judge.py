import random

import pytest

from evaluation.judge import LAST_WORDS, closing, train_judge
from samples.story_grammar import tell


def test_the_judge_knows_how_true_stories_of_other_topics_end() -> None:
    rng = random.Random(0)
    train = [tell(rng, ending, held_out=False) for ending in ("happy", "sad") * 500]
    judge = train_judge([tale.story for tale in train], [tale.ending for tale in train])
    held_out = [tell(rng, ending, held_out=True) for ending in ("happy", "sad") * 200]
    right = judge.verdicts([tale.story for tale in held_out]) == [tale.ending for tale in held_out]
    assert right.mean() >= 0.97


def test_how_a_story_began_is_no_part_of_how_it_ends() -> None:
    judge = train_judge(["he cried"] * 5 + ["he smiled"] * 5, ["sad"] * 5 + ["happy"] * 5)
    filler = " and" * LAST_WORDS
    stories = ["he cried", "he smiled", f"he cried {filler} he smiled"]
    assert judge.verdicts(stories).tolist() == ["sad", "happy", "happy"]
    assert judge.verdicts(["", " ", "zzz"]).tolist() == ["neither"] * 3
    assert closing("a  b\nc") == "a b c"
    assert closing("x " * 99).count("x") == LAST_WORDS


def test_rare_endings_are_not_drowned() -> None:
    """A cry is in every sad story and in one happy one of ten: a sign, though there are more of these."""
    stories = ["he smiled"] * 90 + ["he cried"] * 10 + ["he cried"] * 5
    judge = train_judge(stories, ["happy"] * 100 + ["sad"] * 5)
    assert judge.verdicts(["he cried", "he smiled"]).tolist() == ["sad", "happy"]


@pytest.mark.parametrize("endings", [["sad"] * 3, ["happy"] * 3, []])
def test_one_ending_alone_teaches_nothing(endings: list[str]) -> None:
    with pytest.raises(ValueError, match="needs stories of two endings or more"):
        train_judge(["a"] * len(endings), endings)
