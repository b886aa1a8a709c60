"""The pictures of a report: endings as asked, and against the ending strength."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLORS = [f"tab:{name}" for name in ("orange", "blue", "green", "red", "purple", "brown", "pink", "olive")]


def column_names(evaluation: Mapping[str, Any]) -> list[str]:
    """The checkpoints' names, short enough to head a column where that leaves them different."""
    names = [checkpoint["name"] for checkpoint in evaluation["checkpoints"]]
    short = ["/".join(Path(name).parts[-2:]) for name in names]
    return short if len(set(short)) == len(set(names)) else names


def draw_endings(evaluation: Mapping[str, Any], picture: Path) -> None:
    """Adherence and preference of each checkpoint, with intervals, as a PNG."""
    from matplotlib.figure import Figure

    columns, checkpoints, endings = column_names(evaluation), evaluation["checkpoints"], evaluation["endings"]
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
        for label, checkpoint in zip(column_names(evaluation), evaluation["checkpoints"], strict=True):
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
