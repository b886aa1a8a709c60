"""Which learning rate, and the loss on all or on the story alone: what follows the ending soonest, and costs
the base least?

    uv run python -m benchmarks.recipe            # nano, on the sample corpus; goes on where it was stopped
    uv run python -m benchmarks.recipe --model-size 30m --data data/tinystories-instruct-balanced

The same base is fine-tuned at a constant rate, and measured on the way: the preference, on held-out stories,
and how much more loss than the base it has on plain ones. These should be of the base's kind: name some if
the data's own are not.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import finetune
import prepare_data
from common.checkpoints import locate, sha256
from common.cli import parse, run, setting
from common.device import choose_compute
from common.json_lines import JsonLines
from common.markdown import table
from common.presets import PRESETS
from dataset import endings_of, fingerprint, load_data, read_examples
from evaluation.likelihood import (
    OVER_BASE,
    ask_as_the_data,
    encode_trials,
    likelihood_metrics,
    loss_over_base,
    read_plain_stories,
    score,
    text_losses,
)
from evaluation.metrics import Estimate, Topics
from evaluation.report import row_name, with_interval
from model import load_model
from samples import write_corpus


@dataclass(frozen=True)
class Settings:
    folder: str = setting("data/recipe", "for the corpus and the models")
    model_size: str = setting("nano", "which base", choices=tuple(PRESETS))
    checkpoint: str | None = setting(None, "another base: a folder, a .pt or .safetensors file, a Hub id")
    data: str | None = setting(None, "a prepared data set; default: the quickstart's, made in the folder")
    plain: str | None = setting(
        None, "file of stories to read without a prompt, as of evaluate.py; default: the held-out ones"
    )
    lr: tuple[float, ...] = setting((5e-5, 3e-4, 5e-4, 1e-3, 3e-3), "learning rates", at_least=0)
    loss_on: tuple[str, ...] = setting(("all", "response"), "what finetune.py's --loss-on may be")
    batch_size: int = setting(8, "examples of a step", at_least=1)
    steps: tuple[int, ...] = setting((75, 150, 300, 600), "steps after which it is measured", at_least=1)
    stories: int = setting(400, "held-out stories to measure on, at most", at_least=2)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")


def sample_data(folder: Path) -> str:
    """The quickstart's data set, with more held-out stories."""
    corpus, data = folder / "corpus", folder / "data"
    if not data.exists():
        sizes = ["--records", "38000", "--validation-records", "6000"]
        write_corpus.main(["--output", str(corpus), *sizes])
        prepare_data.main(["--source", str(corpus), "--output", str(data), "--unlabelled", "drop"])
    return str(data)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    folder = Path(settings.folder)
    name = settings.data or sample_data(folder)
    data, _ = load_data(name)
    endings = endings_of(data)
    examples = read_examples(data["validation"], endings)[: settings.stories]
    topics = Topics([example.topic for example in examples], 0)
    plain = read_plain_stories(settings.plain) if settings.plain else [each.story for each in examples]
    plain_topics = Topics([str(i) for i in range(len(plain))], 0)
    base = settings.checkpoint or PRESETS[settings.model_size].base
    compute = choose_compute(settings.device)
    before = text_losses(load_model(locate(base), compute.device), plain)

    steps = sorted(settings.steps)
    head = [*(f"preference after {count}" for count in steps), row_name(OVER_BASE, len(endings))]
    measured_on = {"data": fingerprint(data["validation"]), "stories": len(examples), "plain": settings.plain}
    measured_on |= {"base": sha256(locate(base))}
    rows = []
    with JsonLines.claimed(str(folder / "measured.jsonl"), f"--folder {folder}") as measured:
        for lr, loss_on in product(settings.lr, settings.loss_on):
            output = folder / f"{Path(base).name}-lr-{lr:g}-{loss_on}-batch-{settings.batch_size}"
            given = ["--model-size", settings.model_size, "--checkpoint", base, "--data", name]
            given += ["--output", str(output), "--resume", "--stories", "0", "--device", settings.device]
            given += ["--lr", str(lr), "--loss-on", loss_on, "--batch-size", str(settings.batch_size)]
            given += ["--warmup-steps", "20", "--grad-clip", "1", "--epochs", "1000"]
            done = {
                line["steps"]: line
                for line in measured.lines
                if line["run"] == output.name and measured_on.items() <= line.items()
            }
            for count in steps:
                if count not in done:
                    finetune.main([*given, "--max-steps", str(count)])
                    model = load_model(output / "last", compute.device)
                    ask_as_the_data(model, endings)
                    trials = encode_trials(examples, endings, model.config)
                    likely = likelihood_metrics(topics, trials, score(model, trials), endings)
                    more = loss_over_base(plain_topics, text_losses(model, plain), before)
                    done[count] = measured_on | {"run": output.name, "steps": count}
                    done[count] |= {"preference": likely["preference"], "over base": more}
                    measured.add(done[count])
            follows = [with_interval(Estimate(*done[count]["preference"])) for count in steps]
            costs = with_interval(Estimate(*done[steps[-1]]["over base"]), OVER_BASE)
            rows.append([f"{lr:g}", loss_on, *follows, costs])
            print(table(["learning rate", "loss on", *head], rows), flush=True)
    print(f"{len(examples)} true stories about {topics.count()} topics; steps of {settings.batch_size}")


if __name__ == "__main__":
    run(main)
