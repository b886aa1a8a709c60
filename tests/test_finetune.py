import contextlib
import json
import os
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
from common.device import Compute
from dataset import load_data
from hub_user import complaint_of
from model import load_model
from tiny import tiny_model
from training import run_folder, trainer
from training.distributed import Ranks
from training.trainer import Supervised, Trainer


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


def test_stories_that_are_cut_are_counted(
    checkpoint: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(checkpoint, data, tmp_path / "run", "--max-length", "20", "--max-steps", "1")
    count = len(load_data(data)[0]["train"])
    said = f"data: {count} examples for train, {count} of them cut ({count} before the story begins)"
    assert f"{said}: --max-length is 20\n" in capsys.readouterr().out


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
