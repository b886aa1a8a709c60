"""Numbers about endings, each with an interval: what `evaluate.py` reports, from arrays, without a model.

    topics = Topics(["a lost dog", "a lost dog", "a red kite"], seed=0)
    topics.mean([5, 7, 9])                    # Estimate(value=7.0, low=6.0, high=9.0)

Intervals hold 95% of bootstrap resamples over topics (Efron 1979): whole topics are drawn with replacement,
as what is told about one topic is alike. A share that is 0 or 1 in every topic has no spread to resample; its
interval is 3/n wide for n topics (the rule of three; Hanley and Lippman-Hand 1983).
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
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


def preference(
    topics: Topics, losses: np.ndarray, own: np.ndarray, endings: Sequence[str]
) -> dict[str, Estimate]:
    """Whether true stories are likelier under their own ending than under every other; no sampling, no judge.

    `losses` (N, endings) is -log p(story | topic, ending), nats, and `own` (N,) int64 the number of the
    story's. A tie for the first place counts as one in so many: a model that takes no notice of the ending
    reaches 1 / endings, and so does one that always prefers the same, on balanced stories. The margin is
    towards the likeliest other ending.

    The AUC tells the stories of one ending from those of another by log p(story | topic, one) - log p(story |
    topic, the other), where a liking for one of them earns nothing; it is a mean over all pairs of endings
    (Hand and Till 2001, "A Simple Generalisation of the Area Under the ROC Curve for Multiple Class
    Classification Problems").
    """
    rows = np.arange(len(losses))
    mine = losses[rows, own]
    others = losses.copy()
    others[rows, own] = np.inf
    best = losses.min(1, keepdims=True)
    wins = (mine == best[:, 0]) / (losses == best).sum(1)
    pairs = list(combinations(range(len(endings)), 2))

    def mean_auc(weight: np.ndarray) -> float:
        areas = [
            auc(losses[:, one] - losses[:, other], own == other, weight * ((own == one) | (own == other)))
            for one, other in pairs
        ]
        known = [area for area in areas if not math.isnan(area)]
        return sum(known) / len(known) if known else math.nan

    return {
        "preference": topics.share(wins),
        **{
            f"preference, {ending} stories": topics.share(wins, own == number)
            for number, ending in enumerate(endings)
        },
        "preference margin": topics.mean(others.min(1) - mine),
        "preference AUC": topics.estimate(mean_auc),
    }


def kappa(topics: Topics, one: Sequence[str], other: Sequence[str]) -> dict[str, Estimate]:
    """Cohen's kappa of two raters' verdicts on N stories, and their agreement; both (N,) str.

    (agreement - chance) / (1 - chance), where chance is how often they would agree if each gave its verdicts
    as often as it did, but at random: 1 is all alike, 0 no better than chance (Cohen 1960, "A Coefficient of
    Agreement for Nominal Scales"). nan where both only ever said one and the same: no chance is left to beat.
    Without an interval where one of them did.
    """
    names, codes = np.unique(np.array([one, other], dtype=object), return_inverse=True)
    codes, n = codes.reshape(2, -1), len(names)

    def chance(weight: np.ndarray) -> float:
        first, second = (np.bincount(code, weight, n) for code in codes)
        return float(first @ second / weight.sum() ** 2)

    def beyond_chance(weight: np.ndarray) -> float:
        expected = chance(weight)
        agreed = (codes[0] == codes[1]) @ weight / weight.sum()
        return (agreed - expected) / (1 - expected) if expected < 1 else math.nan

    agreement = topics.share(codes[0] == codes[1])
    figure = topics.estimate(beyond_chance)
    if min(len(np.unique(code)) for code in codes) == 1:
        figure = Estimate(figure.value, math.nan, math.nan)
    elif agreement.value in (0, 1):  # resampling knows no spread: that of the agreement, as far as kappa goes
        expected = chance(np.ones(len(codes[0])))
        figure = Estimate(*(max((x - expected) / (1 - expected), -1) for x in agreement))
    return {"agreement": agreement, "kappa": Estimate(*map(float, figure))}


def all_as_asked(endings: Sequence[str]) -> str:
    """The name of the share of topics whose stories all end as asked."""
    return "pairs that split as asked" if len(endings) == 2 else f"sets of {len(endings)} that end as asked"


def accuracy(
    topics: Topics, verdicts: np.ndarray, true: np.ndarray, endings: Sequence[str]
) -> dict[str, Estimate]:
    """How often a judge is right on true stories, under the names of the figures that rest on it, or how
    often told stories end as asked (`true`), if they were not told for every ending; both (N,) str.

    Such stories come one a topic, not one for each ending: that all of a topic end as asked is the product of
    the shares, the chance that one story of each ending does.
    """
    right = verdicts == true
    of = [true == ending for ending in endings]
    fewest = min(topics.count(these) for these in of)

    def shares(weight: np.ndarray) -> list[float]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return [(right & these) @ weight / (these @ weight) for these in of]

    each = [topics.share(right, these) for these in of]
    balanced = rule_of_three(topics.estimate(lambda weight: sum(shares(weight)) / len(of)), fewest)
    if {share.value for share in each} == {0, 1}:  # resampling knows no spread of any
        balanced = Estimate(*(sum(ends) / len(of) for ends in zip(*each, strict=True)))
    return {
        **{f"adherence, {ending}": share for ending, share in zip(endings, each, strict=True)},
        "adherence, balanced": balanced,
        all_as_asked(endings): rule_of_three(topics.estimate(lambda w: math.prod(shares(w))), fewest),
    }


def adherence(topics: Topics, verdicts: np.ndarray, endings: Sequence[str]) -> dict[str, Estimate]:
    """Whether told stories end as asked.

    `verdicts` (N, endings) str: how stories were judged that were told about one topic from one seed, each
    asked for another ending. `balanced` is the mean over the endings.
    """
    right = verdicts == np.array(endings)
    return {
        **{f"adherence, {ending}": topics.share(right[:, i]) for i, ending in enumerate(endings)},
        "adherence, balanced": topics.share(right.mean(1)),
        all_as_asked(endings): topics.share(right.all(1)),
    }
