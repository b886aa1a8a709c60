"""Figures whose value is known beforehand."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from common.endings import ENDINGS
from evaluation.metrics import (
    Estimate,
    Topics,
    accuracy,
    adherence,
    auc,
    kappa,
    perplexity,
    preference,
)

SAD = np.array([False, True] * 20)  # of 40 true stories
TOPICS = Topics([f"topic {i}" for i in range(40)], seed=0)
FOUR = ("funny", "happy", "odd", "sad")
OWN = np.arange(40) % 4  # of 40 true stories, each of FOUR alike


def two(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """What `preference` takes, for SAD's stories that are so much likelier under their own ending."""
    return np.where(np.stack([SAD, ~SAD], 1), margins[:, None], 0.0), SAD.astype(int), ENDINGS


def values(figures: dict[str, Estimate]) -> dict[str, float]:
    return {name: figure.value for name, figure in figures.items()}


def test_preference_of_one_who_is_always_right() -> None:
    found = preference(TOPICS, *two(np.where(SAD, 2.0, 4.0)))
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
    found = values(preference(TOPICS, *two(np.where(SAD, -5.0, 5.0))))
    assert found["preference"] == found["preference AUC"] == 0.5
    assert (found["preference, happy stories"], found["preference, sad stories"]) == (1, 0)
    assert found["preference margin"] == 0


def test_preference_of_one_who_ignores_the_ending() -> None:
    found = preference(TOPICS, *two(np.zeros(40)))
    assert set(values(found).values()) == {0.5, 0.0}
    assert found["preference"] == (0.5, 0.5, 0.5)


def test_a_bias_costs_preference_but_no_auc() -> None:
    """Tells the endings apart by 2 nats and likes happy ones by 3."""
    found = values(preference(TOPICS, *two(np.where(SAD, 1.0 - 3.0, 1.0 + 3.0))))
    assert (found["preference"], found["preference AUC"]) == (0.5, 1)


def test_a_mirrored_model_has_mirrored_figures() -> None:
    margins = np.random.default_rng(1).normal(0.4, 1, 40)
    one, other = (preference(TOPICS, *two(sign * margins)) for sign in (1, -1))
    for name in one:
        mirror = 0 if name == "preference margin" else 1
        assert other[name].value == pytest.approx(mirror - one[name].value)
        assert other[name].low == pytest.approx(mirror - one[name].high)


def losses_of_four(best: np.ndarray) -> np.ndarray:
    """(40, 4): one nat for the ending `best` (40,), two or more for the others."""
    losses = np.tile([2.0, 2.5, 3.0, 4.0], (40, 1))
    losses[np.arange(40), best] = 1
    return losses


def test_preference_among_four_of_one_who_is_always_right() -> None:
    found = preference(TOPICS, losses_of_four(OWN), OWN, FOUR)
    assert list(found) == [
        "preference",
        *(f"preference, {ending} stories" for ending in FOUR),
        "preference margin",
        "preference AUC",
    ]
    assert values(found) == {**dict.fromkeys(found, 1), "preference margin": (1.5 + 1 + 1 + 1) / 4}
    assert found["preference"] == (1, pytest.approx(1 - 3 / 40), 1)
    assert found["preference, odd stories"] == (1, pytest.approx(1 - 3 / 10), 1)


def test_preference_among_four_of_one_who_always_prefers_the_first() -> None:
    found = preference(TOPICS, losses_of_four(np.zeros(40, int)), OWN, FOUR)
    assert list(values(found).values()) == [0.25, 1, 0, 0, 0, (1.5 - 1.5 - 2 - 3) / 4, 0.5]
    assert found["preference"].low < 0.25 < found["preference"].high


def test_preference_among_four_of_one_who_ignores_the_ending() -> None:
    found = preference(TOPICS, np.full((40, 4), 7.0), OWN, FOUR)
    assert list(found.values()) == [(0.25, 0.25, 0.25)] * 5 + [(0, 0, 0), (0.5, 0.5, 0.5)]
    two_alike = np.tile([1.0, 1.0, 2.0, 3.0], (40, 1))
    assert list(values(preference(TOPICS, two_alike, OWN, FOUR)).values())[:5] == [0.25, 0.5, 0.5, 0, 0]


def test_preference_among_four_of_one_who_guesses() -> None:
    """Of 4,000 stories each interval holds the chance, give or take what 95% leaves out."""
    rng = np.random.default_rng(0)
    topics = Topics([str(i) for i in range(4000)], seed=0)
    found = preference(topics, rng.random((4000, 4)), np.arange(4000) % 4, FOUR)
    chances = [0.25] * 5 + [None, 0.5]
    for name, chance in zip(found, chances, strict=True):
        if chance is not None:
            assert found[name].low - 0.01 < chance < found[name].high + 0.01, name
    spread = 1.96 * math.sqrt(0.25 * 0.75 / 4000)
    assert found["preference"].high - found["preference"].low == pytest.approx(2 * spread, rel=0.1)


def test_auc_among_four_is_the_mean_over_pairs_of_endings() -> None:
    losses = np.random.default_rng(0).random((40, 4)) + np.eye(4)[(OWN + 1) % 4]
    areas = []
    for one, other in itertools.combinations(range(4), 2):
        pair = np.isin(OWN, (one, other))
        areas.append(roc_auc_score(OWN[pair] == other, (losses[:, one] - losses[:, other])[pair]))
    found = preference(TOPICS, losses, OWN, FOUR)["preference AUC"]
    assert found.value == pytest.approx(np.mean(areas))


def test_preference_among_four_of_one_who_knows_sad_from_the_rest_alone() -> None:
    sad = OWN == 3
    losses = np.zeros((40, 4))
    losses[sad, :3] = 5
    losses[~sad, 3] = 5
    found = preference(TOPICS, losses, OWN, FOUR)
    assert list(values(found).values()) == [0.5, *[pytest.approx(1 / 3)] * 3, 1, 5 / 4, (3 * 1 + 3 * 0.5) / 6]


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
    found = values(adherence(TOPICS, np.where(judged_sad, "sad", "happy"), ENDINGS))
    assert list(found.values()) == [happy, sad, balanced, pairs]


@pytest.mark.parametrize(
    ("verdicts", "of_each", "balanced", "all_right"),
    [
        ([FOUR], [1, 1, 1, 1], 1, 1),  # perfect
        ([["funny"] * 4], [1, 0, 0, 0], 0.25, 0),  # always the first
        ([[ending] * 4 for ending in FOUR], [0.25] * 4, 0.25, 0),  # by the topic, whatever is asked
        ([FOUR, ["funny", "happy", "sad", "odd"]], [1, 1, 0.5, 0.5], 0.75, 0.5),
        ([["neither"] * 4], [0, 0, 0, 0], 0, 0),
    ],
)
def test_adherence_to_four(verdicts: list, of_each: list, balanced: float, all_right: float) -> None:
    rows = np.array([verdicts[i % len(verdicts)] for i in range(40)])
    found = adherence(TOPICS, rows, FOUR)
    assert list(found) == [
        *(f"adherence, {ending}" for ending in FOUR),
        "adherence, balanced",
        "sets of 4 that end as asked",
    ]
    assert list(values(found).values()) == [*of_each, balanced, all_right]


def test_adherence_to_four_of_one_who_guesses() -> None:
    topics = Topics([str(i) for i in range(4000)], seed=0)
    found = adherence(topics, np.random.default_rng(0).choice(FOUR, (4000, 4)), FOUR)
    *of_each, balanced, all_right = found.values()
    for share in (*of_each, balanced):
        assert share.low - 0.01 < 0.25 < share.high + 0.01
    assert all_right.low <= 0.25**4 <= all_right.high


def test_stories_that_say_nothing_end_neither_way() -> None:
    assert list(values(adherence(TOPICS, np.full((40, 2), "neither"), ENDINGS)).values()) == [0, 0, 0, 0]


def test_a_judges_accuracy_weighs_endings_alike() -> None:
    sad = np.array([False] * 30 + [True] * 10)
    judged = np.array([False] * 27 + [True] * 3 + [True] * 5 + [False] * 5)
    true = np.where(sad, "sad", "happy")
    found = accuracy(TOPICS, np.where(judged, "sad", "happy"), true, ENDINGS)
    assert list(values(found).values()) == pytest.approx([0.9, 0.5, 0.7, 0.45])
    assert found["adherence, balanced"].low < 0.7 < found["adherence, balanced"].high
    perfect = accuracy(TOPICS, true, true, ENDINGS)
    assert perfect["adherence, balanced"] == perfect["adherence, sad"] == (1, pytest.approx(0.7), 1)


def test_a_share_of_endings_that_are_all_right_or_all_wrong_is_as_wide_as_theirs() -> None:
    true = np.where(SAD, "sad", "happy")
    found = accuracy(TOPICS, np.full(40, "sad"), true, ENDINGS)
    assert found["adherence, balanced"] == (
        0.5,
        pytest.approx((1 - 3 / 20) / 2),
        pytest.approx((1 + 3 / 20) / 2),
    )


def test_a_judges_accuracy_on_four_endings() -> None:
    """Of each ten stories, so many are judged right; the others are taken for the next ending."""
    right = np.arange(40) // 4 < np.array([10, 8, 5, 5])[OWN]
    true = np.array(FOUR)[OWN]
    found = accuracy(TOPICS, np.array(FOUR)[np.where(right, OWN, (OWN + 1) % 4)], true, FOUR)
    assert list(found) == list(adherence(TOPICS, np.tile(FOUR, (40, 1)), FOUR))
    assert list(values(found).values()) == pytest.approx([1, 0.8, 0.5, 0.5, 0.7, 0.2])
    always_first = accuracy(TOPICS, np.full(40, "funny"), true, FOUR)
    assert list(values(always_first).values()) == [1, 0, 0, 0, 0.25, 0]


def test_kappa_by_hand() -> None:
    """Of 40 stories both call 20 happy and 14 sad: agreement is 34 / 40. One calls 26 happy, the other 20:
    chance is (26 * 20 + 14 * 20) / 40**2 = 0.5."""
    one = ["happy"] * 20 + ["happy"] * 6 + ["sad"] * 14
    other = ["happy"] * 20 + ["sad"] * 6 + ["sad"] * 14
    found = kappa(TOPICS, one, other)
    assert found["agreement"].value == pytest.approx(34 / 40)
    assert found["kappa"].value == pytest.approx((0.85 - 0.5) / (1 - 0.5))
    assert found["kappa"].low < 0.7 < found["kappa"].high
    assert found == kappa(TOPICS, other, one)


def test_kappa_of_one_who_is_always_right_and_of_one_who_is_never() -> None:
    true = np.where(SAD, "sad", "happy").tolist()
    assert kappa(TOPICS, true, true) == {
        "agreement": (1, pytest.approx(1 - 3 / 40), 1),
        "kappa": (1, pytest.approx(1 - 3 / 20), 1),  # agreement's bound, of a chance of a half
    }
    three = Topics(["a", "b", "c"], seed=0)  # which say nothing of others
    assert kappa(three, ["sad", "sad", "happy"], ["sad", "sad", "happy"])["kappa"] == (1, -1, 1)
    never = np.where(SAD, "happy", "sad").tolist()
    assert kappa(TOPICS, true, never)["kappa"] == (-1, -1, pytest.approx(-1 + 3 / 20))


def test_kappa_of_one_who_guesses_and_of_one_who_says_one_word() -> None:
    rng = np.random.default_rng(0)
    topics = Topics([str(i) for i in range(4000)], seed=0)
    true, guessed = (rng.choice(FOUR, 4000).tolist() for _ in range(2))
    found = kappa(topics, true, guessed)
    assert found["kappa"].low < 0 < found["kappa"].high
    assert found["agreement"].low < 0.25 < found["agreement"].high
    one_word = kappa(topics, true, ["sad"] * 4000)["kappa"]
    assert one_word.value == 0
    assert math.isnan(one_word.low)
    assert all(math.isnan(x) for x in kappa(topics, ["sad"] * 4000, ["sad"] * 4000)["kappa"])


def test_kappa_is_that_of_scikit_learn_and_takes_no_notice_of_names() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one = rng.integers(0, 4, 40)
        other = np.where(rng.random(40) < 0.6, one, rng.integers(0, 4, 40))
        names = np.array(["neither", *FOUR])
        found = kappa(TOPICS, names[one].tolist(), names[other].tolist())["kappa"]
        assert found.value == pytest.approx(cohen_kappa_score(one, other))
        mirrored = kappa(TOPICS, names[3 - one].tolist(), names[3 - other].tolist())["kappa"]
        assert mirrored == pytest.approx(found)


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
    all_happy = preference(TOPICS, np.ones((40, 2)), np.zeros(40, int), ENDINGS)
    assert all(math.isnan(x) for x in all_happy["preference AUC"])
    with pytest.raises(ValueError, match="1 topic to measure on"):
        Topics(["a dog", "a dog"], seed=0)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(5)
    names, rows = [str(i) for i in range(30)], rng.random(30)
    one, same, other = (Topics(names, seed).mean(rows) for seed in (0, 0, 1))
    assert one == same != other
