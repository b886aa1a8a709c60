"""What every checkpoint is measured on: true stories, topics to tell stories about, and their judges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError
from common.own_stories import Example
from dataset import endings_of, read_examples
from evaluation.judges import Judge, make_judges
from evaluation.likelihood import MOST_PLAIN, read_plain_stories
from evaluation.metrics import Metrics, Topics, accuracy
from evaluation.requests import draw_requests
from inference.stories import Request

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class HeldOut:
    """What all checkpoints are measured on."""

    endings: tuple[str, ...]
    validation: list[Example]  # loss and preference are of all of them
    topics: Topics  # of `validation`
    training_stories: Sequence[str]
    unseen: list[Example]  # the validation examples about topics that training has none of
    requests: dict[str, list[Request]]  # by the kind of topics; of HELD_OUT a set for every topic and seed
    judges: dict[str, Judge]  # by name; what "words" says is the adherence
    plain: list[str]  # stories that are read without a prompt
    plain_topics: Topics  # of `plain`


def hold_out(
    data: "datasets.DatasetDict",
    grammar: Judge,
    *,
    topics: int,
    hard_topics: int,
    num_stories: int,
    seed: int,
    plain: str | None = None,
) -> HeldOut:
    """Draw topics to tell stories about, and train the judges; the rest is as in evaluate.py's settings.

    Raises InputError if data is lacking.
    """
    if hard_topics == 1:
        raise InputError("--hard-topics 1: of one topic nothing can be said; take two or more, or 0 for none")
    if not len(data.get("validation", ())):
        raise InputError("--data: holds no validation examples; make more with prepare_data.py")
    endings = endings_of(data)
    if not endings:
        raise InputError("--data: has no endings to ask for, and that is what is measured here")
    train, validation = (read_examples(data[split], endings) for split in ("train", "validation"))
    topics_of_all = Topics([example.topic for example in validation], seed)
    seen = {example.topic for example in train}
    unseen = [example for example in validation if example.topic not in seen]
    names = list(dict.fromkeys(example.topic for example in unseen))
    if len(names) < 2:
        raise InputError(
            f"--data: {len(names)} of its validation topics are not in its train split, too; two are needed"
        )
    read = validation[:MOST_PLAIN]
    if plain:
        read = [Example(f"story {i}", "", story) for i, story in enumerate(read_plain_stories(plain))]
    return HeldOut(
        endings,
        validation,
        topics_of_all,
        [example.story for example in train],
        unseen,
        draw_requests(names, endings, topics, hard_topics, num_stories, seed),
        make_judges(train, unseen, endings, grammar),
        [example.story for example in read],
        Topics([example.topic for example in read], seed),
    )


def judge_accuracy(judge: Judge, held: HeldOut, seed: int) -> Metrics:
    """How often a judge is right on true stories about topics that it has not seen."""
    topics, endings, stories = zip(*held.unseen, strict=True)
    return accuracy(Topics(topics, seed), judge.verdicts(stories, topics), np.array(endings), held.endings)
