"""What a run shows of itself: a bar, metrics.jsonl, TensorBoard, sample stories, a picture at the end.

None of it ends a run: what fails is noted.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.errors import InputError, only_shown
from common.files import whole_file, write_text
from dataset import InstructionDataset, format_instruction, get_tokenizer
from model import GPT2
from training.run_folder import Progress, read_metrics

TOPICS = (
    "Mia and her little dog look for a lost red ball in the park.",
    "Tom the rabbit wants to bake a cake for his grandma.",
    "A small boat, a big storm and a brave girl named Ella.",
)
Requests = Sequence[tuple[str, str]]  # a topic and an ending each
TellStories = Callable[[GPT2, Requests], list[str]]


def sample_requests(count: int, model: GPT2, examples: InstructionDataset) -> Requests:
    """The first so many of TOPICS, each with every ending; for a model without endings, as many prompts of
    `examples`. Raises InputError if the model's context has no room for a story about one of them."""
    endings, tokenizer = model.taught.endings, get_tokenizer(model.config.vocab_size)
    requests = [(topic, ending) for topic in TOPICS[:count] for ending in endings]
    if not endings:
        for number in examples.complete.nonzero()[0][:count].tolist():
            prompt = examples[number]["input_ids"][: examples[number]["prompt_length"]]
            requests.append((tokenizer.decode(prompt.tolist()), ""))
    for topic, ending in requests:
        length = len(tokenizer.encode_ordinary(format_instruction(topic, ending, endings=endings)))
        if length >= model.config.context_length:
            raise InputError(
                f"--stories {count}: the model reads {model.config.context_length} tokens, and the prompt of "
                f"a sample story has {length}; add --stories 0"
            )
    return requests


class Monitor:
    """The log of a run. In a process that does not write, `output` is None and all of it does nothing."""

    def __init__(
        self,
        output: Path | None,
        progress: Progress,
        total_steps: int,
        tell: TellStories,
        tensorboard: bool,
    ) -> None:
        self.output, self.tell = output, tell
        self.board: Any = None
        self.bar = tqdm(
            total=total_steps, initial=progress.step, unit=" steps", desc="train", disable=output is None
        )
        file = Path(os.devnull) if output is None else output / "metrics.jsonl"
        self.metrics = open(file, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
        if output is None:
            return
        if (size := file.stat().st_size) < progress.metrics_size:
            print(f"note: {file}: is shorter than when the run was saved", file=sys.stderr)
        # What was done after the save will be done again.
        self.metrics.truncate(min(size, progress.metrics_size))
        if tensorboard:
            with only_shown("--tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(output / "tensorboard"), purge_step=progress.step + 1)

    @only_shown("progress bar")
    def step_done(self) -> None:
        self.bar.update()

    @only_shown("metrics")
    def log(self, step: int, epoch: int, **values: float | None) -> None:
        """A line of metrics.jsonl, a point in each of TensorBoard's curves, what the bar says. A value that
        is not to be had is None."""
        known = {name: value for name, value in values.items() if value is not None}
        self.metrics.write(json.dumps(dict(step=step, epoch=epoch) | known) + "\n")
        self.metrics.flush()
        if self.board:
            for name, value in known.items():
                self.board.add_scalar(name, value, step)
        if "validation_loss" in known:
            self.bar.write(f"epoch {epoch}: validation loss {known['validation_loss']:.4f}")
        else:
            loss = f"{known['loss']:.3f}" if "loss" in known else "not known"
            self.bar.set_postfix_str(f"loss {loss}, {known['tokens_per_second']:,} tokens/s")

    @only_shown("sample stories")
    def write_stories(self, model: GPT2, requests: Requests, step: int) -> None:
        """The same few stories each time, from the same random numbers."""
        if self.output is None or not requests:
            return
        model.eval()
        try:
            stories = self.tell(model, requests)
        finally:
            model.train()
        text = "\n".join(
            f"--- {topic}  [{ending}]\n{story}\n" if ending else f"--- {topic}\n{story}\n"
            for (topic, ending), story in zip(requests, stories, strict=True)
        )
        with whole_file(self.output / "stories" / f"step_{step}.txt") as file:
            write_text(file, text)
        if self.board:
            self.board.add_text("stories", text.replace("\n", "  \n"), step)

    @only_shown("metrics.jsonl")
    def size(self) -> int:
        """Bytes of metrics.jsonl, all of them on the disk."""
        self.metrics.flush()
        os.fsync(self.metrics.fileno())
        return self.metrics.tell()

    @only_shown("metrics")
    def close(self) -> None:
        self.bar.close()
        self.metrics.close()
        if self.board:
            self.board.close()


@only_shown("picture of the loss")
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
    axes.set(xlabel="optimiser step", ylabel="nats a token")
    axes.set_title(f"Fine-tuning, {run}", parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(picture) as file:
        figure.savefig(file, dpi=120, format="png")
