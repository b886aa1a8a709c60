"""Fine-tune a pre-trained model on the balanced instructions: a plain PyTorch AdamW loop, one GPU or a CPU.

    uv run python finetune.py --model-size 30m --epochs 5 --batch-size 64

Writes checkpoints/sft_{30M}_model/: epoch_N/ after every epoch, best/ (lowest validation loss), last/,
run.json (settings, versions, data) and metrics.jsonl (a line a logged step). Ctrl-C leaves a usable last/.
"""

import functools
import itertools
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import hub
from cards import model_card
from cli import InputError, parse, run, setting
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn, default_data, load_data, locate_data
from device import Compute, choose_compute
from files import make_writable, whole_file, whole_folder
from model import GPT2, PRESETS, base_checkpoint, load_model, locate

Examples = dict[str, InstructionDataset]  # by split


@dataclass(frozen=True)
class Settings:
    model_size: str = setting(
        "30m", "preset: where the base model is, and the number of epochs", choices=tuple(PRESETS)
    )
    checkpoint: str | None = setting(None, "another base: a folder, a .pt or .safetensors file, a Hub id")
    data: str | None = setting(
        None, "folder from prepare_data.py, or a Hub id; default: the local one, else the published"
    )
    output: str | None = setting(None, "folder to write; default: checkpoints/sft_{size}_model")
    overwrite: bool = setting(False, "replace the run in an output folder that is there")
    epochs: int | None = setting(None, "passes over the training split; default: the preset's", at_least=1)
    max_steps: int | None = setting(None, "stop after this many optimiser steps", at_least=1)
    batch_size: int = setting(8, "examples in an optimiser step", at_least=1, at_most=65536)
    lr: float = setting(5e-5, "learning rate, the highest one under a schedule", at_least=0)
    schedule: str = setting("constant", "of the learning rate after warm-up", choices=("constant", "cosine"))
    warmup_steps: int = setting(0, "steps in which the learning rate rises from 0", at_least=0)
    weight_decay: float = setting(0.1, "AdamW's", at_least=0)
    grad_clip: float | None = setting(None, "largest norm of the gradient; default: not clipped", at_least=0)
    max_length: int | None = setting(None, "tokens of an example; default: the model's context", at_least=2)
    loss_on: str = setting(
        "all", "learn instruction and story, or the story alone", choices=("all", "response")
    )
    log_every: int = setting(10, "steps between two lines of metrics.jsonl", at_least=1)
    seed: int = setting(0, "seed of the data order and of dropout", at_least=0, at_most=2**32 - 1)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")
    push_to_hub: str | None = setting(None, "repo to send best/ (or last/) to, namespace/name; default: none")


def supervised(model: GPT2, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs, labels (B, T) int64 -> logits (N, V), labels (N,) of the N supervised tokens.

    The others, prompt and padding, are spared the output layer, which is most of the work of a small model.
    """
    kept = labels != IGNORE_INDEX
    return model.output_layer(model.hidden(inputs)[kept]), labels[kept]


def loss_sum(model_output: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> tuple[Tensor, Tensor]:
    """Logits (..., V), labels (...) int64 -> summed cross-entropy (nats), number of supervised tokens."""
    total = F.cross_entropy(
        model_output.flatten(0, -2).float(), labels.flatten(), ignore_index=ignore_index, reduction="sum"
    )
    return total, (labels != ignore_index).sum()


def compute_loss(model_output: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Logits (B, T, V), labels (B, T) int64 -> mean cross-entropy of the supervised tokens, nats."""
    total, count = loss_sum(model_output, labels, ignore_index)
    return total / count.clamp(min=1)


def must_be_finite(loss: float, step: int) -> float:
    """The loss. Raises InputError if it is infinite or no number: nothing good can be saved from there on."""
    if not math.isfinite(loss):
        raise InputError(f"step {step}: the loss is {loss}; lower --lr, or add --grad-clip or --warmup-steps")
    return loss


def learning_rate(step: int, total_steps: int, settings: Settings) -> float:
    """Of optimiser step `step` (from 0): a linear warm-up, then constant, or half a cosine down to 0."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.lr
    progress = (step - settings.warmup_steps) / max(total_steps - settings.warmup_steps, 1)
    return settings.lr * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def validation_loss(model: GPT2, batches: Iterable[dict[str, Tensor]], compute: Compute) -> float:
    """Mean loss over all supervised tokens, nats a token, however they are split into batches."""
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=compute.device)
    count = torch.zeros((), dtype=torch.int64, device=compute.device)
    for inputs, labels in on_device(batches, compute):
        with compute.autocast():
            batch_total, batch_count = loss_sum(*supervised(model, inputs, labels))
        total += batch_total
        count += batch_count
    model.train()
    return (total / count.clamp(min=1)).item()


def on_device(batches: Iterable[dict[str, Tensor]], compute: Compute) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        inputs = batch["input_ids"].to(compute.device, non_blocking=True)
        labels = batch["labels"].to(compute.device, non_blocking=True)
        yield inputs, labels


def save(model: GPT2, folder: Path, card: str) -> None:
    """Write model.safetensors, config.json and the card as one folder that appears whole."""
    with whole_folder(folder) as temporary:
        (temporary / "README.md").write_text(card)
        model.save_pretrained(temporary)


def run_report(
    settings: Settings, model: GPT2, base: dict[str, Any], data: dict[str, Any], examples: Examples
) -> dict[str, Any]:
    """What run.json holds: all that is needed to tell how a model came about."""
    return {
        "settings": asdict(settings),
        "base": base,
        "model": asdict(model.config) | {"parameters": sum(p.numel() for p in model.parameters())},
        "data": data
        | {
            split: {"examples": len(rows), "fingerprint": rows.fingerprint}
            for split, rows in examples.items()
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "host": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "gpu": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else None,
        },
    }


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def remove_run(output: Path) -> None:
    """Remove the checkpoints of an earlier run, so that they are never taken for the new one's."""
    for folder in (*output.glob("epoch_*"), output / "best", output / "last"):
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    preset = PRESETS[settings.model_size]
    output = Path(f"checkpoints/sft_{preset.label}_model" if settings.output is None else settings.output)
    if output.exists() and any(output.iterdir()) and not settings.overwrite:
        raise InputError(f"--output {output}: holds a run already; name another, or add --overwrite")
    make_writable(output)
    compute = choose_compute(settings.device)
    print(f"compute: {compute.reason}")
    torch.manual_seed(settings.seed)
    torch.set_float32_matmul_precision("high")

    base = base_checkpoint(settings.model_size) if settings.checkpoint is None else settings.checkpoint
    base_file = locate(base)
    model = load_model(base_file, compute.device)
    context = model.config.context_length
    max_length = settings.max_length or context
    if max_length > context:
        raise InputError(f"--max-length {max_length}: the model reads at most {context} tokens")
    source = default_data() if settings.data is None else settings.data
    data_folder = locate_data(source)
    data = load_data(source, data_folder)
    vocab_size = model.config.vocab_size
    examples: Examples = {
        split: InstructionDataset(split, max_length, data=data, vocab_size=vocab_size)
        for split in ("train", "validation")
        if split in data
    }
    collate = functools.partial(custom_collate_fn, pad_token_id=vocab_size - 1, loss_on=settings.loss_on)
    batches: Any = functools.partial(
        DataLoader,
        batch_size=settings.batch_size,
        collate_fn=collate,
        pin_memory=compute.device.type == "cuda",
    )
    print(f"model: {base}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters")
    print("data: " + ", ".join(f"{len(rows):,} examples for {split}" for split, rows in examples.items()))

    if settings.push_to_hub is not None:
        hub.check_write_access(settings.push_to_hub, "model")

    epochs = settings.epochs or preset.epochs
    steps_an_epoch = math.ceil(len(examples["train"]) / settings.batch_size)
    total_steps = min(epochs * steps_an_epoch, settings.max_steps or epochs * steps_an_epoch)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    if "validation" in examples:  # what is broken in it fails now, not after an epoch
        validation_loss(model, itertools.islice(batches(examples["validation"]), 2), compute)
    report = run_report(
        settings,
        model,
        {"name": base, "commit": base_file.parent.name if hub.is_name(base) else None},
        {"name": source, "commit": data_folder.name if hub.is_name(source) else None},
        examples,
    )
    remove_run(output)
    with whole_file(output / "run.json") as file:
        file.write_text(json.dumps(report, indent=2) + "\n")
    metrics = open(output / "metrics.jsonl", "w", buffering=1)  # noqa: SIM115

    step, epoch, best, loss = 0, 0, math.inf, None
    order = torch.Generator().manual_seed(settings.seed)
    window_loss = torch.zeros((), device=compute.device)  # summed since the last log point
    window_tokens = torch.zeros((), dtype=torch.int64, device=compute.device)  # supervised ones
    progress = tqdm(total=total_steps, unit=" steps", desc="train")
    try:
        for epoch in range(1, epochs + 1):
            model.train()
            started = time.perf_counter()
            for inputs, labels in on_device(
                batches(examples["train"], shuffle=True, generator=order), compute
            ):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, total_steps, settings)
                with compute.autocast():
                    total, count = loss_sum(*supervised(model, inputs, labels))
                (total / count.clamp(min=1)).backward()
                if settings.grad_clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                progress.update()
                window_loss += total.detach()
                window_tokens += count
                if step % settings.log_every == 0 or step == total_steps:
                    tokens = int(window_tokens)
                    speed = tokens / (time.perf_counter() - started)
                    mean = must_be_finite(window_loss.item() / max(tokens, 1), step)
                    lr = optimizer.param_groups[0]["lr"]
                    line = dict(step=step, epoch=epoch, loss=mean, lr=lr, tokens_per_second=round(speed))
                    metrics.write(json.dumps(line) + "\n")
                    progress.set_postfix_str(f"loss {mean:.3f}, {speed:,.0f} tokens/s")
                    window_loss.zero_()
                    window_tokens.zero_()
                    started = time.perf_counter()
                if step == total_steps:
                    break
            if "validation" in examples:
                loss = must_be_finite(validation_loss(model, batches(examples["validation"]), compute), step)
                metrics.write(json.dumps(dict(step=step, epoch=epoch, validation_loss=loss)) + "\n")
                progress.write(f"epoch {epoch}: validation loss {loss:.4f}")
            card = model_card(report, read_metrics(output), step)
            if step == epoch * steps_an_epoch:
                save(model, output / f"epoch_{epoch}", card)
            save(model, output / "last", card)
            if loss is not None and loss < best:
                best = loss
                save(model, output / "best", card)
            if step == total_steps:
                break
    except KeyboardInterrupt:
        save(model, output / "last", model_card(report, read_metrics(output), step))
        print(f"\nstopped at step {step}; the weights are in {output / 'last'}")
        raise
    finally:
        progress.close()
        metrics.close()
    print(f"checkpoints in {output}")
    if settings.push_to_hub is not None:
        finished = output / "best"
        hub.push(finished if finished.is_dir() else output / "last", settings.push_to_hub, "model")


if __name__ == "__main__":
    run(main)
