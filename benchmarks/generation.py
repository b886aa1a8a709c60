"""Telling stories against other programs: one at a time, many at once, the first token, the start.

    uv run --group benchmarks python -m benchmarks.generation        # six minutes on two cores

All sides have the same weights, random unless --checkpoint (a trained model leaves fewer tokens to choose
from, which helps ours a little), the same prompts of random tokens, as many threads as torch takes, and draw
as many tokens from the 50 likeliest at temperature 0.7, no matter which. Each turn is a process of its own,
the sides take turns, figures are medians over the rounds. Where nothing is left to chance, all float32 sides
must tell the same story.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import other_programs
from common.cli import option, parse, run, setting
from common.device import choose_compute
from common.errors import InputError
from common.int8 import quantize
from common.presets import PRESETS
from inference.engine import Engine
from inference.sampling import Sampling
from model import GPT2, load_model

ROOT = Path(__file__).parent.parent
SIDES = {
    "obvious": "obvious loop, float32",
    "transformers": "transformers, float32",
    "ctranslate2": "CTranslate2, float32",
    "ours": "ours, float32",
    "ctranslate2-int8": "CTranslate2, int8",
    "ours-int8": "ours, int8",
}
CHECKED = 20  # tokens told without chance
NUMBERS = {"one": "one story", "many": "many stories"}

# Prompts, all of one length, and the number of tokens to tell -> the tokens told of each.
Teller = Callable[[list[list[int]], int, Sampling], Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Settings:
    model_size: str = setting("30m", "preset", choices=tuple(PRESETS))
    checkpoint: str | None = setting(None, "a float32 model; default: random weights")
    prompt_tokens: int = setting(40, "length of a prompt", at_least=1)
    max_tokens: int = setting(200, "length of a story", at_least=CHECKED)
    stories: int = setting(16, "told at once", at_least=2)
    rounds: int = setting(5, "turns of each side", at_least=1)
    side: str | None = setting(None, "one side alone, figures as JSON", choices=tuple(SIDES))
    models: str | None = setting(None, "with --side: the folder of models that is measured")


def obvious(folder: Path) -> Teller:
    """The whole text again for every token."""
    model = other_programs.to_transformers(load_model(folder / "float32"))

    @torch.inference_mode()
    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        ids = torch.tensor(prompts)
        for _ in range(count):
            logits = model(ids, use_cache=False).logits[:, -1]  # (B, V)
            values, likeliest = logits.topk(sampling.top_k or 1)
            drawn = torch.multinomial(torch.softmax(values / sampling.temperature, -1), 1)
            ids = torch.cat([ids, likeliest.gather(1, drawn)], 1)
        return ids[:, len(prompts[0]) :].tolist()

    return tell


def with_transformers(folder: Path) -> Teller:
    model = other_programs.to_transformers(load_model(folder / "float32"))

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        ids = torch.tensor(prompts)
        told = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=True,
            top_k=sampling.top_k,
            temperature=sampling.temperature,
            pad_token_id=0,
        )
        return told[:, ids.shape[1] :].tolist()

    return tell


def with_ctranslate2(folder: Path, compute_type: str) -> Teller:
    import ctranslate2

    threads = torch.get_num_threads()
    generator = ctranslate2.Generator(
        str(folder / "ctranslate2"), compute_type=compute_type, inter_threads=1, intra_threads=threads
    )

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        results = generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            max_length=count,
            min_length=count,
            sampling_topk=sampling.top_k,
            sampling_temperature=sampling.temperature,
            include_prompt_in_result=False,
        )
        return [result.sequences_ids[0] for result in results]

    return tell


def ours(folder: Path) -> Teller:
    engine = Engine.from_file(folder / "model.safetensors", torch.get_num_threads())

    def tell(prompts: list[list[int]], count: int, sampling: Sampling) -> Sequence[Sequence[int]]:
        never = -1  # the end of text, so that all are as long
        how = replace(sampling, max_new_tokens=count)
        return list(zip(*engine.stream_tokens(prompts, range(len(prompts)), how, never), strict=True))

    return tell


TELLERS: dict[str, Callable[[Path], Teller]] = {
    "obvious": obvious,
    "transformers": with_transformers,
    "ctranslate2": lambda folder: with_ctranslate2(folder, "float32"),
    "ours": lambda folder: ours(folder / "float32"),
    "ctranslate2-int8": lambda folder: with_ctranslate2(folder, "int8"),
    "ours-int8": lambda folder: ours(folder / "int8"),
}


def measure(settings: Settings, folder: Path) -> dict[str, Any]:
    """One side in this process: tokens a second of one story and of many, the seconds to a first token."""
    choose_compute("cpu")
    tell = TELLERS[settings.side or "ours"](folder)
    drawn = Sampling(temperature=0.7, top_k=50)
    torch.manual_seed(0)
    ids = torch.randint(0, 4000, (settings.stories, settings.prompt_tokens)).tolist()

    def seconds(stories: int, count: int) -> float:
        started = time.perf_counter()
        told = tell(ids[:stories], count, drawn)
        elapsed = time.perf_counter() - started
        assert [len(story) for story in told] == [count] * stories
        return elapsed

    likeliest = tell(ids[:1], CHECKED, replace(drawn, top_k=1))  # warms up, too
    first = statistics.median(seconds(1, 1) for _ in range(5))
    one = settings.max_tokens / seconds(1, settings.max_tokens)
    many = None
    if settings.side != "obvious":
        tell(ids, CHECKED, drawn)
        many = settings.stories * settings.max_tokens / seconds(settings.stories, settings.max_tokens)
    return {"one": one, "many": many, "first": first, "likeliest": likeliest[0]}


def turn(settings: Settings, side: str, folder: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.generation", "--side", side, "--models", str(folder)]
    for name in ("prompt_tokens", "max_tokens", "stories"):
        command += [option(name), str(getattr(settings, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"--side {side}: failed")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def start(checkpoint: Path) -> float:
    """Seconds from the start of generate.py to the first text of a story."""
    command = [sys.executable, str(ROOT / "generate.py"), "--checkpoint", str(checkpoint)]
    command += ["--topic", "a lost dog", "--ending", "sad", "--max-tokens", "9"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        if not process.stdout.read(1):
            raise InputError("generate.py: told nothing")
        return time.perf_counter() - started


def import_torch() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


def write_models(settings: Settings, folder: Path) -> None:
    torch.manual_seed(0)
    if settings.checkpoint:
        model = load_model(settings.checkpoint)
    else:
        model = GPT2(**vars(PRESETS[settings.model_size].config)).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # large enough that the next token is never a near tie
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder / "float32")
    other_programs.to_ctranslate2(model, folder / "ctranslate2")
    quantize(model)
    model.save_pretrained(folder / "int8")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.side is not None:
        print(json.dumps(measure(settings, Path(settings.models or "."))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_models(settings, folder)
        rounds = []
        for _ in range(settings.rounds):
            rounds.append({side: turn(settings, side, folder) for side in SIDES})
        starts = {
            kind: [start(folder / kind) for _ in range(settings.rounds)] for kind in ("float32", "int8")
        }
        torch_alone = [import_torch() for _ in range(settings.rounds)]
    report(settings, rounds)
    medians = ", ".join(f"{kind} {statistics.median(times):.1f} s" for kind, times in starts.items())
    print(
        f"start of generate.py to the first text: {medians}; importing torch takes "
        f"{statistics.median(torch_alone):.1f} s of them"
    )


def report(settings: Settings, rounds: list[dict[str, dict[str, Any]]]) -> None:
    def median(side: str, name: str) -> float:
        return statistics.median(figures[side][name] for figures in rounds)

    print(f"{'tokens a second':24}{'one story':>12}{f'{settings.stories} stories':>14}{'first token':>14}")
    for side, name in SIDES.items():
        many = "" if side == "obvious" else f"{median(side, 'many'):,.0f}"
        print(f"{name:24}{median(side, 'one'):12,.0f}{many:>14}{median(side, 'first') * 1e3:11.0f} ms")
    for side in SIDES:
        same = all(figures[side]["likeliest"] == figures["ours"]["likeliest"] for figures in rounds)
        if not same and "int8" not in side:
            raise InputError(f"{SIDES[side]}: tells another story than ours where nothing is left to chance")
    for side, versus, number in (
        ("ours", "obvious", "one"),
        ("ours", "transformers", "one"),
        *(
            (o, c, n)
            for o, c in (("ours", "ctranslate2"), ("ours-int8", "ctranslate2-int8"))
            for n in NUMBERS
        ),
    ):
        ratios = [figures[side][number] / figures[versus][number] for figures in rounds]
        print(
            f"{SIDES[side]}, {NUMBERS[number]}: {statistics.median(ratios):.2f} x {SIDES[versus]}, "
            f"{min(ratios):.2f} to {max(ratios):.2f}"
        )
    config = PRESETS[settings.model_size].config
    print(
        f"{settings.checkpoint or settings.model_size}, {config.num_layers} layers, "
        f"{settings.max_tokens} tokens behind {settings.prompt_tokens}, {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    run(main)
