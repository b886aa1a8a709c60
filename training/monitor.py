"""What a run shows of itself: metrics.jsonl, TensorBoard, sample stories, a picture at the end."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import whole_file
from common.presets import ModelConfig
from dataset import ENDINGS, format_instruction, get_tokenizer
from model import GPT2
from training.run_folder import Progress, read_metrics

# Takes a model and what to tell, a topic and an ending each; returns the stories.
TellStories = Callable[[GPT2, Sequence[tuple[str, str]]], list[str]]

TOPICS = (
    "Mia and her little dog look for a lost red ball in the park.",
    "Tom the rabbit wants to bake a cake for his grandma.",
    "A small boat, a big storm and a brave girl named Ella.",
)


def check_room(config: ModelConfig, topics: int) -> None:
    """Raises InputError if the model's context has no room for a story about one of these topics."""
    encode = get_tokenizer(config.vocab_size).encode_ordinary
    for topic, ending in sample_requests(topics):
        prompt = len(encode(format_instruction(topic, ending)))
        if prompt >= config.context_length:
            raise InputError(
                f"--stories {topics}: the model reads {config.context_length} tokens, and the prompt of a "
                f"sample story has {prompt}; add --stories 0"
            )


def sample_requests(topics: int) -> list[tuple[str, str]]:
    """The first so many of TOPICS, each with either ending."""
    return [(topic, ending) for topic in TOPICS[:topics] for ending in ENDINGS]


class Monitor:
    """The log of a run. In a process that does not write, `output` is None and all of it does nothing."""

    def __init__(self, output: Path | None, progress: Progress, tell: TellStories, tensorboard: bool) -> None:
        self.output, self.tell = output, tell
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

    def write_stories(self, model: GPT2, topics: int, step: int) -> None:
        """Stories about the same few topics each time, with either ending, from the same random numbers."""
        if self.output is None or not topics:
            return
        model.eval()
        requests = sample_requests(topics)
        stories = self.tell(model, requests)
        model.train()
        text = "\n".join(
            f"--- {topic}  [{ending}]\n{story}\n"
            for (topic, ending), story in zip(requests, stories, strict=True)
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
