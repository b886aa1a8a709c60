from collections import Counter

import pytest

from common.endings import ENDINGS
from evaluation.requests import CONTRARY, HELD_OUT, LONG, draw_requests, hard_topics
from samples.story_grammar import sentences

TOPICS = [f"topic {i}" for i in range(30)]


def test_fifty_topics_pull_the_other_way_and_fifty_are_two_sentences() -> None:
    hard = hard_topics(ENDINGS)
    assert Counter(asked for _, asked in hard[CONTRARY]) == {("happy",): 25, ("sad",): 25}
    assert len({topic for kind in hard.values() for topic, _ in kind}) == 100
    asked = dict(hard[CONTRARY])
    assert (asked["a birthday party"], asked["a broken arm"]) == (("sad",), ("happy",))
    for topic, endings in hard[LONG]:
        assert len(sentences(topic)) == 2, topic
        assert endings == ENDINGS


def test_stories_about_a_topic_differ_in_the_ending_alone() -> None:
    requests = draw_requests(TOPICS, ENDINGS, num_topics=10, num_hard=5, num_stories=3, seed=0)
    assert {kind: len(these) for kind, these in requests.items()} == {HELD_OUT: 60, CONTRARY: 15, LONG: 30}
    asked = Counter(request.ending for request in requests[CONTRARY])
    assert {*asked.values()} == {3 * 3, 3 * 2}  # five topics, from both sides by turns
    for kind in (HELD_OUT, LONG):
        for happy, sad in zip(requests[kind][::2], requests[kind][1::2], strict=True):
            assert (happy.ending, sad.ending) == ENDINGS
            assert happy._replace(ending="sad") == sad
    every = [request for these in requests.values() for request in these]
    assert len({request.seed for request in every}) == 30 + 15 + 15


def test_the_seed_decides_and_there_are_as_many_as_there_are() -> None:
    one = draw_requests(TOPICS, ENDINGS, 10, 5, 2, seed=0)
    assert draw_requests(TOPICS, ENDINGS, 10, 5, 2, seed=0) == one
    assert draw_requests(TOPICS, ENDINGS, 10, 5, 2, seed=1) != one
    every = draw_requests(TOPICS, ENDINGS, 1000, 1000, 1, seed=0)
    assert [len(these) for these in every.values()] == [60, 50, 100]
    assert draw_requests(TOPICS, ENDINGS, 10, 0, 1, seed=0).keys() == {HELD_OUT}


@pytest.mark.parametrize("endings", [("funny", "happy"), ("dark", "light")])
def test_topics_pull_the_other_way_only_between_happy_and_sad(endings: tuple[str, str]) -> None:
    assert draw_requests(TOPICS, endings, 10, 5, 1, seed=0).keys() == {HELD_OUT, LONG}
    three = draw_requests(TOPICS, ("funny", *ENDINGS), 10, 50, 1, seed=0)[CONTRARY]
    assert {request.ending for request in three} == {*ENDINGS}
