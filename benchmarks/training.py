"""finetune.py's step against the plain one: useful tokens a second, memory, share of the machine's best.

    uv run python -m benchmarks.training                                      # about ten minutes on two cores
    uv run python -m benchmarks.training --device cuda --model-size 125m --batch-sizes 64

Lengths are drawn from those of 3,316 real stories (token_lengths.json: prompt and story, cut at 512), the
tokens are random, as speed does not depend on them. Both sides take the same batches, each in a process of
its own, in turn; the figures are medians over the rounds. Useful tokens are those that are no padding. Useful
FLOP are those that a step needs however it is computed; they are compared with a large matrix product, in the
same precision and in the same process.
"""

import common.threads  # noqa: F401 (before torch)

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import finetune
from benchmarks import plain_training
from common.cli import parse, run, setting
from common.device import Compute, choose_compute, memory_used, synchronize
from common.errors import InputError
from common.presets import PRESETS, ModelConfig
from common.signals import StopRequest
from dataset import InstructionDataset
from model import GPT2
from training.distributed import Ranks
from training.trainer import Trainer

LENGTHS = Path(__file__).with_name("token_lengths.json")
PROMPT = 45  # tokens
MAX_LENGTH = 512
# Dense bfloat16 FLOP/s of a chip, from its maker's data sheet.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12, "L4": 121e12}


@dataclass(frozen=True)
class Settings:
    model_size: str = setting("30m", "preset", choices=("30m", "125m"))
    batch_sizes: str = setting("8,32,64", "examples in a step, one or more")
    rounds: int = setting(3, "turns of each side", at_least=1)
    steps: int | None = setting(None, "timed steps in a turn; default: 2, on a GPU 20", at_least=1)
    micro_batch_tokens: int | None = setting(None, "as of finetune.py", at_least=512)
    compile: bool = setting(False, "as of finetune.py")
    device: str = setting("auto", "cpu, cuda; auto takes a GPU if there is one")
    side: str | None = setting(None, "one side alone, figures as JSON", choices=("plain", "ours"))
    seed: int = setting(0, "of weights, tokens and lengths", at_least=0)


class RandomExamples(InstructionDataset):
    """Random tokens in examples of given lengths; those of full length were cut."""

    def __init__(self, lengths: "np.ndarray", vocab_size: int, seed: int) -> None:
        self.lengths = lengths
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.tokens = np.random.default_rng(seed).integers(0, vocab_size - 1, self.starts[-1], "uint16")
        self.prompt_lengths = np.full(len(lengths), PROMPT)
        self.complete = lengths < MAX_LENGTH


def useful_flop(config: ModelConfig, lengths: "np.ndarray", supervised: int) -> float:
    """Of a training step: 2 a weight and token forward, twice that backward; embeddings are looked up.

    12 C^2 weights a layer act on every token, the output layer's V C on the supervised ones. Attention takes
    2 C for each query and each key it may see, and as much again for the values.
    """
    L, C, V = config.num_layers, config.embedding_dim, config.vocab_size
    pairs = (lengths * (lengths + 1) / 2).sum()
    forward = 2 * 12 * L * C * C * lengths.sum() + 2 * V * C * supervised + 4 * L * C * pairs
    return float(3 * forward)


def large_product(compute: Compute, size: int = 4096) -> float:
    """FLOP/s of a product of two square matrices, the best of three."""
    if compute.device.type == "cuda":
        size *= 2
    a, b = (torch.randn(size, size, device=compute.device, dtype=compute.dtype) for _ in range(2))
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        a @ b
        synchronize(compute.device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def launches(step: Callable[[], object]) -> int:
    """Kernels that a step starts on a CUDA GPU."""
    with torch.profiler.profile() as profile:
        step()
    return sum(
        event.count for event in profile.key_averages() if event.key.startswith(("cudaLaunch", "cuLaunch"))
    )


def measure(settings: Settings, batch_size: int) -> dict[str, Any]:
    """Time the steps of one side in this process."""
    compute = choose_compute(settings.device)
    torch.set_float32_matmul_precision("high")
    config = PRESETS[settings.model_size].config
    torch.manual_seed(settings.seed)
    model = GPT2(**vars(config)).to(compute.device).train()
    steps = settings.steps or (20 if compute.device.type == "cuda" else 2)
    all_lengths = np.array(json.loads(LENGTHS.read_text()))
    rng = np.random.default_rng(settings.seed)
    lengths = rng.choice(all_lengths, batch_size * steps)
    examples = RandomExamples(lengths, config.vocab_size, settings.seed)
    run_settings = finetune.Settings(
        micro_batch_tokens=settings.micro_batch_tokens, compile=settings.compile, seed=settings.seed
    )
    trainer = Trainer(run_settings, model, examples, steps, compute, Ranks())

    def step(indices: list[int]) -> int:
        """One optimiser step; returns the positions computed, padding counted."""
        if settings.side == "plain":
            plain_training.step(model, trainer.optimizer.adamw, examples, indices, compute)
            return len(indices) * int(lengths[indices].max())
        batches = trainer.micro_batches(examples, indices)
        trainer.step(0, indices, batches, StopRequest())
        return sum(batch.inputs.numel() for batch in batches)

    all_indices = np.arange(len(lengths)).reshape(steps, batch_size).tolist()
    warm_up = all_indices if compute.device.type == "cuda" else [all_indices[0][:2]]
    for indices in warm_up:
        step(indices)
    products = [large_product(compute)]
    synchronize(compute.device)
    started = time.perf_counter()
    padded = sum(map(step, all_indices))
    synchronize(compute.device)
    seconds = time.perf_counter() - started
    products.append(large_product(compute))
    best = statistics.median(products)
    useful = int(lengths.sum())
    flop = useful_flop(config, lengths, int(examples.supervised_tokens().sum()))
    gpu = torch.cuda.get_device_name(compute.device) if compute.device.type == "cuda" else ""
    peak = next((peak for chip, peak in PEAKS.items() if chip in gpu), None)
    return {
        "tokens_per_second": useful / seconds,
        "padding": 1 - useful / padded,
        "memory_gb": memory_used(compute.device),
        "share": flop / seconds / best,
        "mfu": peak and flop / seconds / peak,
        "product": best,
        "launches": launches(lambda: step(all_indices[0])) if compute.device.type == "cuda" else None,
        "compute": compute.reason,
    }


def turn(argv: list[str], side: str, batch_size: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", *argv, "--side", side]
    done = subprocess.run([*command, "--batch-sizes", str(batch_size)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{side} at batch size {batch_size}: failed")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    try:
        sizes = [int(size) for size in settings.batch_sizes.split(",")]
    except ValueError as error:
        raise InputError(f"--batch-sizes {settings.batch_sizes}: numbers, as 8,32,64") from error
    if settings.side is not None:
        print(json.dumps(measure(settings, sizes[0])))
        return
    arguments = sys.argv[1:] if argv is None else argv
    config = PRESETS[settings.model_size].config
    print(f"{'batch':>5}  {'side':5} {'tokens/s':>9} {'padding':>8} {'memory':>9} {'of the product':>15}")
    for size in sizes:
        # logits, their log-softmax, and the gradient of each
        needed = 4 * 4 * config.vocab_size * size * MAX_LENGTH
        sides = ("plain", "ours") if needed < memory(settings.device) else ("ours",)
        rounds = [{side: turn(arguments, side, size) for side in sides} for _ in range(settings.rounds)]
        if "plain" not in sides:
            print(
                f"{size:5}  plain does not fit: {needed / 1e9:.0f} GB for logits, log-softmax and gradients"
            )
        for side in sides:
            print(f"{size:5}  {side:5} {row(rounds, side)}")
    last = rounds[-1]["ours"]
    print(f"{settings.model_size}, {last['compute']}; the product: {last['product'] / 1e12:.2f} TFLOP/s")


def row(rounds: list[dict[str, Any]], side: str) -> str:
    """The medians of a side, and of how many times as fast as the plain one it was."""
    names = ("tokens_per_second", "padding", "memory_gb", "share")
    speed, padding, gigabytes, share = (
        statistics.median(turn[side][name] for turn in rounds) for name in names
    )
    text = f"{speed:9,.0f} {padding:8.1%} {gigabytes:6.2f} GB {share:15.1%}"
    if side == "ours" and "plain" in rounds[0]:
        speeds = [turn["ours"]["tokens_per_second"] / turn["plain"]["tokens_per_second"] for turn in rounds]
        memory = statistics.median(turn["plain"]["memory_gb"] for turn in rounds)
        text += f"  {statistics.median(speeds):.2f} x the speed, 1/{memory / gigabytes:.1f} of the memory"
    if rounds[0][side]["mfu"]:
        text += f"  {statistics.median(turn[side]['mfu'] for turn in rounds):.1%} of the peak"
    if rounds[0][side]["launches"]:
        text += f"  {rounds[0][side]['launches']:,} launches a step"
    return text


def memory(device: str) -> int:
    """Bytes that a process may take."""
    compute = choose_compute(device)
    if compute.device.type == "cuda":
        return torch.cuda.mem_get_info(compute.device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    run(main)
