"""Telling stories against other programs: one at a time, many at once, the first token, the start.

    uv run --group benchmarks python -m benchmarks.generation           # half an hour on two cores
    CMAKE_ARGS=-DGGML_NATIVE=ON uv run --group benchmarks --group llama python -m benchmarks.generation

All sides have the same weights, random unless --checkpoint (for llama.cpp, the bias of the output layer is
folded away), the same prompts of random tokens, and draw as many tokens from the 50 likeliest at temperature
0.7, no matter which. Each is measured with one thread and with as many as torch takes. Each turn is a process
of its own, the sides take turns, figures are medians over the rounds. Where nothing is left to chance, all
float32 sides must tell the same story, but for llama.cpp, whose GELU is a table of float16 numbers. It is
left out where it is not installed.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, other_programs
from benchmarks.tellers import TELLERS
from common.cli import option, parse, run, setting
from common.device import choose_compute
from common.endings import ENDINGS
from common.errors import InputError
from common.int8 import quantize
from common.presets import PRESETS
from exporting import gguf_files
from exporting.fold import folded
from inference.sampling import Sampling
from model import GPT2, load_model

ROOT = Path(__file__).parent.parent
SIDES = [name for name in TELLERS if importlib.util.find_spec("llama_cpp") or "llama" not in name]
CHECKED = 20  # tokens told without chance
ENGINES = ("engine, float32", "engine, int8")


@dataclass(frozen=True)
class Settings:
    model_size: str = setting("30m", "preset", choices=tuple(PRESETS))
    checkpoint: str | None = setting(None, "a float32 model; default: random weights")
    prompt_tokens: int = setting(40, "length of a prompt", at_least=1)
    max_tokens: int = setting(200, "length of a story", at_least=CHECKED)
    stories: int = setting(16, "told at once", at_least=2)
    rounds: int = setting(5, "turns of each side", at_least=1)
    side: str | None = setting(None, "one side alone, figures as JSON", choices=tuple(TELLERS))
    threads: int = setting(1, "with --side: how many it takes", at_least=1)
    models: str | None = setting(None, "with --side: the folder of models that is measured")


def measure(side: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """One side in this process: tokens a second of one story and of many, the seconds to a first token."""
    torch.set_num_threads(settings.threads)
    tell = TELLERS[side](folder, settings.threads)
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
    many = 0.0
    if side != "obvious loop, float32":
        tell(ids, CHECKED, drawn)
        many = settings.stories * settings.max_tokens / seconds(settings.stories, settings.max_tokens)
    return {"one": one, "many": many, "first": first, "likeliest": list(likeliest[0])}


def turn(settings: Settings, side: str, threads: int, folder: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.generation", "--side", side, "--models", str(folder)]
    for name in ("prompt_tokens", "max_tokens", "stories"):
        command += [option(name), str(getattr(settings, name))]
    command += ["--threads", str(threads)]
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=own)
    if done.returncode:
        raise InputError(f"--side {side}: failed")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
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


def write_models(settings: Settings, folder: Path) -> int:
    """Returns the bytes of float32 weights that a token reads."""
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
    other_programs.to_onnx(model, folder / "model.onnx")
    other_programs.to_openvino(model, folder / "openvino.xml")
    gguf_files.write_file(folder / "float32.gguf", "F32", folded(model), model.config, "random", ENDINGS)
    gguf_files.write_file(folder / "q8_0.gguf", "Q8_0", folded(model), model.config, "random", ENDINGS)
    read = sum(weight.numel() for name, weight in model.named_parameters() if "embedding" not in name)
    quantize(model)
    model.save_pretrained(folder / "int8")
    return 4 * read


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.side is not None:
        print(json.dumps(measure(settings.side, settings, Path(settings.models or "."))))
        return
    choose_compute("cpu")
    most = torch.get_num_threads()
    sides = [(side, threads) for side in SIDES for threads in sorted({1, most})]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        read = write_models(settings, folder)
        rounds, speeds = [], []
        for _ in range(settings.rounds):
            rounds.append({each: turn(settings, *each, folder) for each in sides})
            speeds.append(machine.bytes_per_second())
        starts = {
            kind: [start(folder / kind) for _ in range(settings.rounds)] for kind in ("float32", "int8")
        }
    report(settings, rounds, most)
    speed = statistics.median(speeds)
    best = statistics.median(figures["engine, float32", most]["one"] for figures in rounds)
    print(
        f"{most} threads read {speed / 1e9:.1f} GB/s of memory; the engine's float32, one story: "
        f"{best * read / speed:.0%} of that"
    )
    medians = ", ".join(f"{kind} {statistics.median(times):.2f} s" for kind, times in starts.items())
    print(f"generate.py, command to first text: {medians}")
    config = PRESETS[settings.model_size].config
    print(
        f"{settings.checkpoint or settings.model_size}, {config.num_layers} layers, "
        f"{settings.max_tokens} tokens behind {settings.prompt_tokens}; {machine.describe()}"
    )


def report(settings: Settings, rounds: list[dict[tuple[str, int], dict[str, Any]]], most: int) -> None:
    def median(side: str, threads: int, name: str) -> float:
        return statistics.median(figures[side, threads][name] for figures in rounds)

    def fastest(side: str, name: str) -> int:
        """The number of threads."""
        return max({1, most}, key=lambda threads: median(side, threads, name))

    print(
        f"{'tokens a second':24}{'one thread':>12}{f'{most} threads':>12}{f'{settings.stories} stories':>14}"
        f"{'first token':>14}"
    )
    for side in SIDES:
        one = "".join(f"{median(side, threads, 'one'):12,.0f}" for threads in (1, most))
        many = f"{median(side, fastest(side, 'many'), 'many') or float('nan'):,.0f}".replace("nan", "")
        print(f"{side:24}{one}{many:>14}{median(side, most, 'first') * 1e3:11.0f} ms")
    for side in SIDES:
        for figures in rounds:
            same = figures[side, most]["likeliest"] == figures["engine, float32", most]["likeliest"]
            if not same and "float32" in side and "llama" not in side:
                raise InputError(f"{side}: tells another story where nothing is left to chance")
    for ours in ENGINES:
        others = [
            side for side in SIDES if side not in ENGINES and ("float32" in side) == ("float32" in ours)
        ]
        for name, what in (("one", "one story"), ("many", f"{settings.stories} stories")):
            best = max(others, key=lambda side: median(side, fastest(side, name), name))
            for other in {best, "llama.cpp, Q8_0"} & {*others}:
                ratios = [
                    figures[ours, fastest(ours, name)][name] / figures[other, fastest(other, name)][name]
                    for figures in rounds
                ]
                print(
                    f"{ours}, {what}: {statistics.median(ratios):.2f} x {other}, "
                    f"{min(ratios):.2f} to {max(ratios):.2f}"
                )


if __name__ == "__main__":
    run(main)
