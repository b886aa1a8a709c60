"""How does a story end? Two judges of told stories, made from true ones.

    judge = train_word_judge(stories, endings)
    judge.verdicts(["... They hugged and went home with a smile.", ""], topics)    # ["happy", "neither"]

The word judge is a logistic regression on the words and word pairs of a story's last LAST_WORDS words,
weighted by tf-idf, of the training split: how a story began is no part of how it ends.

The valence judge shares neither the stories nor the features. It reads how pleasant people found the last
words, in the lexicon and by the rules of VADER (Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based
Model for Sentiment Analysis of Social Media Text"): six numbers, and a logistic regression on them, fitted to
held-out stories. A story about a topic is judged by what was fitted without that topic.

What a judge is worth shows on true stories that it has not seen.
"""

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.endings import NEITHER
from common.errors import InputError
from common.own_stories import Example

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

JUDGES = WORDS, VALENCE, GRAMMAR = ("words", "valence", "grammar")
LAST_WORDS = 50
FOLDS = 5  # parts of the topics, each judged by what the others taught


class Judge(Protocol):
    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        """(N,): for each of N stories and what it is about, an ending, "neither" if the judge knows no word
        of its closing, or None if it cannot say."""


def closing(story: str) -> str:
    """The last words of a story."""
    return " ".join(re.findall(r"\S+", story)[-LAST_WORDS:])


@dataclass(frozen=True)
class WordJudge:
    pipeline: "Pipeline"

    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        closings = [closing(story) for story in stories]
        known = self.pipeline[:-1].transform(closings).getnnz(axis=1) > 0
        return np.where(known, self.pipeline.predict(closings), NEITHER)


@dataclass(frozen=True)
class ValenceJudge:
    pipelines: "Sequence[Pipeline]"  # one for each fold of the topics, made from the stories of the others

    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        valences, folds = closing_valences(stories), topic_folds(topics)
        verdicts = np.array([pipeline.predict(valences) for pipeline in self.pipelines])  # (folds, N)
        return np.where(valences.any(1), verdicts[folds, np.arange(len(stories))], NEITHER)


def make_judges(
    train: Sequence[Example], held_out: Sequence[Example], endings: Sequence[str], grammar: Judge
) -> dict[str, Judge]:
    """By name: WORDS and, if the held-out examples are enough, VALENCE; and GRAMMAR, a judge of some corpus
    alone, if it knows how most of them end. Raises InputError if there is one ending to learn from."""
    topics, true, stories = zip(*held_out, strict=True)
    judges: dict[str, Judge] = {
        WORDS: train_word_judge([each.story for each in train], [each.ending for each in train])
    }
    if valence := train_valence_judge(topics, stories, true, endings):
        judges[VALENCE] = valence
    if np.mean(grammar.verdicts(stories[:50], topics[:50]) == np.array(true[:50])) > 0.5:
        judges[GRAMMAR] = grammar
    return judges


def train_word_judge(stories: Sequence[str], endings: Sequence[str]) -> WordJudge:
    """Raises InputError if there is only one ending to learn from."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(found := Counter(endings)) < 2:
        counts = ", ".join(f"{count:,} {ending}" for ending, count in found.items()) or "none"
        raise InputError(f"--data: the judge needs stories of two endings or more for training, not {counts}")
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+"),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000),
    )
    return WordJudge(pipeline.fit([closing(story) for story in stories], np.array(endings)))


def train_valence_judge(
    topics: Sequence[str], stories: Sequence[str], true: Sequence[str], endings: Sequence[str]
) -> ValenceJudge | None:
    """From N stories and how they end. None if they are too few: without one fold of the topics, not each of
    the `endings` is left."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    valences, folds, labels = closing_valences(stories), topic_folds(topics), np.array(true)
    if any({*labels[folds != fold]} != {*endings} for fold in range(FOLDS)):
        return None
    return ValenceJudge(
        [
            make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")).fit(
                valences[folds != fold], labels[folds != fold]
            )
            for fold in range(FOLDS)
        ]
    )


def topic_folds(topics: Sequence[str]) -> np.ndarray:
    """(N,) int64: the fold of each topic, by its hash, so that it is the same whatever others there are."""
    return np.array([zlib.crc32(topic.encode()) % FOLDS for topic in topics], np.int64)


def closing_valences(stories: Sequence[str]) -> np.ndarray:
    """(N, 6) float64, each from -1 to 1: the valence of the closing, of its last three sentences, the last
    one first, and the lowest and the highest of its sentences'; 0 where no word has one."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    valence = SentimentIntensityAnalyzer().polarity_scores
    rows = []
    for story in stories:
        text = closing(story)
        sentences = [valence(part)["compound"] for part in re.split(r'(?<=[.!?"]) ', text)]
        last = [*reversed(sentences[-3:]), 0, 0, 0][:3]
        rows.append([valence(text)["compound"], *last, min(sentences), max(sentences)])
    return np.array(rows, np.float64).reshape(-1, 6)
