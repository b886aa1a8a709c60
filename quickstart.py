"""The whole path in minutes, offline, on a laptop: a small corpus, the nano model, stories, the figures.

    uv run python quickstart.py

It writes a corpus with the story grammar in samples/, prepares it, shows that the pre-trained model ignores
instructions, fine-tunes it, tells a happy and a sad story for the same three topics, none of which was in the
training data, and measures how far endings follow the instruction, before and after. Where a step is a
script's, the command that would run it is printed.
"""

import common.threads  # noqa: F401 (before torch)

import os
import random
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import evaluate
import finetune
import prepare_data
from common.cli import parse, run, setting
from common.presets import PRESETS
from dataset import ENDINGS
from generate import choose_token
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import load_model
from samples import write_corpus
from samples.story_grammar import tell

# How nano is fine-tuned: options of finetune.py.
RECIPE = (
    *("--model-size", "nano", "--batch-size", "8", "--loss-on", "response"),
    *("--lr", "3e-3", "--schedule", "cosine", "--warmup-steps", "20", "--grad-clip", "1"),
)


@dataclass(frozen=True)
class Settings:
    output: str = setting("quickstart", "folder for all that is written; what is there is replaced")
    records: int = setting(
        38_000, "records in the corpus; one in fifteen becomes a sad example", at_least=100
    )
    topics: int = setting(100, "held-out topics to measure on: one happy and one sad story each", at_least=2)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")
    seed: int = setting(0, "seed of the corpus, the training and the stories", at_least=0, at_most=2**32 - 1)


def step(title: str, script: str, main: Callable[[list[str]], None], arguments: list[str]) -> None:
    print(f"\n=== {title}\n$ uv run python {script} {shlex.join(arguments)}", flush=True)
    main(arguments)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    started = time.perf_counter()
    output = Path(settings.output)
    raw, data, trained = (str(output / name) for name in ("raw", "data", "model"))
    base, tuned = os.path.relpath(PRESETS["nano"].base), f"{trained}/last"
    seed = str(settings.seed)

    corpus = ["--output", raw, "--records", str(settings.records), "--seed", seed]
    step("A corpus of raw records", "-m samples.write_corpus", write_corpus.main, corpus)
    prepare = ["--source", raw, "--output", data, "--unlabelled", "drop", "--seed", seed, "--overwrite"]
    step("A balanced data set", "prepare_data.py", prepare_data.main, prepare)

    rng = random.Random(f"topics {settings.seed}")
    topics = [tell(rng, held_out=True).summary for _ in range(3)]
    requests = [Request(topic, ending, settings.seed) for topic in topics for ending in ENDINGS]
    sampling = Sampling(temperature=0.5)
    print("\n=== The pre-trained model tells stories, but does not listen", flush=True)
    told = tell_stories(load_model(base), requests[1:2], sampling, choose_token)
    print(f"topic: {topics[0]}\nending: sad\n\n{told[0].text}")

    device = [] if settings.device == "auto" else ["--device", settings.device]
    train = [*RECIPE, "--epochs", "1", "--data", data, "--output", trained, "--overwrite", "--seed", seed]
    train += device
    step("Fine-tuning", "finetune.py", finetune.main, train)
    print(f"loss curve: {trained}/loss.png")

    print("\n=== Stories about three topics, happy and sad; none was in the training data", flush=True)
    told = tell_stories(load_model(tuned), requests, sampling, choose_token)
    for request, story in zip(requests, told, strict=True):
        print(f"\n--- {request.topic}  [{request.ending}]\n{story.text}")

    measure = ["--checkpoint", base, tuned, "--data", data, "--output", str(output / "report")]
    measure += ["--overwrite", "--topics", str(settings.topics), "--num-stories", "1"]
    measure += ["--ending-strength", "1", "--seed", seed, *device]
    step("Does the ending follow the instruction?", "evaluate.py", evaluate.main, measure)

    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"\ndone in {minutes} min {seconds} s on {os.cpu_count()} cores. Now tell your own:")
    told_by = ["--checkpoint", tuned, "--topic", topics[0], "--ending", "sad"]
    print(f"$ uv run python generate.py {shlex.join(told_by)}")


if __name__ == "__main__":
    run(main)
