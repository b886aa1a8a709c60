"""Numbers about endings, each with an interval: what `evaluate.py` reports, from arrays, without a model.

    topics = Topics(["a lost dog", "a lost dog", "a red kite"], seed=0)
    topics.mean([5, 7, 9])                    # Estimate(value=7.0, low=6.0, high=9.0)

Intervals hold 95% of bootstrap resamples over topics (Efron 1979): whole topics are drawn with replacement,
as what is told about one topic is alike. A share that is 0 or 1 in every topic has no spread to resample; its
interval is 3/n wide for n topics (the rule of three; Hanley and Lippman-Hand 1983).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from common.errors import InputError

RESAMPLES = 1000


class Estimate(NamedTuple):
    """A figure and its 95% interval; nan where there is nothing to measure."""

    value: float
    low: float
    high: float


Metrics = dict[str, Estimate]


class Topics:
    """The topics that N rows are about, and how often each of the resamples holds each row."""

    def __init__(self, of_rows: Sequence[str], seed: int) -> None:
        """Raises InputError if all rows are about one topic: nothing can be said of others."""
        names, self.topic = np.unique(np.array(of_rows, dtype=object), return_inverse=True)  # (N,)
        if len(names) < 2:
            raise InputError(
                f"--data: {len(names)} topic to measure on; intervals need two or more, name larger data"
            )
        shares = np.full(len(names), 1 / len(names))
        drawn = np.random.default_rng(seed).multinomial(len(names), shares, RESAMPLES)
        self.drawn = drawn.astype(np.float64)  # (R, topics)

    def estimate(self, statistic: Callable[[np.ndarray], float]) -> Estimate:
        """Of a statistic that takes a weight for every row, (N,) float64."""
        value = statistic(np.ones(len(self.topic)))
        return _interval(value, np.array([statistic(weight[self.topic]) for weight in self.drawn]))

    def ratio(self, over: ArrayLike, under: ArrayLike) -> Estimate:
        """The sum of `over` by the sum of `under`, both (N,): a rate, a share, a mean over tokens."""
        above, below = (np.bincount(self.topic, np.asarray(x, np.float64)) for x in (over, under))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(np.divide(above.sum(), below.sum()))
            return _interval(value, (self.drawn @ above) / (self.drawn @ below))

    def mean(self, values: ArrayLike, where: ArrayLike | None = None) -> Estimate:
        """The mean of `values` (N,), or of those `where` (N,) bool is true."""
        these = np.ones(len(self.topic), bool) if where is None else np.asarray(where, bool)
        return self.ratio(np.where(these, np.asarray(values, np.float64), 0), these)

    def share(self, hits: ArrayLike, where: ArrayLike | None = None) -> Estimate:
        """The mean of `hits` (N,), bool or from 0 to 1, where it is a share."""
        return rule_of_three(self.mean(hits, where), self.count(where))

    def count(self, where: ArrayLike | None = None) -> int:
        """The topics of all rows, or of those `where` (N,) bool is true."""
        return len(np.unique(self.topic if where is None else self.topic[np.asarray(where, bool)]))


def _interval(value: float, resampled: np.ndarray) -> Estimate:
    if np.isnan(resampled).all():
        return Estimate(value, np.nan, np.nan)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def rule_of_three(share: Estimate, topics: int) -> Estimate:
    """A share of so many topics; if it is 0 or 1, with an interval that resampling cannot give."""
    bound = 3 / max(topics, 3)
    if share.value == 1:
        return Estimate(1, 1 - bound, 1)
    return Estimate(0, 0, bound) if share.value == 0 else share


def perplexity(loss: Estimate) -> Estimate:
    """Of a mean loss in nats a token."""
    with np.errstate(over="ignore"):
        return Estimate(*np.exp(loss).tolist())


def auc(scores: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    """The chance that a positive row scores higher than another one, ties counted half; all (N,).

    The area under the ROC curve is Mann and Whitney's U: Hanley and McNeil 1982. nan if a class is empty.
    """
    _, rank = np.unique(scores, return_inverse=True)
    above = np.bincount(rank, weight * positive)
    below = np.bincount(rank, weight * ~positive)
    pairs = above.sum() * below.sum()
    return float((above * (below.cumsum() - below / 2)).sum() / pairs) if pairs else float("nan")


def preference(topics: Topics, margins: np.ndarray, sad: np.ndarray) -> dict[str, Estimate]:
    """Whether true stories are likelier under their own ending; no sampling, no judge.

    `margins` (N,) is log p(story | topic, its ending) - log p(story | topic, the other), nats, and `sad` (N,)
    bool that ending. A tie counts half. The AUC tells sad from happy stories by
    log p(story | topic, sad) - log p(story | topic, happy): a liking for one ending earns nothing there.
    """
    wins = (margins > 0) + (margins == 0) / 2
    towards_sad = np.where(sad, margins, -margins)
    return {
        "preference": topics.share(wins),
        "preference, happy stories": topics.share(wins, ~sad),
        "preference, sad stories": topics.share(wins, sad),
        "preference margin": topics.mean(margins),
        "preference AUC": topics.estimate(lambda weight: auc(towards_sad, sad, weight)),
    }


def accuracy(topics: Topics, verdicts: np.ndarray, endings: np.ndarray) -> dict[str, Estimate]:
    """How often a judge is right on true stories, under the names of the figures that rest on it; both (N,)
    str.

    True stories come one a topic, not in pairs: "pairs that split as asked" is the product of both shares,
    the chance that the judge is right on a happy and on a sad one.
    """
    right, sad = verdicts == endings, endings == "sad"
    fewest = min(topics.count(sad), topics.count(~sad))

    def of_both(weight: np.ndarray) -> tuple[float, float]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (right & ~sad) @ weight / (~sad @ weight), (right & sad) @ weight / (sad @ weight)

    return {
        "adherence, happy": topics.share(right, ~sad),
        "adherence, sad": topics.share(right, sad),
        "adherence, balanced": rule_of_three(topics.estimate(lambda w: sum(of_both(w)) / 2), fewest),
        "pairs that split as asked": rule_of_three(topics.estimate(lambda w: math.prod(of_both(w))), fewest),
    }


def adherence(topics: Topics, verdicts: np.ndarray) -> dict[str, Estimate]:
    """Whether told stories end as asked.

    `verdicts` (N, 2) str: how a pair was judged, told about one topic from one seed, the first story asked
    to end happily and the second sadly. A pair splits as asked if both are right; `balanced` is the mean of
    both endings.
    """
    happy, sad = verdicts[:, 0] == "happy", verdicts[:, 1] == "sad"
    return {
        "adherence, happy": topics.share(happy),
        "adherence, sad": topics.share(sad),
        "adherence, balanced": topics.share((happy + sad.astype(int)) / 2),
        "pairs that split as asked": topics.share(happy & sad),
    }
