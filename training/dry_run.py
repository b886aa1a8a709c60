"""What a run takes: steps, tokens, memory, disk and, from a few timed steps, the time."""

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.device import memory_used, synchronize
from common.signals import StopRequest
from dataset import InstructionDataset
from training.trainer import Trainer

TIMED = 5  # steps


@dataclass(frozen=True)
class Estimate:
    steps: int  # still to be done
    epochs: float
    tokens: int  # that go through the model in them, padding not counted
    memory_gb: float | None  # the most so far; on a GPU the largest micro-batch was among it
    disk: int  # bytes that the run's folder will have
    spare: int  # bytes more while it saves
    tokens_per_second: float
    seconds: float  # of steps and validations


def estimate(
    report: dict[str, Any], steps: range, trainer: Trainer, examples: dict[str, InstructionDataset]
) -> Estimate:
    """Of a run by its run.json, `steps` of which are to be done; the first are made, and change the model."""

    def make(step: int) -> int:
        indices, batches = trainer.prepare(step)
        trainer.step(step, indices, batches, StopRequest())
        return int(trainer.rows.lengths[indices].sum())

    device = trainer.compute.device
    make(steps[0])  # slower than the others
    synchronize(device)
    started = time.perf_counter()
    timed = sum(map(make, steps[:TIMED]))
    synchronize(device)
    speed = timed / (time.perf_counter() - started)

    tokens = {split: int(rows.lengths.sum()) for split, rows in examples.items()}
    settings = report["settings"]
    epochs = len(steps) / -(-report["data"]["train"]["examples"] // settings["batch_size"])
    through = round(tokens["train"] * epochs)
    validated = tokens.get("validation", 0) * math.ceil(epochs)
    kept = int(epochs) if settings["keep_epochs"] is None else min(int(epochs), settings["keep_epochs"])
    weights = 4 * report["model"]["parameters"]  # bytes
    checkpoints = kept + 1 + ("validation" in tokens)  # epoch_N/, last/ and best/
    return Estimate(
        steps=len(steps),
        epochs=epochs,
        tokens=through,
        memory_gb=memory_used(device),
        disk=(checkpoints + 3) * weights,  # training_state.pt holds weights and two moments
        spare=3 * weights,
        tokens_per_second=speed,
        seconds=(through + validated / 3) / speed,  # a validation has no way back, two thirds of the work
    )


def tell(estimate: Estimate, output: Path) -> None:
    place = output.absolute()
    while not place.exists():
        place = place.parent
    e, free = estimate, shutil.disk_usage(place).free
    print(f"steps    {e.steps:,} in {e.epochs:.2f} epochs")
    print(f"tokens   {e.tokens:,}, padding not counted")
    print("memory   " + ("not known" if e.memory_gb is None else f"{e.memory_gb:.2f} GB at most"))
    print(
        f"disk     {e.disk / 1e9:.2f} GB in {output}, {e.spare / 1e9:.2f} more while it saves; "
        f"{free / 1e9:.0f} GB are free"
    )
    print(
        f"time     {e.seconds / 60:,.1f} minutes at {e.tokens_per_second:,.0f} tokens a second (of {TIMED} "
        "steps here), without saves and sample stories"
    )
