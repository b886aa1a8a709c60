"""What `evaluate.py` measured, to read: a table, evaluation.json, report.md, two pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from common.endings import either
from common.errors import only_shown
from common.files import write_text
from common.markdown import aligned_table, table
from evaluation.metrics import Estimate, all_as_asked

WRITTEN = ("evaluation.json", "report.md", "endings.png", "strength.png")
SIDE_BY_SIDE = 5  # topics whose stories are shown
STYLES = {  # of figures that are no shares
    "loss": ".4f",
    "loss, story alone": ".4f",
    "perplexity": ".3f",  # and all whose name begins so
    "preference margin": ".2f",
    "preference AUC": ".4f",
    "words": ".0f",
    "longest copied run, words": ".1f",
}
COLORS = [f"tab:{name}" for name in ("orange", "blue", "green", "red", "purple", "brown", "pink", "olive")]
UNITS = {"loss": "nats a token", "loss, story alone": "nats a token", "preference margin": "nats a story"}


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


def labels(evaluation: Mapping[str, Any]) -> list[str]:
    """The checkpoints' names, short enough to head a column where that leaves them different."""
    names = [checkpoint["name"] for checkpoint in evaluation["checkpoints"]]
    short = ["/".join(Path(name).parts[-2:]) for name in names]
    return short if len(set(short)) == len(set(names)) else names


def row_name(name: str, endings: int) -> str:
    """A figure's name with its unit and, of preference among more than two endings, its chance."""
    units = UNITS | ({"preference": f"{1 / endings:.1%} by chance"} if endings > 2 else {})
    return f"{name}, {units[name]}" if name in units else name


def metrics_table(evaluation: Mapping[str, Any]) -> str:
    """The figures as a Markdown table: a row each, a column for every checkpoint, and one for true stories,
    where the judge's accuracy on them stands beside what rests on it."""
    truth, checkpoints = evaluation["judge"] | evaluation["true stories"], evaluation["checkpoints"]
    head, rows = ["", "true stories", *labels(evaluation)], []
    for name in checkpoints[0]["metrics"]:
        figures = [truth.get(name), *(checkpoint["metrics"][name] for checkpoint in checkpoints)]
        rows.append(
            [row_name(name, len(evaluation["endings"])), *(with_interval(figure, name) for figure in figures)]
        )
    return aligned_table(head, rows)


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
    settings, judge, endings = evaluation["settings"], evaluation["judge"], evaluation["endings"]
    agrees = [f"{with_interval(judge[f'adherence, {ending}'])} of the {ending}" for ending in endings]
    measured = list(zip(labels(evaluation), evaluation["checkpoints"], strict=True))
    limits = sorted({checkpoint["max_tokens"] for _, checkpoint in measured})
    parts = [
        "# Does the ending follow the instruction?",
        f"Loss and preference are of all {evaluation['examples']:,} validation examples of "
        f"`{Path(evaluation['data']['name']).name}`; {evaluation['unseen']:,} of them are about topics that "
        f"the train split has none of. Stories were told about {evaluation['topics']} of these topics, "
        f"{settings['num_stories']} for each ending: temperature {settings['temperature']:g}, top-k "
        f"{settings['top_k']}, top-p {settings['top_p']:g}, seed {settings['seed']}, at most "
        f"{' or '.join(map(str, limits))} tokens. One that was cut off there is judged by what it has.",
        "Preference is the share of true stories that are likelier under their own ending than under "
        f"{'the other' if len(endings) == 2 else 'every other'}: {1 / len(endings):.1%} by chance.",
        "How the told ones end is the word of a classifier made from the training stories. On true stories "
        f"about such topics it agrees with the label of {either(agrees, 'and')} ones; its accuracy stands in "
        "the column of true stories beside every figure that rests on it. Stories about a topic, told with "
        f"the same random numbers, are {all_as_asked(endings)} if each is judged right. Copied are runs of "
        "words that stand in a training story.",
        metrics_table(evaluation),
        "In brackets: 95% bootstrap intervals over topics; of shares of 0 or 100%, by the rule of three.",
        "![Endings as asked](endings.png)",
    ]
    if measured[0][1]["strengths"][1:]:
        parts += [
            "## Ending strength",
            "How the endings follow the instruction, and how likely the drawn topics' true stories are, when "
            "logits are pushed away from those under the other endings; 1 is plain.",
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
        shown.setdefault(story["topic"], {}).setdefault(story["ending"], story)
    tables = []
    for topic, told in list(shown.items())[:SIDE_BY_SIDE]:
        head = [
            f"{ending}, judged {told[ending]['judged']}{'' if told[ending]['complete'] else ', cut off'}"
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


def draw_endings(evaluation: Mapping[str, Any], picture: Path) -> None:
    """Adherence and preference of each checkpoint, with intervals, as a PNG."""
    from matplotlib.figure import Figure

    columns, checkpoints, endings = labels(evaluation), evaluation["checkpoints"], evaluation["endings"]
    names = [*(f"adherence, {ending}" for ending in endings), "preference"]
    step = 0.78 / len(names)
    figure = Figure(figsize=(max(5, 2 + 1.6 * len(columns)), 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, color) in enumerate(zip(names, (*COLORS[: len(endings)], "tab:gray"), strict=True)):
        places = [place + step * (number - len(endings) / 2) for place in range(len(columns))]
        values = [checkpoint["metrics"][name] for checkpoint in checkpoints]
        axes.bar(places, [each.value for each in values], 0.92 * step, color=color, alpha=0.75, label=name)
        axes.vlines(places, [each.low for each in values], [each.high for each in values], color="black")
    axes.axhline(1 / len(endings), color="black", linestyle=":", label="chance")
    axes.set(ylim=(0, 1.02), ylabel="share")
    axes.set_xticks(range(len(columns)), columns)
    axes.yaxis.set_major_formatter(percent)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(names) + 1, 4))
    figure.savefig(picture, dpi=120, format="png")


def draw_strengths(evaluation: Mapping[str, Any], picture: Path) -> None:
    """Adherence and perplexity against ending strength, a line a checkpoint, as a PNG."""
    from matplotlib.figure import Figure

    panels = {f"adherence, {ending}": f"{ending} endings as asked" for ending in evaluation["endings"]}
    panels["perplexity, true stories"] = "perplexity of true stories"
    figure = Figure(figsize=(3.7 * len(panels), 3.6), layout="constrained")
    all_axes = figure.subplots(1, len(panels))
    for (name, title), axes in zip(panels.items(), all_axes, strict=True):
        for label, checkpoint in zip(labels(evaluation), evaluation["checkpoints"], strict=True):
            points = sorted(checkpoint["strengths"], key=lambda point: point["strength"])
            at = [point["strength"] for point in points]
            value, low, high = zip(*(point[name] for point in points), strict=True)
            axes.plot(at, value, "o-", label=label)
            axes.fill_between(at, low, high, alpha=0.15)
        axes.set(title=title, xlabel="ending strength")
        axes.grid(alpha=0.3)
        if name.startswith("adherence"):
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(percent)
    handles, names = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    figure.savefig(picture, dpi=120, format="png")


def percent(share: float, _: float) -> str:
    return f"{share:.0%}"
