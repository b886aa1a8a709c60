"""int8 weights for small hosts: a quarter of the bytes.

    uv run python quantize.py                                # of the fine-tuned 30m, into int8/ beside it
    uv run python quantize.py --checkpoint quickstart/model/last --data quickstart/data

Writes a checkpoint that generate.py and evaluate.py take like any other, with layers of common/int8.py, and
says what it cost: both are read from disk and shown the same validation examples.
"""

import common.threads  # noqa: F401 (before torch)

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common import hub
from common.checkpoints import CHECKPOINT, beside, finetuned_checkpoint, locate, sha256
from common.cli import parse, run, setting
from common.device import choose_compute
from common.errors import InputError
from common.files import claimed_folder, write_text
from common.int8 import quantize
from common.markdown import table
from common.own_stories import Example
from common.presets import PRESETS
from dataset import endings_of, load_data, read_examples
from evaluation.likelihood import ask_as_the_data, encode_trials, likelihood_metrics, score
from evaluation.metrics import Topics
from evaluation.report import row_name, with_interval
from generate import choose_token
from inference.opening import open_model
from inference.sampling import Sampling
from inference.stories import Model, stream_ids
from model import load_model
from sharing.cards import int8_card

WRITTEN = ("int8.json", *CHECKPOINT)
REPORTED = ("perplexity, story alone", "preference")


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(None, "a folder, a .pt or .safetensors file, a Hub id")
    model_size: str = setting(
        "30m", "without --checkpoint: the one trained here, else the published one", choices=tuple(PRESETS)
    )
    output: str | None = setting(None, "folder to write; default: int8/ beside the checkpoint's folder")
    overwrite: bool = setting(False, "replace int8 weights that are there")
    data: str | None = setting(
        None,
        "folder from prepare_data.py, file of stories, or Hub id; default: the local one, else the published",
    )
    examples: int = setting(200, "validation examples to measure on, drawn at random; 0: none", at_least=0)
    seed: int = setting(0, "of the drawn examples", at_least=0)


def draw_examples(settings: Settings) -> tuple[list[Example], tuple[str, ...]]:
    """Some of the data's validation examples, and its endings. Raises InputError if there are none."""
    if not settings.examples:
        return [], ()
    data, _ = load_data(settings.data)
    if not len(data.get("validation", ())):
        raise InputError("--data: holds no validation examples; name other data, or --examples 0")
    endings = endings_of(data)
    examples = read_examples(data["validation"], endings)
    drawn = np.random.default_rng(settings.seed).permutation(len(examples))[: settings.examples]
    return [examples[place] for place in drawn], endings


def tokens_per_second(model: Model) -> float:
    """Of one story of 200 tokens behind a prompt of 40, or as much as the context holds."""
    prompt = [0] * min(40, model.config.context_length // 2)
    count = min(200, model.config.context_length - len(prompt))
    started = time.perf_counter()
    never = -1  # the end of text
    steps = stream_ids(model, [prompt], [0], Sampling(count, temperature=0.7), choose_token, never)
    return sum(1 for _ in steps) / (time.perf_counter() - started)


def compare(
    files: Sequence[Path], examples: list[Example], endings: tuple[str, ...], seed: int
) -> list[list[str]]:
    """A row for every figure: its name, and what it is of each of the weights files."""
    tellers = [open_model(str(file), "cpu").model for file in files]
    speeds = [[tokens_per_second(teller) for teller in tellers] for _ in range(4)][1:]  # the first warms up
    rows = [
        ["bytes", *(f"{file.stat().st_size:,}" for file in files)],
        ["tokens a second", *(f"{statistics.median(speed):,.0f}" for speed in zip(*speeds, strict=True))],
    ]
    if examples:
        topics = Topics([example.topic for example in examples], seed)
        models = [load_model(file) for file in files]
        for model in models:
            ask_as_the_data(model, endings)
        trials = encode_trials(examples, endings, models[0].config)
        measured = [likelihood_metrics(topics, trials, score(model, trials), endings) for model in models]
        names = [name for name in REPORTED if name in measured[0]]
        rows += [
            [row_name(name, len(endings)), *(with_interval(each[name], name) for each in measured)]
            for name in names
        ]
    return rows


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    choose_compute("cpu")  # for its number of threads
    name = settings.checkpoint or finetuned_checkpoint(settings.model_size)
    output = beside(name, settings.output, "int8")
    with claimed_folder(output, settings.overwrite, WRITTEN, "int8 weights") as folder:
        file = locate(name)
        digest = sha256(file)
        model = load_model(file)
        if model.is_int8:
            raise InputError(f"--checkpoint {name}: has int8 weights already")
        examples, endings = draw_examples(settings)
        quantize(model)
        model.save_pretrained(folder)
        rows = compare([file, folder / "model.safetensors"], examples, endings, settings.seed)
        made = hub.origin(name, file.parent) | {"sha256": digest, "examples": len(examples)}
        made["endings"] = model.taught.endings
        made |= {"threads": torch.get_num_threads(), "figures": rows}
        write_text(folder / "README.md", int8_card(made))
        write_text(folder / "int8.json", json.dumps(made, indent=2) + "\n")
    print(table(["", "before", "int8"], rows))
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
