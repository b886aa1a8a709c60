from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import text_statistics
from evaluation.text_statistics import distinct, longest_copied, repetition, topic_recall, words


def test_words_are_lower_case_without_signs() -> None:
    assert words('"Don\'t go, Mia!" said Tom.') == ["don't", "go", "mia", "said", "tom"]
    assert words("'Don\u2019t!' ' she said") == ["don't", "she", "said"]


def test_topic_words_come_back_but_small_words_do_not_count() -> None:
    story = "Mia had a kite. It was red. The dog saw it."
    assert topic_recall("Mia the cat and a red, red kite", story) == 3 / 4
    assert topic_recall("Kite", story) == 1
    assert topic_recall("the and of", story) != topic_recall("the and of", story)  # nan


def test_distinct_n_and_repetition() -> None:
    assert distinct(["a b a b", "a b"], 1) == 2 / 6
    assert distinct(["a b a b", "a b"], 2) == 2 / 4
    assert repetition("a b c d e") == 0
    assert repetition("a b c d a b c d") == 1 - 4 / 5
    assert repetition("a b") != repetition("a b")  # nan


def test_the_longest_copied_run_lies_within_one_training_story() -> None:
    training = ["The cat sat on the mat.", "A dog ran home."]
    stories = ["the cat sat down", "On the mat a dog", "Home a dog ran, home", "zebra", ""]
    assert longest_copied(stories, training) == [3, 3, 4, 0, 0]
    assert longest_copied(["the cat"], []) == [0]
    assert longest_copied([], training) == []


def brute_force(story: str, training: list[str]) -> int:
    told, padded = words(story), [f" {' '.join(words(text))} " for text in training]
    runs = [told[i:j] for i in range(len(told)) for j in range(i + 1, len(told) + 1)]
    return max((len(run) for run in runs if any(f" {' '.join(run)} " in text for text in padded)), default=0)


texts = st.lists(st.text(alphabet="abc ", max_size=24), max_size=6)


@given(texts, texts, st.integers(1, 3))
@settings(deadline=None)
def test_the_longest_copied_run_is_that_of_brute_force(
    stories: list[str], training: list[str], piece: int
) -> None:
    whole, text_statistics.PIECE = text_statistics.PIECE, piece
    try:
        found = longest_copied(stories, iter(training))
    finally:
        text_statistics.PIECE = whole
    assert found == [brute_force(story, training) for story in stories]
