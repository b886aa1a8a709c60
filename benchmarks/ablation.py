"""What does balancing do? The same base and steps on the raw mixture, the balanced set, and a cleaner one.

    uv run python -m benchmarks.ablation          # half an hour on two cores; goes on where it was stopped
    uv run python -m benchmarks.ablation --no-omens               # on stories that do not foretell their end

On the sample corpus, nano is fine-tuned as in the quickstart, on
  raw         all records as they come, 6.4% of them marked sad
  balanced    every sad record, as many happy ones
  labelled    the same, without records that have no Features line and may end badly unmarked
for each number of steps with several seeds. All are measured on the same held-out topics and true stories,
whose endings are known (those of `labelled`). Intervals are over topics, for these runs together; what runs
differ by stands beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import evaluate
import finetune
import prepare_data
from common.cli import parse, run, setting
from common.device import choose_compute
from common.files import whole_file
from common.json_lines import JsonLines, Line
from common.markdown import table
from common.presets import PRESETS
from dataset import load_data
from evaluate import Grammar, prepare_candidate, tell
from evaluation.held_out import HeldOut, hold_out, judge_accuracy
from evaluation.judges import WORDS
from evaluation.likelihood import score
from evaluation.metrics import Estimate, Metrics, Topics, adherence, preference
from evaluation.pictures import percent
from evaluation.report import with_interval
from evaluation.requests import HELD_OUT
from model import load_model
from preparation.raw_files import FILES
from quickstart import RECIPE
from samples import write_corpus

ARMS = {
    "raw": ["--no-balance"],
    "balanced": [],
    "labelled": ["--unlabelled", "drop"],
}
SHOWN = ("adherence, happy", "adherence, sad", "preference")


@dataclass(frozen=True)
class Settings:
    folder: str = setting("data/ablation", "for the corpus, the models and the figures")
    records: int = setting(38_000, "records in the corpus", at_least=1000)
    validation_records: int = setting(6_000, "records that topics and true stories come from", at_least=100)
    omens: bool = setting(True, "stories that foretell how they end; else their turn alone tells it")
    checkpoint: str | None = setting(
        None, "the base to fine-tune; default: assets/nano_base, which read of omens"
    )
    arms: tuple[str, ...] = setting(tuple(ARMS), "what to train on")
    steps: tuple[int, ...] = setting((75, 150, 300, 600), "optimiser steps of a run", at_least=1)
    batch_size: int = setting(8, "examples of a step", at_least=1)
    lr: float | None = setting(None, "a constant learning rate; default: the quickstart's, along a cosine")
    seeds: int = setting(3, "runs of each kind", at_least=1)
    topics: int = setting(200, "held-out topics: one happy and one sad story each", at_least=2)


class Result(NamedTuple):
    steps: int
    arm: str
    together: Metrics  # of all runs
    runs: list[Metrics]


def with_runs(result: Result, name: str) -> str:
    """A figure with its interval, and the lowest and the highest of the runs."""
    runs = [run[name].value for run in result.runs]
    return f"{with_interval(result.together[name])}, runs {min(runs):.1%} to {max(runs):.1%}"


def train(data: Path, output: Path, steps: int, seed: int, settings: Settings) -> None:
    """As the quickstart trains, but for so many steps; what is done already is not done again."""
    given = [*RECIPE, "--data", str(data), "--output", str(output), "--seed", str(seed), "--resume"]
    given += ["--batch-size", str(settings.batch_size)]
    given += ["--checkpoint", settings.checkpoint] if settings.checkpoint else []
    given += ["--lr", str(settings.lr), "--schedule", "constant"] if settings.lr else []
    finetune.main([*given, "--max-steps", str(steps), "--epochs", "1000", "--stories", "0"])


def measure(runs: Sequence[Path], held: HeldOut, settings: evaluate.Settings) -> list[Metrics]:
    """The figures of several models together, and of each."""
    compute = choose_compute("auto")
    scored, judged = [], []
    for folder in runs:
        candidate = prepare_candidate(load_model(folder / "last", compute.device), held, settings)
        scored.append(score(candidate.model, candidate.trials).story)
        told = tell(candidate, held, HELD_OUT, candidate.sampling[HELD_OUT], folder.name)
        judged.append(told.judged[WORDS].reshape(-1, len(held.endings)))
    examples = [trial.topic for trial in candidate.trials]
    asked = told.topics[:: len(held.endings)]
    own = np.array([trial.own for trial in candidate.trials])

    def figures(these: slice) -> Metrics:
        n = len(scored[these])
        topics, sets = Topics(examples * n, settings.seed), Topics(asked * n, settings.seed)
        likelier = preference(topics, np.concatenate(scored[these]), np.tile(own, n), held.endings)
        return likelier | adherence(sets, np.concatenate(judged[these]), held.endings)

    return [figures(slice(None)), *(figures(slice(i, i + 1)) for i in range(len(runs)))]


def draw(results: Sequence[Result], batch_size: int, picture: Path) -> None:
    """Each figure against the number of steps, a line an arm with its interval, a dot a run."""
    chart = Figure(figsize=(11, 3.8), layout="constrained")
    panels = chart.subplots(1, len(SHOWN), sharey=True)
    for name, axes in zip(SHOWN, panels, strict=True):
        for arm, color in zip(ARMS, ("tab:red", "tab:blue", "tab:green"), strict=True):
            mine = [result for result in results if result.arm == arm]
            if not mine:
                continue
            steps = [result.steps for result in mine]
            value, low, high = zip(*(result.together[name] for result in mine), strict=True)
            axes.plot(steps, value, color=color, label=arm)
            axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
            for result in mine:
                runs = [metrics[name].value for metrics in result.runs]
                axes.plot([result.steps] * len(runs), runs, ".", color=color)
        axes.set(title=name, xlabel=f"optimiser steps of {batch_size} examples", xscale="log", ylim=(0, 1.02))
        steps = sorted({result.steps for result in results})
        axes.set_xticks(steps, [str(step) for step in steps])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(percent)
        axes.grid(alpha=0.3)
    chart.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(ARMS))
    chart.savefig(picture, dpi=120, format="png")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    kind = f"{settings.records}-{settings.validation_records}-records{'' if settings.omens else '-no-omens'}"
    folder = Path(settings.folder) / kind
    runs_of = folder / Path(settings.checkpoint or PRESETS["nano"].base).name  # two of a name: two --folder
    corpus = folder / "corpus"
    if not (corpus / FILES["validation"]).exists():  # written last
        sizes = ["--records", str(settings.records), "--validation-records", str(settings.validation_records)]
        write_corpus.main(["--output", str(corpus), *sizes, "--omens" if settings.omens else "--no-omens"])
    for arm, how in ARMS.items():
        if not (folder / arm).exists():
            prepare_data.main(["--source", str(corpus), "--output", str(folder / arm), *how])

    options = evaluate.Settings(topics=settings.topics, ending_strength=(1.0,))
    held = hold_out(
        load_data(str(folder / "labelled"))[0],
        Grammar(),
        topics=options.topics,
        hard_topics=0,
        num_stories=1,
        seed=options.seed,
    )
    judge = judge_accuracy(held.judges[WORDS], held, options.seed)
    results = []
    with JsonLines.claimed(str(runs_of / "measured.jsonl"), f"--folder {settings.folder}") as measured:
        for steps, arm in product(sorted(settings.steps), settings.arms):
            # Along a cosine each number of steps is a run of its own; at a constant rate one goes on.
            rate = f"lr-{settings.lr:g}" if settings.lr else f"{steps}-steps"
            name = f"{arm}-{rate}-batch-{settings.batch_size}-seed"
            outputs = [runs_of / f"{name}-{seed}" for seed in range(settings.seeds)]
            what: Line = {"runs": [output.name for output in outputs], "steps": steps}
            what["topics"] = settings.topics
            line = next((line for line in measured.lines if what.items() <= line.items()), None)
            if line is None:
                for seed, output in enumerate(outputs):
                    train(folder / arm, output, steps, seed, settings)
                line = what | {"figures": measure(outputs, held, options)}
                measured.add(line)
            together, *each = (
                {name: Estimate(*figure) for name, figure in figures.items()} for figures in line["figures"]
            )
            results.append(Result(steps, arm, together, each))
    picture = runs_of / "ablation.png"
    with whole_file(picture) as file:
        draw(results, settings.batch_size, file)
    topics = len({request.topic for request in held.requests[HELD_OUT]})
    rows = [
        [str(result.steps), result.arm, *(with_runs(result, name) for name in SHOWN)] for result in results
    ]
    print(table(["steps", "trained on", *SHOWN], rows))
    print(
        f"{settings.seeds} runs each; {topics} topics; {len(held.unseen)} true "
        f"stories, of which the judge knows {with_interval(judge['adherence, happy'])} of the happy and "
        f"{with_interval(judge['adherence, sad'])} of the sad ones; picture: {picture}"
    )


if __name__ == "__main__":
    run(main)
