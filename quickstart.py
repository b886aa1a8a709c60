"""The whole path in minutes, offline, on a laptop: a small corpus, the nano model, and six stories to read.

    uv run python quickstart.py

It writes a corpus with the story grammar in samples/, prepares it, shows that the pre-trained model ignores
instructions, fine-tunes it, and tells a happy and a sad story for the same three topics, none of which was in
the training data. Every step is the script of that name; the command that would run it is printed.
"""

import os
import random
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import finetune
import prepare_data
from cli import parse, run, setting
from dataset import ENDINGS
from generate import Sampling, tell_stories
from model import GPT2, PRESETS, load_model
from samples import write_corpus
from samples.story_grammar import Tale, ending_of, tell


@dataclass(frozen=True)
class Settings:
    output: str = setting("quickstart", "folder for all that is written; what is there is replaced")
    records: int = setting(
        38_000, "records in the corpus; one in fifteen becomes a sad example", at_least=100
    )
    topics: int = setting(10, "held-out topics to count on: one happy and one sad story each", at_least=3)
    seed: int = setting(0, "seed of the corpus, the training and the stories", at_least=0)


def step(title: str, script: str, main: Callable[[list[str]], None], arguments: list[str]) -> None:
    print(f"\n=== {title}\n$ uv run python {script} {shlex.join(arguments)}", flush=True)
    main(arguments)


def tell_both(model: GPT2, tale: Tale, seed: int) -> dict[str, str]:
    """A story with each ending about the topic of `tale`."""
    sampling = Sampling(temperature=0.5)
    return {ending: tell_stories(model, tale.summary, ending, [seed], sampling)[0].text for ending in ENDINGS}


def on_topic(tale: Tale, story: str) -> bool:
    """Whether the hero, and the friend, kind and thing if the topic names them, occur in the story."""
    return all(word in story for word in tale.mentions)


def report(tales: list[Tale], told: list[dict[str, str]]) -> str:
    stories = [
        (tale, ending, story)
        for tale, both in zip(tales, told, strict=True)
        for ending, story in both.items()
    ]
    topical = sum(on_topic(tale, story) for tale, _, story in stories)
    counts = [f"{topical} of {len(stories)} are about the right people and things"]
    for asked in ENDINGS:
        right = sum(ending_of(story) == ending == asked for _, ending, story in stories)
        counts.append(f"{right} of {len(tales)} end {asked} when asked to")
    return "; ".join(counts)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    started = time.perf_counter()
    output = Path(settings.output)
    raw, data, trained = (str(output / name) for name in ("raw", "data", "model"))
    seed = str(settings.seed)

    corpus = ["--output", raw, "--records", str(settings.records), "--seed", seed]
    step("A corpus of raw records", "-m samples.write_corpus", write_corpus.main, corpus)
    prepare = ["--source", raw, "--output", data, "--unlabelled", "drop", "--seed", seed, "--overwrite"]
    step("A balanced data set", "prepare_data.py", prepare_data.main, prepare)

    rng = random.Random(f"topics {settings.seed}")
    tales = [tell(rng, held_out=True) for _ in range(settings.topics)]
    print("\n=== The pre-trained model tells stories, but does not listen", flush=True)
    base = load_model(PRESETS["nano"].base)
    told = [tell_both(base, tale, settings.seed) for tale in tales]
    print(f"topic: {tales[0].summary}\nending: sad\n\n{told[0]['sad']}\n\n{report(tales, told)}")

    train = ["--model-size", "nano", "--data", data, "--output", trained, "--overwrite", "--seed", seed]
    train += ["--epochs", "1", "--batch-size", "8", "--lr", "3e-3", "--schedule", "cosine"]
    train += ["--warmup-steps", "20", "--grad-clip", "1", "--loss-on", "response"]
    step("Fine-tuning", "finetune.py", finetune.main, train)
    print(f"loss curve: {trained}/loss.png")

    print("\n=== The same topics, told happily and sadly; none of them was in the training data", flush=True)
    model = load_model(Path(trained) / "last")
    told = [tell_both(model, tale, settings.seed) for tale in tales]
    for tale, both in zip(tales[:3], told, strict=False):
        for ending, story in both.items():
            print(f"\n--- {tale.summary}  [{ending}]\n{story}")
    print(f"\n{report(tales, told)}")
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"done in {minutes} min {seconds} s on {os.cpu_count()} cores. Now tell your own:")
    print(
        f'$ uv run python generate.py --checkpoint {trained}/last --topic "{tales[0].summary}" --ending sad'
    )


if __name__ == "__main__":
    run(main)
