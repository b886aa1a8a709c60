import contextlib
import functools
import itertools
import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

import finetune
from clean_environment import ROOT
from common.device import Compute, choose_compute
from common.signals import StopRequest
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn, load_data
from finetune import Settings, compute_loss
from hub_user import complaint_of
from model import GPT2, load_model
from tiny import tiny_model
from training import run_folder, trainer
from training.batches import MicroBatch, micro_batches
from training.distributed import Ranks
from training.trainer import Supervised, Trainer, add_gradient, learning_rate, validation_loss

CPU = choose_compute("cpu")
ALONE = Ranks()


@pytest.fixture(scope="module")
def rows(data: str) -> InstructionDataset:
    return InstructionDataset("train", 384, data=data, vocab_size=512)


def gathered(rows: InstructionDataset, groups: list[list[int]]) -> list[MicroBatch]:
    """A micro-batch of each group, whatever its size."""
    return [
        batch
        for group in groups
        for batch in micro_batches(rows, group, 10**9, overhead=10**9, pad_token_id=511)
    ]


def gradient(model: GPT2, batches: list[MicroBatch], tokens: int) -> tuple[float, Tensor]:
    model.zero_grad()
    total = add_gradient(Supervised(model), batches, tokens, CPU, ALONE, StopRequest())
    return total.item() / tokens, torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


def cut(indices: list[int], pieces: int, rng: random.Random) -> list[list[int]]:
    """`indices` in so many parts of random size."""
    ends = sorted(rng.sample(range(1, len(indices)), pieces - 1))
    return [indices[a:b] for a, b in itertools.pairwise([0, *ends, len(indices)])]


def test_loss_and_gradient_do_not_depend_on_how_a_step_is_split(
    checkpoint: str, rows: InstructionDataset
) -> None:
    model = load_model(checkpoint)
    rng = random.Random(0)
    indices = [rng.randrange(len(rows)) for _ in range(64)]
    by_length = sorted(indices, key=lambda i: int(rows.lengths[i]))
    tokens = int(rows.supervised_tokens()[indices].sum())

    batch = custom_collate_fn([rows[i] for i in indices], pad_token_id=511)
    plain = compute_loss(model(batch["input_ids"]), batch["labels"])
    plain.backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
    splits = {
        "whole": [indices],
        "single": [[i] for i in indices],
        "uneven": cut(indices, 7, rng),
        "sorted": cut(by_length, 7, rng),
    }
    for name, groups in splits.items():
        batches = gathered(rows, groups)
        assert len(batches) == len(groups), name
        loss, found = gradient(model, batches, tokens)
        assert loss == pytest.approx(plain.item(), rel=1e-6), name
        assert (found - expected).norm() < 1e-5 * expected.norm(), name


def test_micro_batches_of_any_size_train_alike(checkpoint: str, data: str, tmp_path: Path) -> None:
    """Through the command line. Adam moves a weight whose gradient is all rounding as far as any other, so
    what the steps did is compared, not every weight."""
    runs = [
        train(checkpoint, data, tmp_path / tokens, "--epochs", "2", "--micro-batch-tokens", tokens)
        for tokens in ("1", "700", "1000000")
    ]
    for lines in zip(*runs, strict=True):
        for name in {"loss", "gradient_norm", "validation_loss"} & lines[0].keys():
            for line in lines[1:]:
                assert line[name] == pytest.approx(lines[0][name], rel=1e-4)


def test_validation_loss_does_not_depend_on_the_split(checkpoint: str, rows: InstructionDataset) -> None:
    model = load_model(checkpoint)
    loss = functools.partial(validation_loss, Supervised(model), compute=CPU, ranks=ALONE)
    indices = list(range(len(rows)))
    whole = loss(gathered(rows, [indices]))
    batch = custom_collate_fn([rows[i] for i in indices], pad_token_id=511)
    with torch.no_grad():
        assert whole == pytest.approx(compute_loss(model(batch["input_ids"]), batch["labels"]).item())
    assert loss(gathered(rows, [[i] for i in indices])) == pytest.approx(whole, rel=1e-6)
    assert loss(gathered(rows, cut(indices, 7, random.Random(1)))) == pytest.approx(whole, rel=1e-6)


def test_validation_loss_is_the_same_with_every_batch_size(
    checkpoint: str, data: str, tmp_path: Path
) -> None:
    losses = [
        train(checkpoint, data, tmp_path / size, "--lr", "0", "--max-steps", "1", "--batch-size", size)[-1]
        for size in ("1", "3")
    ]
    assert losses[0]["validation_loss"] == losses[1]["validation_loss"]


def test_the_last_smaller_batch_of_an_epoch_counts(checkpoint: str, data: str, tmp_path: Path) -> None:
    examples = len(load_data(data)[0]["train"])
    size = examples - 1
    lines = train(checkpoint, data, tmp_path / "run", "--epochs", "1", "--batch-size", str(size))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 2
    with_one_step = train(checkpoint, data, tmp_path / "one", "--max-steps", "1", "--batch-size", str(size))
    assert losses[0] == with_one_step[0]["loss"]
    assert weights(tmp_path / "run" / "last") != weights(tmp_path / "one" / "last")


def test_ignored_positions_never_reach_the_output_layer(
    checkpoint: str, rows: InstructionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(hidden: Tensor, layer: torch.nn.Linear, labels: Tensor, compiled: bool) -> Tensor:
        seen.append(len(hidden))
        assert (labels != IGNORE_INDEX).all()
        return summed(hidden, layer, labels, compiled)

    summed = trainer.summed_loss
    monkeypatch.setattr(trainer, "summed_loss", watched)
    indices = list(range(6))
    for loss_on in ("all", "response"):
        tokens = rows.supervised_tokens(loss_on)[indices].sum()
        batches = list(micro_batches(rows, indices, 1000, pad_token_id=511, loss_on=loss_on))
        gradient(load_model(checkpoint), batches, int(tokens))
        assert sum(seen) == tokens
        seen.clear()


def test_learning_rate_warms_up_then_stays_or_follows_half_a_cosine() -> None:
    plain = Settings(lr=1.0)
    assert [learning_rate(step, 10, plain) for step in (0, 9)] == [1.0, 1.0]
    cosine = Settings(lr=1.0, warmup_steps=4, schedule="cosine")
    assert [learning_rate(step, 12, cosine) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert learning_rate(4, 12, cosine) == 1.0
    assert learning_rate(8, 12, cosine) == pytest.approx(0.5)
    assert learning_rate(11, 12, cosine) == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)


def train(checkpoint: str, data: str, output: Path, *more: str) -> list[dict]:
    arguments = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--lr", "1e-3"]
    finetune.main([*arguments, "--batch-size", "4", "--log-every", "1", "--stories", "0", *more])
    return run_folder.read_metrics(output)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_writes_what_the_design_promises(checkpoint: str, data: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    lines = train(checkpoint, data, output, "--epochs", "3")
    assert {path.name for path in output.iterdir()} == {
        *("epoch_1", "epoch_2", "epoch_3", "best", "last", "run.json", "metrics.jsonl"),
        *("training_state.pt", "loss.png"),
    }
    losses = [line["loss"] for line in lines if "loss" in line]
    validation = [line["validation_loss"] for line in lines if "validation_loss" in line]
    assert losses[-1] < losses[0] - 0.5
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, len(losses) + 1))
    best = validation.index(min(validation)) + 1
    assert weights(output / "best") == weights(output / f"epoch_{best}")
    assert weights(output / "last") == weights(output / "epoch_3") != weights(output / "epoch_1")
    assert load_model(output / "last").config.vocab_size == 512
    card = (output / "epoch_3" / "README.md").read_text()
    assert f"{validation[2]:.4f}" in card
    report = json.loads((output / "run.json").read_text())
    assert report["settings"]["batch_size"] == 4
    assert report["data"]["name"] == data
    assert report["data"]["train"]["examples"] == len(load_data(data)[0]["train"])
    assert len(report["data"]["train"]["fingerprint"]) == 16
    assert not [path for path in output.rglob(".*")]


def test_the_same_command_gives_the_same_weights_and_another_seed_others(
    checkpoint: str, data: str, tmp_path: Path
) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        train(checkpoint, data, tmp_path / name, "--max-steps", "3", "--seed", seed)
    assert weights(tmp_path / "a" / "last") == weights(tmp_path / "b" / "last")
    assert weights(tmp_path / "a" / "last") != weights(tmp_path / "c" / "last")


def test_batches_reach_the_loss_as_the_settings_say(
    checkpoint: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask again where it is used: the first step's tokens are those that are to be learnt."""
    seen: list[Tensor] = []
    summed = trainer.summed_loss

    def watched(hidden: Tensor, layer: torch.nn.Linear, labels: Tensor, compiled: bool) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(labels)
        return summed(hidden, layer, labels, compiled)

    monkeypatch.setattr(trainer, "summed_loss", watched)
    tokens = {}
    for loss_on in ("all", "response"):
        train(checkpoint, data, tmp_path / loss_on, "--max-steps", "1", "--loss-on", loss_on)
        tokens[loss_on] = torch.cat(seen)
        seen.clear()
    assert len(tokens["all"]) > len(tokens["response"]) + 4 * 20
    assert [(t == 511).sum() for t in tokens.values()] == [4, 4]  # no story was cut, each one ends


def test_weight_decay_and_clipping_reach_the_weights(checkpoint: str, data: str, tmp_path: Path) -> None:
    changes = {
        name: train(checkpoint, data, tmp_path / name, "--max-steps", "2", *arguments)
        and weights(tmp_path / name / "last")
        for name, arguments in (
            ("plain", []),
            ("decayed", ["--weight-decay", "9"]),
            ("clipped", ["--grad-clip", "1e-9"]),
        )
    }
    assert len(set(changes.values())) == 3


@pytest.mark.parametrize("what", ["loss", "gradient's norm"])
def test_what_is_not_finite_stops_the_run_and_leaves_the_last_good_checkpoint(
    what: str,
    checkpoint: str,
    data: str,
    tmp_path: Path,
    complaint: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(checkpoint, data, tmp_path / "good", "--max-steps", "4")
    summed = trainer.summed_loss
    steps: list[list[int]] = []
    make_step = Trainer.step

    def noted(trainer: Trainer, step: int, indices: list[int], *others: Any) -> tuple[Tensor, Tensor]:
        steps.append(indices)
        return make_step(trainer, step, indices, *others)

    def poisoned(*arguments: Tensor) -> Tensor:
        total = summed(*arguments)  # type: ignore[arg-type]
        if len(steps) != 5 or not torch.is_grad_enabled():
            return total
        if what == "loss":
            return total * torch.nan
        total.register_hook(lambda gradient: gradient * torch.nan)
        return total

    monkeypatch.setattr(Trainer, "step", noted)
    monkeypatch.setattr(trainer, "summed_loss", poisoned)
    output = tmp_path / "run"
    command = [
        "--checkpoint",
        checkpoint,
        "--data",
        data,
        "--output",
        output,
        "--stories",
        "0",
        "--epochs",
        "9",
    ]
    command += ["--lr", "1e-3", "--batch-size", "4", "--save-every", "2", "--log-every", "10"]
    line = complaint(finetune.main, *command)
    assert f"step 5: the {what} is nan (examples {', '.join(map(str, steps[4]))} of train)" in line
    assert "--lr" in line
    assert len(steps) == 6  # it is noticed when step 6 is to be saved
    assert torch.load(output / "training_state.pt", weights_only=True)["progress"]["step"] == 4
    assert weights(output / "last") == weights(tmp_path / "good" / "last")


def test_overwriting_leaves_no_checkpoint_of_the_earlier_run(
    checkpoint: str, data: str, tmp_path: Path
) -> None:
    train(checkpoint, data, tmp_path, "--epochs", "2", "--overwrite")
    train(checkpoint, data, tmp_path, "--max-steps", "1", "--overwrite")
    assert not list(tmp_path.glob("epoch_*"))
    assert (tmp_path / "last").exists()


def test_max_steps_stops_inside_an_epoch(checkpoint: str, data: str, tmp_path: Path) -> None:
    lines = train(
        checkpoint, data, tmp_path / "run", "--max-steps", "2", "--epochs", "2", "--loss-on", "response"
    )
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert not (tmp_path / "run" / "epoch_1").exists()
    assert (tmp_path / "run" / "last").exists()


def test_bad_input_gets_one_clear_line_and_keeps_what_is_there(
    checkpoint: str, data: str, tmp_path: Path, complaint: Callable
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "metrics.jsonl").write_text("precious")
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (["--output", taken, "--overwrite"], "taken: holds files, but no run.json"),
        (["--micro-batch-tokens", 0], "--micro-batch-tokens 0"),
        (["--output", file / "run"], "file/run cannot be written"),
        (["--max-length", 385], "--max-length 385: the model reads at most 384"),
        (["--model-size", "31m"], "30m"),
        (["--batch-size", 0], "--batch-size 0"),
        (["--lr", "inf", "--epochs", 0], "--epochs 0"),
        (["--lr", "inf", "--epochs", 0], "--lr inf"),
        (["--device", "gpu"], "--device gpu"),
        (["--data", tmp_path / "nowhere"], "nowhere"),
    ):
        command = ["--checkpoint", checkpoint, "--data", data, "--output", tmp_path / "run"]
        assert said in complaint(finetune.main, *command, *arguments)
    assert (taken / "metrics.jsonl").read_text() == "precious"


@pytest.mark.parametrize(("size", "said"), [(1, True), (4, False)])
def test_gpus_that_would_be_idle_are_told_with_the_command_that_uses_all(
    size: int,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compute = Compute(torch.device("cuda:0"), torch.bfloat16, "cuda:0")
    monkeypatch.setattr(finetune, "choose_compute", lambda *_: compute)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(finetune, "train", lambda *_: None)
    monkeypatch.setattr(Ranks, "here", lambda: Ranks(size=size))
    monkeypatch.setattr(Ranks, "connected", lambda *_: contextlib.nullcontext())
    finetune.main(["--epochs", "5", "--output", str(tmp_path / "a run")])
    command = f"uv run torchrun --nproc-per-node=4 finetune.py --epochs 5 --output '{tmp_path}/a run'"
    assert (command in capsys.readouterr().out) == said


@pytest.mark.slow
def test_compiling_without_a_compiler_gets_one_clear_line(checkpoint: str, data: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    environment |= {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(tmp_path / "run"), "--compile"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "finetune.py"), *given, "--stories", "0", "--max-steps", "1"],
        env=environment,
        capture_output=True,
        text=True,
    )
    line = complaint_of(done)
    assert "--compile: cannot be done here; leave it out" in line
    assert "compiler" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="compiling for a CPU needs a C++ compiler")
def test_compiling_gives_the_same_loss_and_few_graphs() -> None:
    model = tiny_model(dropout_rate=0.1).train()
    compiled, plain = Supervised(model, compiled=True), Supervised(model)
    for B, T in ((4, 128), (8, 64), (1, 384), (3, 192), (2, 320), (5, 256), (1, 64), (6, 128)):
        inputs, labels = torch.randint(0, 512, (B, T)), torch.randint(0, 512, (B * T,))
        compiled(inputs, torch.arange(B * T), labels).backward()
    assert counters["stats"]["unique_graphs"] == 2  # of the model, and of the loss
    model.eval()
    with torch.no_grad():
        losses = [layer(inputs, torch.arange(B * T), labels) for layer in (compiled, plain)]
    torch.testing.assert_close(*losses)
