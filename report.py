"""What `evaluate.py` measured, to read: a table, evaluation.json, report.md, two pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cards
from dataset import ENDINGS
from metrics import Estimate

SIDE_BY_SIDE = 5  # topics whose stories are shown
STYLES = {  # of figures that are no shares
    "loss": ".4f",
    "loss, story alone": ".4f",
    "perplexity": ".3f",
    "perplexity, story alone": ".3f",
    "perplexity, happy stories": ".3f",
    "perplexity, sad stories": ".3f",
    "preference margin": ".2f",
    "preference AUC": ".4f",
    "words": ".0f",
    "longest copied run, words": ".1f",
}
UNITS = {"loss": "nats a token", "loss, story alone": "nats a token", "preference margin": "nats a story"}


def cell(estimate: Estimate | None, name: str) -> str:
    """A figure with its interval, as 98.5% [97.0, 99.5]."""
    if estimate is None or math.isnan(estimate.value):
        return ""
    style = STYLES.get(name, ".1%")
    value, low, high = (format(x, style) for x in estimate)
    return f"{value} [{low.rstrip('%')}, {high.rstrip('%')}]"


def label(name: str) -> str:
    """A checkpoint's name, short enough to head a column."""
    return "/".join(Path(name).parts[-2:])


def table(evaluation: Mapping[str, Any]) -> str:
    """The figures as a Markdown table: a row each, a column for true stories and for every checkpoint."""
    truth, checkpoints = evaluation["true stories"], evaluation["checkpoints"]
    rows = [["", "true stories", *(label(checkpoint["name"]) for checkpoint in checkpoints)]]
    for name in checkpoints[0]["metrics"]:
        figures = [truth.get(name), *(checkpoint["metrics"][name] for checkpoint in checkpoints)]
        unit = f", {UNITS[name]}" if name in UNITS else ""
        rows.append([name + unit, *(cell(figure, name) for figure in figures)])
    return aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    return cards.table(head, body)


def write(evaluation: Mapping[str, Any], folder: Path) -> None:
    """Fill a folder: evaluation.json, report.md and its pictures."""
    (folder / "evaluation.json").write_text(json.dumps(_plain(evaluation), indent=2) + "\n")
    draw_endings(
        {label(checkpoint["name"]): checkpoint["metrics"] for checkpoint in evaluation["checkpoints"]},
        folder / "endings.png",
    )
    several = len(evaluation["settings"]["ending_strength"]) > 1
    if several:
        draw_strengths(evaluation["checkpoints"], folder / "strength.png")
    (folder / "report.md").write_text(_markdown(evaluation, several))


def _plain(value: Any) -> Any:
    """For JSON: an estimate with its names, what is not finite as null."""
    if isinstance(value, Estimate):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(evaluation: Mapping[str, Any], several: bool) -> str:
    settings, truth = evaluation["settings"], evaluation["true stories"]
    parts = [
        "# Does the ending follow the instruction?",
        f"{evaluation['examples']:,} held-out examples of `{Path(evaluation['data']['name']).name}`. Stories "
        f"were told about {evaluation['topics']} of their topics, {settings['num_stories']} for each ending: "
        f"temperature {settings['temperature']:g}, top-k {settings['top_k']}, top-p {settings['top_p']:g}, "
        f"ending strength {settings['ending_strength'][0]:g}, seed {settings['seed']}.",
        "How they end is the word of a classifier made from training stories about other topics. Of true "
        f"held-out stories it knows {cell(truth['adherence, happy'], '')} of the happy and "
        f"{cell(truth['adherence, sad'], '')} of the sad ones; this accuracy stands in the column of true "
        "stories beside every figure that rests on it. A topic's pair of stories, told with the same random "
        "numbers, splits as asked if both are judged right.",
        table(evaluation),
        "In brackets: 95% bootstrap intervals over topics. A share that is 0 or 100% in every topic has no "
        f"spread to resample; it may still be off by {3 / evaluation['topics']:.1%} (the rule of three).",
        "![Endings as asked](endings.png)",
    ]
    if several:
        parts += [
            "## Ending strength",
            "How the endings follow the instruction, and how likely the drawn topics' true stories are, when "
            "logits are pushed away from those under the other ending; 1 is plain.",
            "![Adherence and perplexity against strength](strength.png)",
        ]
        for checkpoint in evaluation["checkpoints"]:
            points = checkpoint["strengths"]
            names = [name for name in points[0] if name != "strength"]
            rows = [["strength", *names]]
            rows += [[f"{p['strength']:g}", *(cell(p[name], name) for name in names)] for p in points]
            parts += [f"`{label(checkpoint['name'])}`:", aligned(rows)]
    parts.append("## Stories, side by side")
    for checkpoint in evaluation["checkpoints"]:
        parts += [f"### {_text(label(checkpoint['name']))}", *_side_by_side(checkpoint["stories"])]
    return "\n\n".join(parts) + "\n"


def _side_by_side(stories: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table for each of a few topics: what was told when each ending was asked for."""
    shown: dict[str, dict[str, Mapping[str, Any]]] = {}
    for story in stories:
        shown.setdefault(story["topic"], {}).setdefault(story["ending"], story)
    tables = []
    for topic, told in list(shown.items())[:SIDE_BY_SIDE]:
        head = [f"{ending}, judged {told[ending]['judged']}" for ending in ENDINGS]
        texts = [_text(told[ending]["text"]) for ending in ENDINGS]
        tables += [f"**{_text(topic)}**", cards.table(head, [texts])]
    return tables


def _text(text: str) -> str:
    """What a model or a data set says, as plain text in a cell."""
    shown = escape(text.strip(), quote=False)
    for sign in r"\`*_[]|":
        shown = shown.replace(sign, f"\\{sign}")
    return "<br>".join(shown.splitlines())


def draw_endings(columns: Mapping[str, Mapping[str, Estimate]], picture: Path) -> None:
    """Adherence and preference of each column, with intervals, as a PNG."""
    plt = pyplot()
    names = {
        "adherence, happy": "tab:orange",
        "adherence, sad": "tab:blue",
        "preference": "tab:gray",
    }
    figure, axes = plt.subplots(figsize=(max(5, 2 + 1.6 * len(columns)), 4), layout="constrained")
    for number, (name, color) in enumerate(names.items()):
        for place, metrics in enumerate(columns.values()):
            value, low, high = metrics[name]
            at = place + 0.26 * (number - 1)
            axes.bar(at, value, 0.24, color=color, alpha=0.75, label=name if place == 0 else None)
            axes.plot([at, at], [low, high], color="black", linewidth=1.5)
    axes.set(ylim=(0, 1.02), ylabel="share", xticks=range(len(columns)))
    axes.set_xticklabels(list(columns))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(names))
    figure.savefig(picture, dpi=120, format="png")
    plt.close(figure)


def draw_strengths(checkpoints: Sequence[Mapping[str, Any]], picture: Path) -> None:
    """Adherence and perplexity against ending strength, a line a checkpoint, as a PNG."""
    plt = pyplot()
    names = ("adherence, happy", "adherence, sad", "perplexity")
    figure, panels = plt.subplots(1, len(names), figsize=(11, 3.6), layout="constrained")
    for name, axes in zip(names, panels, strict=True):
        for checkpoint in checkpoints:
            points = sorted(checkpoint["strengths"], key=lambda point: point["strength"])
            at = [point["strength"] for point in points]
            value, low, high = zip(*(point[name] for point in points), strict=True)
            axes.plot(at, value, "o-", label=label(checkpoint["name"]))
            axes.fill_between(at, low, high, alpha=0.15)
        axes.set(title=name, xlabel="ending strength")
        axes.grid(alpha=0.3)
        if name != "perplexity":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(checkpoints))
    figure.savefig(picture, dpi=120, format="png")
    plt.close(figure)


def pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
