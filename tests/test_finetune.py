import functools
import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import finetune
from dataset import InstructionDataset, custom_collate_fn, load_data
from device import choose_compute
from finetune import Settings, compute_loss, learning_rate, loss_sum, supervised, validation_loss
from model import GPT2, load_model


def test_loss_is_the_mean_over_supervised_tokens() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, 2, -100], [4, -100, -100]])
    log_p = torch.log_softmax(logits, -1)
    expected = -(log_p[0, 0, 1] + log_p[0, 1, 2] + log_p[1, 0, 4]) / 3
    torch.testing.assert_close(compute_loss(logits, labels), expected)
    other = labels.masked_fill(labels == -100, -1)
    torch.testing.assert_close(compute_loss(logits, other, ignore_index=-1), expected)


def test_loss_without_supervised_tokens_is_zero() -> None:
    assert compute_loss(torch.randn(1, 2, 5), torch.full((1, 2), -100)) == 0


def test_loss_sums_add_up_however_a_batch_is_split() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4, 9), torch.randint(0, 9, (6, 4))
    labels[torch.rand(6, 4) < 0.4] = -100
    whole, count = loss_sum(logits, labels)
    parts = [loss_sum(logits[i], labels[i]) for i in (slice(0, 1), slice(1, 5), slice(5, 6))]
    torch.testing.assert_close(sum(total for total, _ in parts), whole)
    assert sum(int(number) for _, number in parts) == count


def test_ignored_positions_change_nothing_but_the_work(checkpoint: str) -> None:
    model = load_model(checkpoint)
    torch.manual_seed(0)
    inputs, labels = torch.randint(0, 512, (2, 3, 9))
    labels[torch.rand(3, 9) < 0.4] = -100
    spared, whole = supervised(model, inputs, labels), model(inputs)
    assert len(spared[0]) == (labels != -100).sum()
    torch.testing.assert_close(compute_loss(*spared), compute_loss(whole, labels))


def test_learning_rate_warms_up_then_stays_or_follows_half_a_cosine() -> None:
    plain = Settings(lr=1.0)
    assert [learning_rate(step, 10, plain) for step in (0, 9)] == [1.0, 1.0]
    cosine = Settings(lr=1.0, warmup_steps=4, schedule="cosine")
    assert [learning_rate(step, 12, cosine) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert learning_rate(4, 12, cosine) == 1.0
    assert learning_rate(8, 12, cosine) == pytest.approx(0.5)
    assert learning_rate(11, 12, cosine) == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)


def test_validation_loss_does_not_depend_on_the_batch_size(model: GPT2, data: str) -> None:
    examples = InstructionDataset("validation", 384, data=data, vocab_size=512)
    compute = choose_compute("cpu")

    collate = functools.partial(custom_collate_fn, pad_token_id=511)

    def loss(size: int) -> float:
        return validation_loss(model, DataLoader(examples, size, collate_fn=collate), compute)  # type: ignore[arg-type]

    assert loss(1) == pytest.approx(loss(7), rel=1e-6)
    model.eval()


def train(checkpoint: str, data: str, output: Path, *more: str) -> list[dict]:
    arguments = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--lr", "1e-3"]
    finetune.main([*arguments, "--batch-size", "4", "--log-every", "1", *more])
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_writes_what_the_design_promises(checkpoint: str, data: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    lines = train(checkpoint, data, output, "--epochs", "3")
    assert {path.name for path in output.iterdir()} == {
        *("epoch_1", "epoch_2", "epoch_3", "best", "last", "run.json", "metrics.jsonl")
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
    assert report["data"]["train"]["examples"] == len(load_data(data)["train"])
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
    seen: list[torch.Tensor] = []

    def watched(model: GPT2, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(labels)
        return supervised(model, inputs, labels)

    monkeypatch.setattr(finetune, "supervised", watched)
    train(checkpoint, data, tmp_path / "all", "--max-steps", "1")
    train(checkpoint, data, tmp_path / "response", "--max-steps", "1", "--loss-on", "response")
    whole, response = seen[0], seen[len(seen) // 2]
    assert (whole[:, 0] != -100).all()
    assert (response[:, :20] == -100).all()
    ended = response[(response != -100).any(1)]
    last = torch.stack([row[row != -100][-1] for row in ended])
    assert (last == 511).any()  # the end of the tiny vocabulary, where a story was not cut


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


def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(
    checkpoint: str, data: str, tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    command = [
        "--checkpoint",
        checkpoint,
        "--data",
        data,
        "--output",
        output,
        "--log-every",
        "1",
        "--lr",
        "1e30",
    ]
    assert "the loss is nan; lower --lr" in complaint(finetune.main, *command)
    assert not list(output.glob("*/model.safetensors"))


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


def test_ctrl_c_leaves_a_usable_checkpoint(
    checkpoint: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt_at_step_2(step: int, total_steps: int, settings: Settings) -> float:
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return learning_rate(step, total_steps, settings)

    train(checkpoint, data, tmp_path / "two_steps", "--max-steps", "2")
    monkeypatch.setattr(finetune, "learning_rate", interrupt_at_step_2)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint, data, tmp_path / "stopped")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert weights(tmp_path / "stopped" / "last") == weights(tmp_path / "two_steps" / "last")


def test_bad_input_gets_one_clear_line_and_keeps_what_is_there(
    checkpoint: str, data: str, tmp_path: Path, complaint: Callable
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "metrics.jsonl").write_text("precious")
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (["--output", taken], "--overwrite"),
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
