"""Fine-tune a pre-trained model on the balanced instructions: a plain PyTorch AdamW loop, GPUs or a CPU.

    uv run python finetune.py --model-size 30m --epochs 5 --batch-size 64
    uv run torchrun --nproc-per-node=2 finetune.py --model-size 30m --epochs 5 --batch-size 64

Writes checkpoints/sft_30M_model/ (see training/run_folder.py). A run that was stopped, by whatever, goes on
with the same command and --resume, and ends as if it had not been stopped.
"""

import common.threads  # noqa: F401 (before torch)

import contextlib
import functools
import math
import shlex
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.cli import parse, run, setting
from common.device import Compute, choose_compute, memory_used
from common.errors import InputError, one_line, only_shown
from common.presets import PRESETS
from common.signals import Ended, StopRequest
from generate import choose_token
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import GPT2
from sharing.cards import loss_table
from sharing.push import BackgroundPush, check_write_access, push
from training import run_folder
from training.batches import MicroBatch, ahead
from training.distributed import Ranks
from training.dry_run import estimate
from training.dry_run import tell as tell_estimate
from training.loss import compute_loss
from training.memory import is_out_of_memory
from training.monitor import Monitor, Requests, draw_loss, sample_requests
from training.run_folder import Progress
from training.step_statistics import StepStatistics, must_be_finite
from training.trainer import Trainer, learning_rate, validation_loss

__all__ = ["Settings", "compute_loss", "main"]


@dataclass(frozen=True)
class Settings:
    model_size: str = setting(
        "30m", "preset: where the base model is, and the number of epochs", choices=tuple(PRESETS)
    )
    checkpoint: str | None = setting(None, "another base: a folder, a .pt or .safetensors file, a Hub id")
    data: str | None = setting(
        None,
        "folder from prepare_data.py, file of stories, or Hub id; default: the local one, else the published",
    )
    output: str | None = setting(
        None, "folder to write; default: checkpoints/sft_30M_model, or as the size is"
    )
    overwrite: bool = setting(
        False, "replace the run in the output folder, once the new one is saved; other files stay"
    )
    resume: bool = setting(False, "go on with the run in the output folder where it was last saved")
    epochs: int | None = setting(None, "passes over the training split; default: the preset's", at_least=1)
    max_steps: int | None = setting(None, "stop after this many optimiser steps", at_least=1)
    batch_size: int = setting(8, "examples in an optimiser step", at_least=1, at_most=65536)
    micro_batch_tokens: int | None = setting(
        None, "most tokens that go through the model at once; default: what the memory allows", at_least=1
    )
    lr: float = setting(5e-5, "learning rate, the highest one under a schedule", at_least=0)
    schedule: str = setting("constant", "of the learning rate after warm-up", choices=("constant", "cosine"))
    warmup_steps: int = setting(0, "steps in which the learning rate rises from 0", at_least=0)
    weight_decay: float = setting(0.1, "AdamW's, of the weights of linear layers", at_least=0)
    grad_clip: float = setting(0.0, "largest norm of the gradient; 0: not clipped", at_least=0)
    max_length: int | None = setting(None, "tokens of an example; default: the model's context", at_least=2)
    loss_on: str = setting(
        "all", "learn instruction and story, or the story alone", choices=("all", "response")
    )
    log_every: int = setting(10, "steps between two lines of metrics.jsonl", at_least=1)
    save_every: int | None = setting(None, "steps between two saves; every epoch is saved anyway", at_least=1)
    save_minutes: float = setting(15.0, "minutes after which to save in any case; 0: not by time", at_least=0)
    keep_epochs: int | None = setting(
        None, "of epoch_N/, keep the last N; best/ and last/ stay; default: all", at_least=0
    )
    stories: int = setting(2, "topics to tell stories about at every validation", at_least=0, at_most=3)
    tensorboard: bool = setting(False, "write curves and stories for TensorBoard, too")
    seed: int = setting(0, "seed of the data order and of dropout", at_least=0, at_most=2**32 - 1)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")
    compile: bool = setting(False, "compile the model: minutes at the start, faster steps after")
    push_to_hub: str | None = setting(None, "repo to send best/ (or last/) to, namespace/name; default: none")
    push_every: int = setting(0, "epochs after which to send last/ there meanwhile; 0: not", at_least=0)
    dry_run: bool = setting(False, "tell what the run takes: steps, memory, disk and minutes; write nothing")


def tell_samples(stop: StopRequest, model: GPT2, requests: Requests) -> list[str]:
    """Stories for the monitor, always from the same random numbers.

    Raises Ended."""

    def choose(*logits: Any) -> Tensor:
        stop.check()
        return choose_token(*logits)

    asked = [Request(topic, ending, seed=0) for topic, ending in requests]
    return [story.text for story in tell_stories(model, asked, Sampling(temperature=0.7), choose)]


def train(settings: Settings, output: Path, compute: Compute, ranks: Ranks, go_on: str) -> None:
    """Train and save. From the first step on, whatever ends it but SIGKILL leaves a run that goes on by
    `go_on`, a command."""
    with ranks.first():  # rank 0 fetches and tokenises, the others find it done
        model, examples, report, state = run_folder.load_run(settings, output, compute.device)
        if settings.push_to_hub is not None and ranks.rank == 0:
            check_write_access(settings.push_to_hub, "model")
    print(f"model: {report['base']['name']}, {report['model']['parameters'] / 1e6:.1f}M parameters")
    for split, rows in examples.items():
        cut = ~rows.complete
        whole = (rows.prompt_lengths == rows.lengths)[cut].sum()
        without = f" ({whole:,} before the story begins)" if whole else ""
        print(
            f"data: {len(rows):,} examples for {split}"
            + (
                f", {cut.sum():,} of them cut{without}: --max-length is {rows.max_length}"
                if cut.any()
                else ""
            )
        )
        if not rows.supervised_tokens(settings.loss_on).any():
            raise InputError(
                f"--max-length {rows.max_length}: leaves nothing to learn of {split} with --loss-on "
                f"{settings.loss_on}; raise it"
            )

    rows = examples["train"]
    steps_an_epoch = math.ceil(len(rows) / settings.batch_size)
    total_steps = run_folder.total_steps(report)
    if settings.warmup_steps >= total_steps:
        print(f"note: --warmup-steps {settings.warmup_steps}: the run ends before the warm-up does")
    progress: Progress = state["progress"] if state else Progress()
    if settings.resume:
        print(f"resume: {progress.step:,} of {total_steps:,} steps are done")
    if progress.step > total_steps:
        raise InputError(f"--resume: {progress.step:,} steps are done, more than the {total_steps:,} wanted")
    trainer = Trainer(settings, model, rows, total_steps, compute, ranks)
    if state:
        trainer.optimizer.load_state_dict(state)
    samples = sample_requests(settings.stories, model, examples.get("validation", rows))
    if settings.push_every and not settings.push_to_hub:
        raise InputError("--push-every: where to? add --push-to-hub")
    if compute.device.type != "cpu":
        trainer.try_largest(rows.max_length)
    validation: list[MicroBatch] = []
    if "validation" in examples:
        validation = trainer.micro_batches(examples["validation"], range(len(examples["validation"])))
        validation_loss(trainer.supervised, validation[:2], compute, ranks)  # what is broken fails now

    if settings.dry_run:
        steps = range(progress.step, total_steps)
        if steps:
            tell_estimate(estimate(report, steps, trainer, examples), output)
        else:
            print("nothing is left to do")
        return

    if ranks.rank == 0:
        run_folder.begin(output, report, anew=not progress.step)
    stop = StopRequest(alone=ranks.size == 1)
    tell = functools.partial(tell_samples, stop)
    monitor = Monitor(output if ranks.rank == 0 else None, progress, total_steps, tell, settings.tensorboard)
    may_skip = trainer.optimizer.may_skip
    statistics = StepStatistics(progress, ranks, rows.lengths, trainer.supervised_tokens, may_skip)
    pushes = None
    if settings.push_to_hub and settings.push_every and ranks.rank == 0:
        pushes = BackgroundPush(settings.push_to_hub)
    saved, saved_at = replace(progress), time.monotonic()

    def save(*checkpoints: str) -> None:
        nonlocal saved, saved_at
        statistics.collect()  # raises InputError before anything that is not finite is saved
        with ranks.first():
            if ranks.rank == 0:
                progress.metrics_size = monitor.size() or progress.metrics_size
                run_folder.save(output, [*checkpoints, "last"], report, model, trainer.optimizer, progress)
        saved, saved_at = replace(progress), time.monotonic()
        statistics.start_clock()

    def end(error: BaseException) -> None:
        """Save what was done, and say how far that is. Processes that do not end together cannot save, and
        what is not finite is not saved: the last save stands."""
        stopped = isinstance(error, Ended)
        if is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # what they hold is in the way of a save
        if progress.step > saved.step and (
            stopped or (ranks.size == 1 and not isinstance(error, InputError))
        ):
            progress.validated, progress.best = saved.validated, saved.best  # to be done again
            with only_shown("the last save"):
                save()
        said = f"saved after step {saved.step:,}; go on with {go_on}" if saved.step else "nothing was saved"
        monitor.close()
        if stopped:
            print(said)
        else:
            error.add_note(said)

    first_epoch, last_epoch = (math.ceil(step / steps_an_epoch) for step in (progress.step, total_steps))
    with stop, contextlib.closing(monitor):
        try:
            for epoch in range(max(first_epoch, 1), last_epoch + 1):
                epoch_end = epoch * steps_an_epoch
                steps = range(progress.step, min(epoch_end, total_steps))
                for step, (indices, batches) in zip(steps, ahead(trainer.prepare, steps), strict=True):
                    loss_sum, norm = trainer.step(step, indices, batches, stop)
                    progress.step = step + 1
                    stop.waits = True  # from here on there is something to save
                    monitor.step_done()

                    statistics.add(indices, batches, loss_sum, norm)
                    if progress.step % settings.log_every == 0 or progress.step == total_steps:
                        memory = memory_used(compute.device)
                        rate = learning_rate(step, total_steps, settings)
                        monitor.log(progress.step, epoch, **statistics.line(), lr=rate, memory_gb=memory)
                    late = 0 < 60 * settings.save_minutes <= time.monotonic() - saved_at
                    stopping, saving = ranks.any(stop.signal is not None, late)
                    if stopping:
                        raise Ended(stop.signal or signal.SIGTERM)
                    if saving or (settings.save_every and progress.step % settings.save_every == 0):
                        save()

                if progress.validated < progress.step:
                    names = [f"epoch_{epoch}"] if progress.step == epoch_end else []
                    if ranks.size > 1:
                        save()  # they cannot leave a validation together
                    statistics.collect()
                    if validation:
                        loss = validation_loss(trainer.supervised, stop.between(validation), compute, ranks)
                        must_be_finite(loss, f"step {progress.step}: the validation loss")
                        names += ["best"] * (loss < progress.best)
                    monitor.write_stories(model, samples, progress.step)
                    if validation:
                        monitor.log(progress.step, epoch, validation_loss=loss)
                        progress.best = min(loss, progress.best)
                    progress.validated = progress.step
                    save(*names)
                    if pushes and epoch % settings.push_every == 0:
                        pushes.start(output / "last")
        except BaseException as error:
            end(error)
            raise

    if ranks.rank == 0:
        draw_loss(output, output / "loss.png")
        with only_shown("the table of losses"):
            print(loss_table(run_folder.read_metrics(output), progress.step, settings.log_every))
        print(f"checkpoints in {output}")
        if pushes:
            pushes.wait()
        if settings.push_to_hub is not None:
            best = output / "best"
            push(best if best.is_dir() else output / "last", settings.push_to_hub, "model")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    ranks = Ranks.here()
    compute = choose_compute(settings.device, ranks.local_rank)
    torch.set_float32_matmul_precision("high")  # TF32 where a GPU computes in float32
    label = PRESETS[settings.model_size].label
    output = Path(f"checkpoints/sft_{label}_model" if settings.output is None else settings.output)
    go_on = "the same command and --resume"
    if argv is not None:  # another script's
        go_on = f"uv run python finetune.py {shlex.join(argv)} --resume"
    if ranks.rank == 0:
        print(f"compute: {compute.reason}" + (f", in {ranks.size} processes" if ranks.size > 1 else ""))
        gpus = torch.cuda.device_count() if compute.device.type == "cuda" else 0
        if gpus > ranks.size and settings.device in ("auto", "cuda"):
            options = shlex.join(sys.argv[1:] if argv is None else argv)
            command = f"uv run torchrun --nproc-per-node={gpus} finetune.py {options}"
            print(f"note: this machine has {gpus} GPUs, and this run uses {ranks.size}; all: {command}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(ranks.connected(compute.device))
        if ranks.rank == 0 and not settings.dry_run:
            stack.enter_context(run_folder.claimed(output, settings.resume, settings.overwrite))
        try:
            train(settings, output, compute, ranks, go_on)
        except Exception as error:
            if is_out_of_memory(error):
                raise InputError(
                    "out of memory: lower --micro-batch-tokens (the result is the same) or --max-length, or "
                    f"end what else is on the GPU, by nvidia-smi ({one_line(error)})"
                ) from error
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise InputError(
                    f"--compile: cannot be done here; leave it out ({one_line(error)})"
                ) from error
            raise


if __name__ == "__main__":
    run(main)
