"""What a run shows of itself: metrics.jsonl, TensorBoard, sample stories, a picture at the end."""

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.cli import InputError
from common.files import whole_file
from dataset import ENDINGS
from generate import Request, Sampling, encode_prompt, tell_stories
from model import GPT2
from training.batches import MicroBatch
from training.distributed import Ranks
from training.run_folder import Progress, read_metrics

if TYPE_CHECKING:
    import numpy as np

TOPICS = (
    "Mia and her little dog look for a lost red ball in the park.",
    "Tom the rabbit wants to bake a cake for his grandma.",
    "A small boat, a big storm and a brave girl named Ella.",
)


def check_room(model: GPT2, topics: int) -> None:
    """Raises InputError if the model's context has no room for a story about one of these topics."""
    for topic in TOPICS[:topics]:
        try:
            encode_prompt(model, topic, ENDINGS[0])
        except InputError as error:
            raise InputError(
                f"this model has no room for sample stories ({error}); add --stories 0"
            ) from error


class Meter:
    """Loss and speed since the last line of metrics.jsonl.

    What a step computed stays on the device until it is asked for: a GPU is not made to wait at every step.
    """

    def __init__(
        self, progress: Progress, ranks: Ranks, lengths: "np.ndarray", supervised_tokens: "np.ndarray"
    ) -> None:
        self.progress, self.ranks = progress, ranks
        self.lengths, self.supervised_tokens = lengths, supervised_tokens
        self.waiting: list[tuple[int, list[int], Tensor, Tensor]] = []  # step, examples, loss, norm
        self.padded = 0  # of the steps that are waiting, in this process
        self.norm = math.nan
        self.start_clock()

    def start_clock(self) -> None:
        """Leave the time since the last line out of the speed."""
        self.started, self.timed = time.perf_counter(), 0

    def add(self, indices: list[int], batches: Sequence[MicroBatch], loss_sum: Tensor, norm: Tensor) -> None:
        """A step that is done: its examples, this process's part, the loss of that, the gradient's norm."""
        self.waiting.append((self.progress.step, indices, loss_sum, norm))
        self.padded += sum(batch.inputs.numel() for batch in batches)
        useful = int(self.lengths[indices].sum())
        self.timed += useful
        self.progress.useful += useful
        self.progress.supervised += int(self.supervised_tokens[indices].sum())

    def settle(self) -> None:
        """Add up what is waiting, over all processes. Raises InputError where it is not finite."""
        if not self.waiting:
            return
        losses = torch.stack([loss for _, _, loss, _ in self.waiting])
        sums = self.ranks.sum(torch.cat([losses, losses.new_tensor([self.padded])])).tolist()
        norms = torch.stack([norm for *_, norm in self.waiting]).tolist()
        for (step, indices, _, _), loss, norm in zip(self.waiting, sums, norms, strict=False):
            for name, value in (("loss", loss), ("gradient's norm", norm)):
                must_be_finite(value, f"step {step}: the {name}", indices)
            self.progress.loss += loss
        self.progress.padded += int(sums[-1])
        self.norm = norms[-1]
        self.waiting, self.padded = [], 0

    def line(self) -> dict[str, float]:
        """The figures since the last call."""
        self.settle()
        progress, seconds = self.progress, time.perf_counter() - self.started
        values = {
            "loss": progress.loss / max(progress.supervised, 1),
            "gradient_norm": self.norm,
            "padding": 1 - progress.useful / max(progress.padded, 1),
            "tokens_per_second": round(self.timed / seconds),
        }
        progress.loss, progress.supervised, progress.useful, progress.padded = 0.0, 0, 0, 0
        self.start_clock()
        return values


def must_be_finite(value: float, what: str, examples: Sequence[int] = ()) -> None:
    """Raises InputError, with what to do, if a loss or a norm is infinite or no number."""
    if not math.isfinite(value):
        which = f" (examples {', '.join(map(str, examples))} of train)" if examples else ""
        raise InputError(
            f"{what} is {value}{which}; the checkpoints are from before. Lower --lr, or add --grad-clip or "
            "--warmup-steps"
        )


class Monitor:
    """The log of a run. In a process that does not write, `output` is None and all of it does nothing."""

    def __init__(self, output: Path | None, progress: Progress, tensorboard: bool) -> None:
        self.output = output
        self.board: Any = None
        if output is None:
            self.metrics = open(os.devnull, "w")  # noqa: SIM115
            return
        file = output / "metrics.jsonl"
        self.metrics = open(file, "a")  # noqa: SIM115
        if file.stat().st_size < progress.metrics_size:
            raise InputError(f"{file}: is shorter than when the run was saved; start anew with --overwrite")
        self.metrics.truncate(progress.metrics_size)  # what was done after the save will be done again
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(output / "tensorboard"), purge_step=progress.step + 1)

    def log(self, step: int, epoch: int, **values: float) -> None:
        """A line of metrics.jsonl, a point in each of TensorBoard's curves."""
        self.metrics.write(json.dumps(dict(step=step, epoch=epoch) | values) + "\n")
        self.metrics.flush()
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def tell(self, model: GPT2, topics: int, step: int) -> None:
        """Stories about the same few topics each time, with either ending, from the same random numbers."""
        if self.output is None or not topics:
            return
        model.eval()
        requests = [Request(topic, ending, seed=0) for topic in TOPICS[:topics] for ending in ENDINGS]
        stories = tell_stories(model, requests, Sampling(temperature=0.7))
        model.train()
        text = "\n".join(
            f"--- {topic}  [{ending}]\n{story.text}\n"
            for (topic, ending, _), story in zip(requests, stories, strict=True)
        )
        with whole_file(self.output / "stories" / f"step_{step}.txt") as file:
            file.write_text(text)
        if self.board:
            self.board.add_text("stories", text.replace("\n", "  \n"), step)

    def size(self) -> int:
        """Bytes of metrics.jsonl, all of them on the disk."""
        self.metrics.flush()
        os.fsync(self.metrics.fileno())
        return self.metrics.tell()

    def close(self) -> None:
        self.metrics.close()
        if self.board:
            self.board.close()


def draw_loss(run: Path, picture: Path) -> None:
    """The training and validation loss of a run as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    lines = read_metrics(run)
    for name, style in (("loss", "-"), ("validation_loss", "o")):
        points = [(line["step"], line[name]) for line in lines if name in line]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name.replace("_", " "))
    axes.set(xlabel="optimiser step", ylabel="nats a token", title=f"Fine-tuning, {run}")
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(picture) as file:
        figure.savefig(file, dpi=120, format="png")
