import random
from collections.abc import Sequence

import numpy as np
import pytest

from common.endings import ENDINGS, NEITHER
from common.own_stories import Example
from evaluation.judges import (
    FOLDS,
    LAST_WORDS,
    ValenceJudge,
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
    judges = make_judges(examples(1000, False, omens), held_out, ENDINGS, Grammar())
    assert list(judges) == ["words", "valence", "grammar"]
    topics, endings, stories = zip(*held_out, strict=True)
    for name, judge in judges.items():
        assert (judge.verdicts(stories, topics) == np.array(endings)).mean() >= 0.97, name


def test_a_grammar_that_does_not_know_the_stories_is_no_judge() -> None:
    assert list(make_judges(examples(40, False), examples(40, True), ENDINGS, Nobody())) == [
        "words",
        "valence",
    ]


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
    topics, stories = [str(i) for i in range(len(endings))], ["a"] * len(endings)
    assert train_valence_judge(topics, stories, endings, ENDINGS) is None


class Says:
    """A pipeline that says the same of all."""

    def __init__(self, word: str) -> None:
        self.word = word

    def predict(self, valences: np.ndarray) -> np.ndarray:
        return np.array([self.word] * len(valences))


def test_a_topic_is_judged_by_what_was_made_without_it() -> None:
    topics = [f"topic {i}" for i in range(100)]
    folds = topic_folds(topics)
    said = ValenceJudge([Says(str(fold)) for fold in range(FOLDS)])
    assert said.verdicts(["He cried."] * 100, topics).tolist() == [str(fold) for fold in folds]

    rng = np.random.default_rng(0)
    stories = [" ".join(rng.choice(["He cried.", "He smiled.", "He ran."], 4)) for _ in topics]
    true = rng.choice(ENDINGS, 100)
    judge = train_valence_judge(topics, stories, true.tolist(), ENDINGS)
    assert judge is not None
    for fold, pipeline in enumerate(judge.pipelines):
        others = np.flatnonzero(folds != fold)
        alone = train_valence_judge(
            [topics[i] for i in others], [stories[i] for i in others], true[others].tolist(), ENDINGS
        )
        assert alone is not None
        valences = closing_valences(stories)
        expected = alone.pipelines[fold].predict_proba(valences)
        assert np.array_equal(pipeline.predict_proba(valences), expected)


def test_without_an_ending_in_some_fold_there_is_no_valence_judge() -> None:
    topics = [f"topic {i}" for i in range(50)]
    true = ["sad", "happy"] * 25
    stories = ["He cried.", "He smiled."] * 25
    assert train_valence_judge(topics, stories, true, ENDINGS) is not None
    assert train_valence_judge(topics, stories, true, ("funny", *ENDINGS)) is None
    sad_in_one_fold = ["sad" if fold == 2 else "happy" for fold in topic_folds(topics)]
    assert train_valence_judge(topics, stories, sad_in_one_fold, ENDINGS) is None


def test_the_valence_judge_has_not_read_the_training_split() -> None:
    held_out = examples(100, True)
    lies = [
        each._replace(ending="sad" if each.ending == "happy" else "happy") for each in examples(400, False)
    ]
    judges = make_judges(lies, held_out, ENDINGS, Nobody())
    topics, endings, stories = zip(*held_out, strict=True)
    assert (judges["words"].verdicts(stories, topics) == np.array(endings)).mean() < 0.1
    assert (judges["valence"].verdicts(stories, topics) == np.array(endings)).mean() > 0.9


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
    judge = train_valence_judge(topics, ["He cried.", "He smiled."] * 30, ["sad", "happy"] * 30, ENDINGS)
    assert judge is not None
    assert judge.verdicts(["xyzzy", "", "He cried."], topics[:3]).tolist() == [NEITHER, NEITHER, "sad"]
