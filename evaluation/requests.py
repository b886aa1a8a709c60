"""Which stories are told: about held-out topics of the data, and about harder ones, of hard_topics.toml.

Contrary topics pull towards another ending than is asked for; long ones are two sentences.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from common.seeds import derived_seed
from inference.stories import Request

Asked: TypeAlias = tuple[str, tuple[str, ...]]  # a topic, and the endings that stories about it are asked for
HELD_OUT, CONTRARY, LONG = ("held out", "contrary topics", "long topics")


def hard_topics(endings: Sequence[str]) -> dict[str, list[Asked]]:
    """Those of each kind that the data's endings allow; contrary ones by turns for the one and the other."""
    of = tomllib.loads((Path(__file__).parent / "hard_topics.toml").read_text("utf-8"))
    both = {"happy", "sad"} <= {*endings}
    contrary: list[Asked] = [
        asked
        for happy, sad in zip(of["happy"], of["sad"], strict=True)
        for asked in ((happy, ("sad",)), (sad, ("happy",)))
    ]
    return {CONTRARY: contrary if both else [], LONG: [(topic, tuple(endings)) for topic in of["long"]]}


def draw_requests(
    topics: Sequence[str], endings: Sequence[str], num_topics: int, num_hard: int, num_stories: int, seed: int
) -> dict[str, list[Request]]:
    """By the kind of topics, so many of each or as many as there are, and so many stories for each topic and
    ending. Those about a topic that differ in the ending alone stand together and have the same seed."""
    asked: dict[str, list[Asked]] = {HELD_OUT: [(topic, tuple(endings)) for topic in topics]}
    asked |= hard_topics(endings)
    requests = {}
    for kind, choice in asked.items():
        most, purpose = (num_topics, "story") if kind == HELD_OUT else (num_hard, kind)
        sides = 2 if kind == CONTRARY else 1  # as many of each
        drawn = np.random.default_rng(seed).permutation(len(choice) // sides)
        numbers = [int(number) * sides + side for number in drawn for side in range(sides)]
        requests[kind] = [
            Request(choice[number][0], ending, derived_seed(seed, purpose, number, i))
            for number in numbers[:most]
            for i in range(num_stories)
            for ending in choice[number][1]
        ]
    return {kind: these for kind, these in requests.items() if these}
