"""What it costs that somebody else uses the cores: stories and training steps beside busy processes.

    uv run python -m benchmarks.neighbours                              # ten minutes on two cores
    OMP_WAIT_POLICY=ACTIVE uv run python -m benchmarks.neighbours       # PyTorch's threads never sleep

Each is measured beside no neighbour, one on each core but one, and one on each core; with one thread and with
as many as torch takes, in turn, each in a process of its own. Figures are medians over the rounds. More
threads should never be much slower than one.
"""

import common.threads  # noqa: F401 (before torch)

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from benchmarks import machine
from benchmarks.tellers import TELLERS
from common.cli import parse, run, setting
from common.device import choose_compute
from common.int8 import quantize
from common.presets import PRESETS
from inference.sampling import Sampling
from model import GPT2

TRAINING = "training, float32"
SIDES = ("engine, int8", "engine, float32", "PyTorch, float32", TRAINING)
SECONDS = 4.0  # of a turn


@dataclass(frozen=True)
class Settings:
    model_size: str = setting("30m", "preset", choices=tuple(PRESETS))
    rounds: int = setting(3, "turns of each", at_least=1)
    side: str | None = setting(None, "one side alone, its speed as JSON", choices=SIDES)
    threads: int = setting(1, "with --side: how many it takes", at_least=1)
    models: str | None = setting(None, "with --side: the folder of models")


def teller(side: str, folder: Path, threads: int) -> Callable[[], int]:
    """Tells twenty tokens, and returns their number."""
    tell = TELLERS[side](folder, threads)

    def work() -> int:
        return len(tell([[1] * 40], 20, Sampling(temperature=0.7))[0])

    return work


def trainer(model_size: str) -> Callable[[], int]:
    """Forward and backward of four rows of 128 tokens, and their number."""
    model = GPT2(**vars(PRESETS[model_size].config)).train()
    ids = torch.randint(0, 4000, (4, 129))

    def work() -> int:
        cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
        model.zero_grad()
        return ids[:, 1:].numel()

    return work


def speed(work: Callable[[], int]) -> float:
    """Tokens a second."""
    work()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        done += work()
    return done / (time.perf_counter() - started)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that compute all the time."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def turn(side: str, threads: int, folder: Path, settings: Settings) -> float:
    command = [sys.executable, "-m", "benchmarks.neighbours", "--side", side, "--threads", str(threads)]
    command += ["--models", str(folder), "--model-size", settings.model_size]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.side is not None:
        torch.set_num_threads(settings.threads)
        folder = Path(settings.models or ".")
        if settings.side == TRAINING:
            print(speed(trainer(settings.model_size)))
        else:
            print(speed(teller(settings.side, folder, settings.threads)))
        return
    choose_compute("cpu")
    most = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = GPT2(**vars(PRESETS[settings.model_size].config)).eval()
        model.save_pretrained(folder / "float32")
        quantize(model)
        model.save_pretrained(folder / "int8")
        print(
            f"{'tokens a second':22}{'neighbours':>12}{'one thread':>12}{f'{most} threads':>12}{'ratio':>8}"
        )
        for side in SIDES:
            for count in sorted({0, most - 1, most}):
                with neighbours(count):
                    pairs = [
                        [turn(side, threads, folder, settings) for threads in (1, most)]
                        for _ in range(settings.rounds)
                    ]
                one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(f"{side:22}{count:12}{one:12,.0f}{many:12,.0f}{many / one:8.2f}", flush=True)
    print(f"{settings.model_size}; {machine.describe()}")


if __name__ == "__main__":
    run(main)
