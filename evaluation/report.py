"""What `evaluate.py` measured, to read: tables, evaluation.json, report.md, two pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from common.endings import either
from common.errors import InputError, one_line, only_shown
from common.files import write_text
from common.markdown import aligned_table, table
from evaluation.judges import WORDS
from evaluation.likelihood import OVER_BASE, PLAIN_LOSS
from evaluation.metrics import Estimate, all_as_asked
from evaluation.pictures import column_names, draw_endings, draw_strengths
from evaluation.requests import HELD_OUT

WRITTEN = ("evaluation.json", "report.md", "endings.png", "strength.png")
WHOLE = {"settings", "data", "endings", "examples", "unseen", "topics", "plain", "judges", "true stories"}
WHOLE |= {"checkpoints"}  # what evaluation.json holds at least
SIDE_BY_SIDE = 5  # topics whose stories are shown
STYLES = {  # of figures that are no shares
    "loss": ".4f",
    "loss, story alone": ".4f",
    "perplexity": ".3f",  # and all whose name begins so
    PLAIN_LOSS: ".4f",
    OVER_BASE: "+.4f",
    "preference margin": ".2f",
    "kappa": ".2f",
    "preference AUC": ".4f",
    "words": ".0f",
    "longest copied run, words": ".1f",
}
LOSSES = ("loss", "loss, story alone", PLAIN_LOSS, OVER_BASE)
UNITS = dict.fromkeys(LOSSES, "nats a token") | {"preference margin": "nats a story"}


def with_interval(estimate: Estimate | None, name: str = "") -> str:
    """A figure with its interval, as 98.5% [97.0, 99.5] or in the style of its name."""
    if estimate is None:
        return ""
    if math.isnan(estimate.value):
        return "not measured"
    style = STYLES.get("perplexity" if name.startswith("perplexity") else name, ".1%")
    value, low, high = (format(x, style) for x in estimate)
    if math.isnan(estimate.low):
        return value
    return f"{value} [{low.rstrip('%')}, {high.rstrip('%')}]"


def row_name(name: str, endings: int) -> str:
    """A figure's name with its unit and, of preference among more than two endings, its chance."""
    units = UNITS | ({"preference": f"{1 / endings:.1%} by chance"} if endings > 2 else {})
    return f"{name}, {units[name]}" if name in units else name


def metrics_table(evaluation: Mapping[str, Any]) -> str:
    """The figures as a Markdown table: a row each, a column for every checkpoint, and one for true stories,
    where the judge's accuracy on them stands beside what rests on it."""
    truth = evaluation["judges"][WORDS] | evaluation["true stories"]
    checkpoints = evaluation["checkpoints"]
    head, rows = ["", "true stories", *column_names(evaluation)], []
    for name in checkpoints[-1]["metrics"]:  # the first has none beside its own
        figures = [truth.get(name), *(checkpoint["metrics"].get(name) for checkpoint in checkpoints)]
        rows.append(
            [row_name(name, len(evaluation["endings"])), *(with_interval(figure, name) for figure in figures)]
        )
    return aligned_table(head, rows)


def raters_table(evaluation: Mapping[str, Any]) -> str:
    """The share of stories about held-out topics that end as asked by the word of each judge and each person,
    and of how many, beside what judges are worth on true ones."""
    head = ["by", "true stories", *column_names(evaluation)]
    rows = [
        [
            rater["rater"],
            with_interval(evaluation["judges"].get(rater["rater"], {}).get("adherence, balanced")),
            *(f"{with_interval(each['share'])} of {each['stories']:,}" for each in rater["as asked"]),
        ]
        for rater in evaluation["raters"]
    ]
    return aligned_table(head, rows)


def agreement_table(evaluation: Mapping[str, Any]) -> str:
    """How far each two raters agree."""
    rows = [
        [
            " and ".join(pair["raters"]),
            f"{pair['stories']:,}",
            with_interval(pair["agreement"]),
            with_interval(pair["kappa"], "kappa"),
        ]
        for pair in evaluation["agreement"]
    ]
    return aligned_table(["raters", "stories", "agreement", "Cohen's kappa"], rows)


def read(folder: Path) -> dict[str, Any]:
    """The evaluation in a folder that `write` filled. Raises InputError if there is none."""

    def estimate(item: dict[str, Any]) -> Any:
        if item.keys() != {*Estimate._fields}:
            return item
        return Estimate(**{key: math.nan if value is None else value for key, value in item.items()})

    file = folder / "evaluation.json"
    try:
        evaluation = json.loads(file.read_text("utf-8"), object_hook=estimate)
    except (OSError, ValueError) as error:
        raise InputError(f"--label {folder}: no report of evaluate.py ({one_line(error)})") from error
    if not isinstance(evaluation, dict) or not evaluation.keys() >= WHOLE:
        raise InputError(f"--label {folder}: is of an older evaluate.py, or of another program; measure anew")
    return evaluation


def write(evaluation: Mapping[str, Any], folder: Path) -> None:
    """Fill a folder: evaluation.json, report.md and its pictures."""
    write_text(folder / "evaluation.json", json.dumps(_to_json(evaluation), indent=2) + "\n")
    write_text(folder / "report.md", _markdown(evaluation))
    import matplotlib

    with only_shown("pictures of the report"), matplotlib.rc_context({"text.parse_math": False}):
        draw_endings(evaluation, folder / "endings.png")
        if evaluation["checkpoints"][0]["strengths"][1:]:
            draw_strengths(evaluation, folder / "strength.png")


def _to_json(value: Any) -> Any:
    """For JSON: an estimate with its names, what is not finite as null."""
    if isinstance(value, Estimate):
        return _to_json(value._asdict())
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(evaluation: Mapping[str, Any]) -> str:
    settings, judge, endings = evaluation["settings"], evaluation["judges"][WORDS], evaluation["endings"]
    agrees = [f"{with_interval(judge[f'adherence, {ending}'])} of the {ending}" for ending in endings]
    measured = list(zip(column_names(evaluation), evaluation["checkpoints"], strict=True))
    plain, other = evaluation["plain"], settings["fluency_by"]
    fluency = ""
    if other:
        fluency = (
            f" The perplexity of told stories is by `{_escaped(other)}`, and low if they are what it expects."
        )
    limits = sorted({checkpoint["max_tokens"] for _, checkpoint in measured})
    parts = [
        "# Does the ending follow the instruction?",
        f"Loss and preference are of all {evaluation['examples']:,} validation examples of "
        f"`{Path(evaluation['data']['name']).name}`; {evaluation['unseen']:,} of them are about topics that "
        f"the train split has none of. Stories were told about {evaluation['topics']} of these topics, "
        f"{settings['num_stories']} for each ending: temperature {settings['temperature']:g}, top-k "
        f"{settings['top_k']}, top-p {settings['top_p']:g}, seed {settings['seed']}, at most "
        f"{' or '.join(map(str, limits))} tokens. One that was cut off there is judged by what it has.",
        "Preference, elsewhere forced-choice accuracy (BLiMP's minimal pairs, Story Cloze), is the share "
        "of true stories that are likelier under their own ending than under "
        f"{'the other' if len(endings) == 2 else 'every other'}: {1 / len(endings):.1%} by chance.",
        "Adherence, elsewhere control or attribute accuracy (PPLM, GeDi, DExperts), is the share of told "
        "stories that end as asked, by the word of a classifier made from the training stories. On true "
        f"stories about such topics it agrees with the label of {either(agrees, 'and')} ones; its accuracy "
        "stands in the column of true stories beside every figure that rests on it. Stories about a topic, "
        f"told with the same random numbers, are {all_as_asked(endings)} if each is judged right. Contrary "
        "topics pull towards another ending than is asked for, as a birthday party that ends sadly; long "
        "ones are two sentences; neither are of the data (`evaluation/hard_topics.toml`).",
        f"Plain stories are {plain['stories']:,} of {_escaped(plain['name'])}, behind no prompt; the base is "
        "the first column. On stories of the kind that it was pre-trained on, more loss than the base's is "
        "what fine-tuning made a model forget; on those of the data, it is that less what it learned of "
        f"them. Copied are runs of words that stand in a training story.{fluency}",
        metrics_table(evaluation),
        "In brackets: 95% bootstrap intervals over topics; of shares of 0 or 100%, by the rule of three.",
        "![Endings as asked](endings.png)",
        "## Who says how a story ends",
        "The share of the stories about held-out topics that end as asked, a mean over the endings, of those "
        "that a judge or a person (`evaluate.py --label`) knows the end of; of true stories, the share whose "
        "label a judge tells. "
        "`words` is the classifier above. `valence` shares neither features nor stories with it: a "
        "classifier of how pleasant people found the last words (VADER), made from held-out stories of other "
        "topics. `grammar`, of the sample corpus alone, knows its sentences.",
        raters_table(evaluation),
        "How far each two agree on the stories, of all kinds of topics and all columns, that both know the "
        "end of. Kappa is 1 if always, 0 if as often as by chance (Cohen 1960).",
        agreement_table(evaluation),
    ]
    if measured[0][1]["strengths"][1:]:
        parts += [
            "## Ending strength",
            "How the endings follow the instruction, and how likely the drawn topics' true stories are, when "
            "logits are pushed away from those under the other endings (classifier-free guidance: Sanchez et "
            "al. 2024); 1 is plain.",
            "![Adherence and perplexity against strength](strength.png)",
        ]
        for label, checkpoint in measured:
            points = checkpoint["strengths"]
            names = [name for name in points[0] if name != "strength"]
            rows = [[f"{p['strength']:g}", *(with_interval(p[name], name) for name in names)] for p in points]
            rows.append(["true stories", *(with_interval(judge.get(name)) for name in names)])
            parts += [f"`{label}`:", aligned_table(["strength", *names], rows)]
    parts.append("## Stories, side by side")
    for label, checkpoint in measured:
        parts += [f"### {_escaped(label)}", *_side_by_side(checkpoint["stories"], endings)]
    return "\n\n".join(parts) + "\n"


def _side_by_side(stories: Sequence[Mapping[str, Any]], endings: Sequence[str]) -> list[str]:
    """A table for each of a few topics: what was told when each ending was asked for."""
    shown: dict[str, dict[str, Mapping[str, Any]]] = {}
    for story in stories:
        if story["topics"] == HELD_OUT:
            shown.setdefault(story["topic"], {}).setdefault(story["ending"], story)
    tables = []
    for topic, told in list(shown.items())[:SIDE_BY_SIDE]:
        head = [
            f"{ending}, judged {told[ending]['judged'][WORDS]}"
            f"{'' if told[ending]['complete'] else ', cut off'}"
            for ending in endings
        ]
        texts = [_escaped(told[ending]["text"]) for ending in endings]
        tables += [f"**{_escaped(topic)}**", table(head, [texts])]
    return tables


def _escaped(text: str) -> str:
    """What a model or a data set says, as plain text in a cell."""
    shown = escape(text.strip(), quote=False)
    for sign in r"\`*_[]|":
        shown = shown.replace(sign, f"\\{sign}")
    return "<br>".join(shown.splitlines())
