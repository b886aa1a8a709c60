import random
from collections.abc import Sequence

import numpy as np
import pytest

from common.endings import ENDINGS, NEITHER
from common.own_stories import Example
from evaluation.judges import (
    FOLDS,
    LAST_WORDS,
    closing,
    closing_valences,
    make_judges,
    topic_folds,
    train_valence_judge,
    train_word_judge,
)
from samples.story_grammar import ending_of, tell

ANY = [""] * 400  # topics that the word judge takes no notice of


def examples(count: int, held_out: bool, omens: bool = True) -> list[Example]:
    rng = random.Random(held_out)
    tales = [tell(rng, ending, held_out, omens) for ending in ENDINGS * (count // 2)]
    return [Example(tale.summary, tale.ending, tale.story) for tale in tales]


class Nobody:
    """A grammar that knows no sentence."""

    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        return np.array([None] * len(stories))


class Grammar:
    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        return np.array([ending_of(story) for story in stories])


@pytest.mark.parametrize("omens", [True, False])
def test_all_judges_know_how_true_stories_of_other_topics_end(omens: bool) -> None:
    held_out = examples(400, True, omens)
    judges = make_judges(examples(1000, False, omens), held_out, Grammar())
    assert list(judges) == ["words", "valence", "grammar"]
    topics, endings, stories = zip(*held_out, strict=True)
    for name, judge in judges.items():
        assert (judge.verdicts(stories, topics) == np.array(endings)).mean() >= 0.97, name


def test_a_grammar_that_does_not_know_the_stories_is_no_judge() -> None:
    assert list(make_judges(examples(40, False), examples(40, True), Nobody())) == ["words", "valence"]


def test_how_a_story_began_is_no_part_of_how_it_ends() -> None:
    judge = train_word_judge(["he cried"] * 5 + ["he smiled"] * 5, ["sad"] * 5 + ["happy"] * 5)
    filler = " and" * LAST_WORDS
    stories = ["he cried", "he smiled", f"he cried {filler} he smiled"]
    assert judge.verdicts(stories, ANY).tolist() == ["sad", "happy", "happy"]
    assert judge.verdicts(["", " ", "zzz"], ANY).tolist() == ["neither"] * 3
    assert closing("a  b\nc") == "a b c"
    assert closing("x " * 99).count("x") == LAST_WORDS


def test_rare_endings_are_not_drowned() -> None:
    """A cry is in every sad story and in one happy one of ten: a sign, though there are more of these."""
    stories = ["he smiled"] * 90 + ["he cried"] * 10 + ["he cried"] * 5
    judge = train_word_judge(stories, ["happy"] * 100 + ["sad"] * 5)
    assert judge.verdicts(["he cried", "he smiled"], ANY).tolist() == ["sad", "happy"]


@pytest.mark.parametrize("endings", [["sad"] * 3, ["happy"] * 3, []])
def test_one_ending_alone_teaches_nothing(endings: list[str]) -> None:
    with pytest.raises(ValueError, match="needs stories of two endings or more"):
        train_word_judge(["a"] * len(endings), endings)
    assert train_valence_judge([str(i) for i in range(len(endings))], ["a"] * len(endings), endings) is None


def test_the_valence_judge_has_not_read_what_it_judges() -> None:
    """A topic whose stories are labelled the wrong way round is still judged by what the others say."""
    topics = [f"topic {i}" for i in range(100)]
    endings = ["sad", "happy"] * 50
    stories = [f"He was {'sad and cried' if ending == 'sad' else 'glad and smiled'}." for ending in endings]
    odd = topic_folds(topics) == 3
    assert 0 < odd.sum() < 50
    wrong = np.where(odd, np.roll(endings, 1), endings).tolist()
    judge = train_valence_judge(topics, stories, wrong)
    assert judge is not None
    assert (judge.verdicts(stories, topics)[odd] == np.array(endings)[odd]).all()


def test_topics_have_the_same_folds_whatever_others_there_are() -> None:
    topics = [f"topic {i}" for i in range(1000)]
    folds = topic_folds(topics)
    assert np.bincount(folds, minlength=FOLDS).min() > 1000 / FOLDS / 2
    assert topic_folds(topics[7:8]) == folds[7]


def test_valences_are_of_the_last_sentences() -> None:
    good, bad, nothing = "A good day.", "It was terrible!", "It was there."
    whole, last, second, third, low, high = closing_valences([f"{nothing} {good} {bad} {nothing}"])[0]
    assert (last, low, high) == (0, second, third)
    assert second < whole < third
    assert second < 0 < third
    assert closing_valences(["", "xyzzy"]).tolist() == [[0] * 6] * 2
    assert closing_valences([]).shape == (0, 6)


def test_a_story_of_words_that_nobody_rated_ends_neither_way() -> None:
    topics = [f"topic {i}" for i in range(60)]
    judge = train_valence_judge(topics, ["He cried.", "He smiled."] * 30, ["sad", "happy"] * 30)
    assert judge is not None
    assert judge.verdicts(["xyzzy", "", "He cried."], topics[:3]).tolist() == [NEITHER, NEITHER, "sad"]
