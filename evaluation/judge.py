"""How does a story end? A classifier for generated stories, made from true ones.

    judge = train_judge(stories, endings)
    judge.verdicts(["... They hugged and went home with a smile.", ""])      # array(["happy", "neither"])

Logistic regression on the words and word pairs of a story's last LAST_WORDS words, weighted by tf-idf: how it
began is no part of how it ends. What the judge is worth shows on true stories that it has not seen.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.endings import NEITHER
from common.errors import InputError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

LAST_WORDS = 50


def closing(story: str) -> str:
    """The last words of a story."""
    return " ".join(re.findall(r"\S+", story)[-LAST_WORDS:])


@dataclass(frozen=True)
class Judge:
    pipeline: "Pipeline"

    def verdicts(self, stories: Sequence[str]) -> np.ndarray:
        """(N,) str: an ending, or "neither" for a closing of which no word stands in a training story's."""
        closings = [closing(story) for story in stories]
        known = self.pipeline[:-1].transform(closings).getnnz(axis=1) > 0
        return np.where(known, self.pipeline.predict(closings), NEITHER)


def train_judge(stories: Sequence[str], endings: Sequence[str]) -> Judge:
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
    return Judge(pipeline.fit([closing(story) for story in stories], np.array(endings)))
