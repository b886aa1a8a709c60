"""Figures whose value is known beforehand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.metrics import Estimate, Topics, accuracy, adherence, auc, perplexity, preference

SAD = np.array([False, True] * 20)  # of 40 true stories
TOPICS = Topics([f"topic {i}" for i in range(40)], seed=0)


def values(figures: dict[str, Estimate]) -> dict[str, float]:
    return {name: figure.value for name, figure in figures.items()}


def test_preference_of_one_who_is_always_right() -> None:
    found = preference(TOPICS, np.where(SAD, 2.0, 4.0), SAD)
    assert values(found) == {
        "preference": 1,
        "preference, happy stories": 1,
        "preference, sad stories": 1,
        "preference margin": 3,
        "preference AUC": 1,
    }
    assert found["preference"] == (1, pytest.approx(1 - 3 / 40), 1)
    assert found["preference margin"].low < 3 < found["preference margin"].high


def test_preference_of_one_who_always_prefers_happy_endings() -> None:
    found = values(preference(TOPICS, np.where(SAD, -5.0, 5.0), SAD))
    assert found["preference"] == found["preference AUC"] == 0.5
    assert (found["preference, happy stories"], found["preference, sad stories"]) == (1, 0)
    assert found["preference margin"] == 0


def test_preference_of_one_who_ignores_the_ending() -> None:
    found = preference(TOPICS, np.zeros(40), SAD)
    assert set(values(found).values()) == {0.5, 0.0}
    assert found["preference"] == (0.5, 0.5, 0.5)


def test_a_bias_costs_preference_but_no_auc() -> None:
    """Tells the endings apart by 2 nats and likes happy ones by 3."""
    found = values(preference(TOPICS, np.where(SAD, 1.0 - 3.0, 1.0 + 3.0), SAD))
    assert (found["preference"], found["preference AUC"]) == (0.5, 1)


def test_a_mirrored_model_has_mirrored_figures() -> None:
    margins = np.random.default_rng(1).normal(0.4, 1, 40)
    one, other = (preference(TOPICS, sign * margins, SAD) for sign in (1, -1))
    for name in one:
        mirror = 0 if name == "preference margin" else 1
        assert other[name].value == pytest.approx(mirror - one[name].value)
        assert other[name].low == pytest.approx(mirror - one[name].high)


@pytest.mark.parametrize(
    ("judged_sad", "happy", "sad", "balanced", "pairs"),
    [
        ([[False, True]] * 40, 1, 1, 1, 1),  # perfect
        ([[False, False]] * 40, 1, 0, 0.5, 0),  # always happy
        ([[True, True]] * 40, 0, 1, 0.5, 0),  # always sad
        ([[False, False], [True, True]] * 20, 0.5, 0.5, 0.5, 0),  # by the topic, whatever is asked
        ([[True, False]] * 40, 0, 0, 0, 0),  # the mirror of the perfect one
        ([[False, True], [True, True], [False, False], [False, True]] * 10, 0.75, 0.75, 0.75, 0.5),
    ],
)
def test_adherence(judged_sad: list, happy: float, sad: float, balanced: float, pairs: float) -> None:
    found = values(adherence(TOPICS, np.where(judged_sad, "sad", "happy")))
    assert list(found.values()) == [happy, sad, balanced, pairs]


def test_stories_that_say_nothing_end_neither_way() -> None:
    assert list(values(adherence(TOPICS, np.full((40, 2), "neither"))).values()) == [0, 0, 0, 0]


def test_a_judges_accuracy_weighs_endings_alike() -> None:
    sad = np.array([False] * 30 + [True] * 10)
    judged = np.array([False] * 27 + [True] * 3 + [True] * 5 + [False] * 5)
    found = accuracy(TOPICS, np.where(judged, "sad", "happy"), np.where(sad, "sad", "happy"))
    assert list(values(found).values()) == pytest.approx([0.9, 0.5, 0.7, 0.45])
    assert found["adherence, balanced"].low < 0.7 < found["adherence, balanced"].high
    perfect = accuracy(TOPICS, np.where(sad, "sad", "happy"), np.where(sad, "sad", "happy"))
    assert perfect["adherence, balanced"] == perfect["adherence, sad"] == (1, pytest.approx(0.7), 1)


def test_auc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        positive = rng.random(60) < 0.3
        positive[:2] = True, False
        scores = rng.integers(0, 12, 60) + positive * rng.integers(0, 5)  # with ties
        weight = rng.integers(0, 4, 60) + 0.0
        weight[:2] = 1
        expected = roc_auc_score(positive, scores, sample_weight=weight)
        assert auc(scores, positive, weight) == pytest.approx(expected)
    assert math.isnan(auc(np.arange(3), np.ones(3, bool), np.ones(3)))


def test_intervals_are_the_binomials_where_topics_are_single() -> None:
    topics = Topics([str(i) for i in range(400)], seed=3)
    value, low, high = topics.mean(np.arange(400) < 100)
    spread = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert value == 0.25
    assert (low, high) == (pytest.approx(0.25 - spread, abs=0.006), pytest.approx(0.25 + spread, abs=0.006))


def test_what_is_alike_within_topics_is_counted_as_topics_not_as_rows() -> None:
    """Forty rows about four topics, alike in each, say no more than four."""
    of_rows = [str(i % 4) for i in range(40)]
    _, low, high = Topics(of_rows, seed=0).mean([i % 4 == 0 for i in range(40)])
    assert (low, high) == (0, 0.75)


def test_a_share_without_spread_is_as_wide_as_the_rule_of_three_says() -> None:
    topics = Topics([str(i // 2) for i in range(120)], seed=0)
    assert topics.share(np.ones(120)) == (1, pytest.approx(1 - 3 / 60), 1)
    assert topics.share(np.zeros(120)) == (0, 0, pytest.approx(3 / 60))
    assert topics.share(np.ones(120), np.arange(120) < 20) == (1, pytest.approx(1 - 3 / 10), 1)
    assert topics.share(np.ones(120), np.arange(120) < 2) == (1, 0, 1)
    assert topics.share(np.arange(120) < 60) == topics.mean(np.arange(120) < 60)


def test_a_mean_over_tokens_weighs_by_tokens() -> None:
    loss = TOPICS.ratio([2.0, 6.0] * 20, [1, 3] * 20)
    assert loss == (2, 2, 2)
    assert perplexity(loss).value == pytest.approx(math.e**2)
    assert TOPICS.ratio([1.0, 6.0] * 20, [1, 3] * 20).value == 7 / 4


def test_nothing_to_measure_is_nan_and_one_topic_is_an_error() -> None:
    assert all(math.isnan(x) for x in TOPICS.mean(np.ones(40), np.zeros(40, bool)))
    assert all(math.isnan(x) for x in preference(TOPICS, np.ones(40), np.zeros(40, bool))["preference AUC"])
    with pytest.raises(ValueError, match="1 topic to measure on"):
        Topics(["a dog", "a dog"], seed=0)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(5)
    names, rows = [str(i) for i in range(30)], rng.random(30)
    one, same, other = (Topics(names, seed).mean(rows) for seed in (0, 0, 1))
    assert one == same != other
