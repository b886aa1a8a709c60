"""Statistics of texts: length, the topic's words, variety, what is repeated or copied. Endings do not count.

Words are runs of letters and digits, with what an apostrophe joins, in lower case.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from evaluation.metrics import Metrics, Topics

PIECE = 10_000  # training stories that are searched at a time


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)*", text.lower().replace("\u2019", "'"))


SMALL_WORDS = frozenset(
    words(
        "a about after all an and are as at be but by can could did do does for from had has have he her his "
        "him i in into is it its me my not of off on or our out over she so some than that the their them "
        "then there they this to too up very was we were what when where which who whose will with would you "
        "your"
    )
)


def story_statistics(
    asked: Sequence[str], stories: Sequence[str], training_stories: Sequence[str], seed: int
) -> Metrics:
    """All of them, of N stories about the N topics `asked`; what can be copied is `training_stories`."""
    about: dict[str, list[str]] = {}
    for topic, story in zip(asked, stories, strict=True):
        about.setdefault(topic, []).append(story)
    values: dict[str, list[int] | list[float]] = {
        "words": [len(words(story)) for story in stories],
        "topic words that come back": [topic_recall(*both) for both in zip(asked, stories, strict=True)],
        "distinct-2, stories of a topic": [distinct(about[topic], 2) for topic in asked],
        "repeated runs of 4 words": [repetition(story) for story in stories],
        "longest copied run, words": longest_copied(stories, training_stories),
    }
    topics = Topics(asked, seed)
    return {name: topics.mean(x, ~np.isnan(x)) for name, x in values.items()}


def ngrams(of: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(of[i : i + n]) for i in range(len(of) - n + 1)]


def topic_recall(topic: str, story: str) -> float:
    """The share of a topic's different words, but for SMALL_WORDS, that are in the story; nan without any."""
    asked = set(words(topic)) - SMALL_WORDS
    return len(asked & set(words(story))) / len(asked) if asked else float("nan")


def distinct(stories: Iterable[str], n: int) -> float:
    """Distinct-n: the share of all runs of n words in these stories that are different; nan without any.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models".
    """
    runs = [run for story in stories for run in ngrams(words(story), n)]
    return len(set(runs)) / len(runs) if runs else float("nan")


def repetition(story: str, n: int = 4) -> float:
    """The share of a story's runs of n words that it held before."""
    return 1 - distinct([story], n)


def longest_copied(stories: Sequence[str], training: Iterable[str]) -> list[int]:
    """For each story, the length in words of its longest run that stands in one of the training stories."""
    longest = np.zeros(len(stories), np.int64)
    vocabulary: dict[str, int] = {}
    told = [[vocabulary.setdefault(word, len(vocabulary)) for word in words(story)] for story in stories]
    told_words, story_of = _joined(told)
    training = iter(training)
    while piece := list(islice(training, PIECE)):
        known = [[vocabulary.get(word, -1) for word in words(story)] for story in piece]
        for n, starts in enumerate(_common_runs(told_words, _joined(known)[0], len(vocabulary)), start=1):
            found = story_of[starts]
            longest[found] = np.maximum(longest[found], n)
    return longest.tolist()


def _joined(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """All words one after another, -1 behind each text, and the text that each is of; both (W,) int64."""
    flat = [word for text in texts for word in (*text, -1)]
    return np.array(flat, np.int64), np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])


def _common_runs(told: np.ndarray, known: np.ndarray, vocabulary: int) -> Iterator[np.ndarray]:
    """For n = 1, 2, ...: the places in `told` where n words start that stand somewhere in `known`.

    A run of n words has a number, so that equal runs have equal ones: that of its first n - 1 words and its
    last word make a pair, and pairs are numbered. Only places where n - 1 words were found are looked at.
    """
    told_at, known_at = np.arange(len(told)), np.arange(len(known))
    told_run, known_run = np.zeros(len(told), np.int64), np.zeros(len(known), np.int64)
    n = 0
    while True:
        told_at, told_run, told_word = _next_words(told, told_at, told_run, n)
        known_at, known_run, known_word = _next_words(known, known_at, known_run, n)
        pairs, told_run = np.unique(told_run * vocabulary + told_word, return_inverse=True)
        if not len(pairs):
            return
        wanted = known_run * vocabulary + known_word
        known_run = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
        there = pairs[known_run] == wanted
        known_at, known_run = known_at[there], known_run[there]
        found = np.isin(told_run, known_run)
        told_at, told_run = told_at[found], told_run[found]
        if not len(told_at):
            return
        yield told_at
        n += 1


def _next_words(
    text: np.ndarray, at: np.ndarray, run: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of runs of n words that start `at`: those that go on, their numbers, and the word that follows."""
    inside = at + n < len(text)
    at, run = at[inside], run[inside]
    word = text[at + n]
    return at[word >= 0], run[word >= 0], word[word >= 0]
