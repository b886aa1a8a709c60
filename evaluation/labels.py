"""What people say of a report's stories, and whether judges and people agree.

A person's answers are kept beside the report, in labels-NAME.jsonl: a line for each, as it was given,

    {"story": "9f86d081884c7d65...", "ending": "sad"}

where `story` is the SHA-256 of a text, so that answers outlive a report that is made anew, and `ending` is an
ending, "neither" for a story whose ending is unclear, or null for an answer that was taken back.
"""

import hashlib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from common.endings import NEITHER
from common.errors import InputError
from common.json_lines import JsonLines, Line
from evaluation.judges import JUDGES
from evaluation.metrics import Estimate, Topics, accuracy, kappa
from evaluation.requests import HELD_OUT

Labels = dict[str, str]  # the hash of a text -> how a person says that it ends


def text_hash(story: str) -> str:
    return hashlib.sha256(story.encode("utf-8", "surrogatepass")).hexdigest()


def labels_file(report: Path, name: str) -> Path:
    """Raises InputError if `name` cannot be part of a file's name, or is that of a judge."""
    if not re.fullmatch(r"\w[\w-]{0,39}", name):
        raise InputError(f"--by {name}: must be a name of at most 40 letters, digits, _ and -")
    if name in JUDGES:
        raise InputError(f"--by {name}: is what a judge is called; take another name")
    return report / f"labels-{name}.jsonl"


class LabelLines(JsonLines):
    content = "answers of --label"

    def check_line(self, line: Line) -> None:
        if not isinstance(line["story"], str) or not isinstance(line["ending"], str | None):
            raise TypeError

    @property
    def labels(self) -> Labels:
        """A story's last answer counts, unless it was taken back."""
        last = {line["story"]: line["ending"] for line in self.lines}
        return {story: ending for story, ending in last.items() if ending is not None}


def read_labels(report: Path, endings: Sequence[str]) -> dict[str, Labels]:
    """Everybody's answers, by name. Raises InputError if a file holds something else."""
    found = {}
    for file in sorted(report.glob("labels-*.jsonl")):
        name = file.stem.removeprefix("labels-")
        try:
            labels_file(report, name)
        except InputError as error:
            print(f"note: {file} is left out: {error}", file=sys.stderr)
            continue
        found[name] = LabelLines(file, str(file)).labels
        if unknown := {*found[name].values()} - {*endings, NEITHER}:
            raise InputError(
                f"{file}: {min(unknown)!r} is no ending of this report; correct it or move the file"
            )
    return found


def _as_asked(
    stories: Sequence[Mapping[str, Any]], said: Sequence[str | None], endings: Sequence[str], seed: int
) -> dict[str, Any]:
    """How many of a checkpoint's stories about held-out topics a rater knows the end of, and the share of
    these that end as asked, a mean over the endings."""
    known = [
        (story["topic"], ending, story["ending"])
        for story, ending in zip(stories, said, strict=True)
        if ending is not None and story["topics"] == HELD_OUT
    ]
    share = Estimate(math.nan, math.nan, math.nan)
    if len({topic for topic, *_ in known}) > 1:
        topics, verdicts, asked = zip(*known, strict=True)
        found = accuracy(Topics(topics, seed), np.array(verdicts), np.array(asked), endings)
        share = found["adherence, balanced"]
    return {"stories": len(known), "share": share}


def with_labels(evaluation: Mapping[str, Any], people: Mapping[str, Labels]) -> dict[str, Any]:
    """The evaluation with its `raters`, the judges and the people: by the word of each, how many of every
    checkpoint's stories about held-out topics end as asked; and with the `agreement` of each two on the
    stories that both know the end of, about all topics and of all checkpoints together."""
    told = [story for checkpoint in evaluation["checkpoints"] for story in checkpoint["stories"]]
    hashes = [text_hash(story["text"]) for story in told]
    verdicts: dict[str, list[str | None]] = {
        judge: [story["judged"][judge] for story in told] for judge in evaluation["judges"]
    }
    for name, labels in people.items():
        verdicts[name] = [labels.get(each) for each in hashes]
    verdicts = {rater: said for rater, said in verdicts.items() if any(said)}

    seed, endings = evaluation["settings"]["seed"], evaluation["endings"]
    ends = np.cumsum([len(checkpoint["stories"]) for checkpoint in evaluation["checkpoints"]])
    raters = [
        {
            "rater": rater,
            "as asked": [
                _as_asked(checkpoint["stories"], said[end - len(checkpoint["stories"]) : end], endings, seed)
                for checkpoint, end in zip(evaluation["checkpoints"], ends, strict=True)
            ],
        }
        for rater, said in verdicts.items()
    ]
    agreement = []
    for one, other in combinations(verdicts, 2):
        both = [
            (story["topic"], *said)
            for story, *said in zip(told, verdicts[one], verdicts[other], strict=True)
            if None not in said
        ]
        if len({topic for topic, *_ in both}) > 1:
            topics, first, second = zip(*both, strict=True)
            agreement.append(
                {"raters": [one, other], "stories": len(both)} | kappa(Topics(topics, seed), first, second)
            )
    return {**evaluation, "raters": raters, "agreement": agreement}
