"""The main job on a CUDA GPU: `uv run pytest -m cuda`. The bounds are those that the number formats leave."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import finetune
from common.device import Compute, choose_compute
from common.presets import PRESETS
from common.signals import StopRequest
from dataset import InstructionDataset
from finetune import Settings
from model import GPT2
from tiny import tiny_model
from trainee import torchrun
from training import run_folder
from training.distributed import Ranks
from training.memory import affordable_tokens
from training.trainer import Trainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here"),
]
INDICES = list(range(12))


@pytest.fixture
def rows(data: str) -> InstructionDataset:
    return InstructionDataset("train", 384, data=data, vocab_size=512)


def trainer(rows: InstructionDataset, compute: Compute, dropout: float = 0.0, **settings: object) -> Trainer:
    model = tiny_model(dropout_rate=dropout, embedding_dim=64).to(compute.device)
    given = Settings(micro_batch_tokens=2000, **settings)  # type: ignore[arg-type]
    return Trainer(given, model, rows, total_steps=10, compute=compute, ranks=Ranks())


def gradient(trainer: Trainer) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of a step, and each parameter's gradient, which a learning rate of 0 leaves to look at."""
    batches = trainer.micro_batches(trainer.rows, INDICES)
    loss, _ = trainer.step(0, INDICES, batches, StopRequest())
    parameters = trainer.model.named_parameters()
    return loss.item(), {name: p.grad.cpu() for name, p in parameters if p.grad is not None}


@pytest.mark.parametrize(
    ("dtype", "compiled", "bound"),
    [
        (torch.float32, False, 5e-3),  # TF32: 11 bits
        (torch.bfloat16, False, 5e-2),  # 8 bits
        (torch.bfloat16, True, 5e-2),
        (torch.float16, False, 1e-2),  # 11 bits
        (torch.float16, True, 1e-2),
    ],
)
def test_loss_and_gradient_are_those_of_the_cpu(
    dtype: torch.dtype, compiled: bool, bound: float, rows: InstructionDataset
) -> None:
    if dtype == torch.bfloat16 and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no bfloat16")
    torch.set_float32_matmul_precision("high")
    expected_loss, expected = gradient(trainer(rows, choose_compute("cpu"), lr=0.0))
    compute = Compute(choose_compute("cuda").device, dtype, "")
    loss, found = gradient(trainer(rows, compute, lr=0.0, compile=compiled))
    assert loss == pytest.approx(expected_loss, rel=bound / 10)
    for name, ours in found.items():
        assert (ours - expected[name]).norm() < bound * expected[name].norm() + 1e-7, name


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_waits_for_nothing(clip: float, compiled: bool, rows: InstructionDataset) -> None:
    on_gpu = trainer(rows, choose_compute("cuda"), dropout=0.1, grad_clip=clip, compile=compiled)
    batches = on_gpu.micro_batches(rows, INDICES)
    assert all(part.is_pinned() for batch in batches for part in batch if len(part))
    on_gpu.step(0, INDICES, batches, StopRequest())
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu.step(1, INDICES, batches, StopRequest())
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0), reason="needs flash attention"
)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_is_flash_attention(dropout: float, rows: InstructionDataset) -> None:
    compute = choose_compute("cuda")
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    on_gpu = trainer(rows, compute, dropout=dropout)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where it cannot be
        on_gpu.step(0, INDICES, on_gpu.micro_batches(rows, INDICES), StopRequest())


def figures(output: Path) -> list[list[float]]:
    names = ("loss", "gradient_norm", "validation_loss")
    lines = run_folder.read_metrics(output)
    return [[line["step"], *(line[name] for name in names if name in line)] for line in lines]


def arguments(checkpoint: str, data: str, output: Path, *more: str) -> list[str]:
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--stories", "0"]
    given += ["--batch-size", "4", "--lr", "1e-3", "--log-every", "1", "--device", "cuda", "--epochs", "2"]
    return [*given, *more]


def run(checkpoint: str, data: str, output: Path, *more: str) -> list[list[float]]:
    finetune.main(arguments(checkpoint, data, output, *more))
    return figures(output)


def test_a_run_goes_on_as_if_it_had_not_been_stopped(checkpoint: str, data: str, tmp_path: Path) -> None:
    """To rounding: some kernels add in any order."""
    whole = run(checkpoint, data, tmp_path / "whole")
    run(checkpoint, data, tmp_path / "parts", "--max-steps", "5")
    parts = run(checkpoint, data, tmp_path / "parts", "--resume")
    assert [line[0] for line in parts if len(line) == 3] == [line[0] for line in whole if len(line) == 3]
    assert parts[-1] == pytest.approx(whole[-1], rel=1e-2)


def test_what_does_not_fit_is_one_line_before_the_first_step(
    data: str, tmp_path: Path, complaint: Callable
) -> None:
    GPT2(**vars(PRESETS["30m"].config)).save_pretrained(tmp_path / "base")
    given = ["--checkpoint", tmp_path / "base", "--data", data, "--output", tmp_path / "run"]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2e9 / torch.cuda.mem_get_info()[1])
    try:
        many = ["--batch-size", "128", "--micro-batch-tokens", "65536", "--device", "cuda"]
        line = complaint(finetune.main, *given, *many)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: lower --micro-batch-tokens" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", ["30m", "125m"])
def test_memory_stays_within_the_estimate(size: str, data: str) -> None:
    compute = choose_compute("cuda")
    rows = InstructionDataset("train", 512, data=data)
    model = GPT2(**vars(PRESETS[size].config)).to(compute.device).train()
    free, _ = torch.cuda.mem_get_info()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    largest = Trainer(Settings(batch_size=1024), model, rows, 10, compute, Ranks())
    assert largest.max_tokens == affordable_tokens(compute, model)
    largest.try_largest(512)
    taken = torch.cuda.max_memory_allocated() - before
    assert taken < 12 * sum(p.numel() for p in model.parameters()) + max(0.5 * free, 4e9)
    assert torch.cuda.memory_allocated() - before < 1e8


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_processes_train_as_one(checkpoint: str, data: str, tmp_path: Path) -> None:
    alone = run(checkpoint, data, tmp_path / "alone")
    output = tmp_path / "both"
    done = torchrun(*arguments(checkpoint, data, output)).finish()
    assert done.returncode == 0, done.stderr
    assert figures(output)[-1] == pytest.approx(alone[-1], rel=1e-2)
