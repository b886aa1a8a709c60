"""A whole run in float16, as on a GPU without bfloat16, but on the CPU."""

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.cli import parse
from common.device import Compute
from common.signals import Ended
from finetune import Settings, train
from trainee import lines, outcome, state
from training import run_folder
from training.distributed import Ranks
from training.trainer import Trainer


def run(arguments: list[str], output: Path, dtype: torch.dtype = torch.float16) -> None:
    settings = parse(Settings, [*arguments, "--output", str(output), "--resume"], None)
    with run_folder.claimed(output, settings.resume, settings.overwrite):
        train(settings, output, Compute(torch.device("cpu"), dtype, ""), Ranks(), "the same command")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Path:
    output = tmp_path_factory.mktemp("half") / "run"
    run(arguments, output)
    return output


def test_a_run_in_float16_learns_as_one_in_float32(
    arguments: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    run(arguments, tmp_path / "full", torch.float32)
    half, full = (lines(output) for output in (undisturbed, tmp_path / "full"))
    assert [line["step"] for line in half] == [line["step"] for line in full]
    for ours, expected in zip(half, full, strict=True):
        for name in {"loss", "validation_loss"} & expected.keys():
            assert ours[name] == pytest.approx(expected[name], rel=2e-3)
            assert ours[name] != expected[name]
    losses = [line["validation_loss"] for line in half if "validation_loss" in line]
    assert losses[1] < losses[0] < math.inf
    assert {line["skipped_steps"] for line in half if "loss" in line} == {0}
    assert not any("skipped_steps" in line for line in full)
    assert all(weight.dtype == torch.float32 for weight in state(undisturbed)["model"].values())


def test_a_run_in_float16_that_was_stopped_ends_as_if_it_had_not_been(
    arguments: list[str], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(trainer: Trainer, step: int, *others: Any, done: Callable[..., Any] = Trainer.step) -> Any:
        result = done(trainer, step, *others)
        if step == 6:
            signal.raise_signal(signal.SIGTERM)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        with pytest.raises(Ended, match="SIGTERM"):
            run(arguments, tmp_path / "run")
    assert state(tmp_path / "run")["progress"]["step"] == 7
    assert state(tmp_path / "run")["scaler"]["_growth_tracker"] == 7
    run(arguments, tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(undisturbed)
    assert state(tmp_path / "run")["scaler"] == state(undisturbed)["scaler"]
    assert state(undisturbed)["scaler"]["_growth_tracker"] == state(undisturbed)["progress"]["step"]


def test_steps_that_overflow_are_skipped_and_told(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saves come between them and the line that tells."""

    def overflowing(
        trainer: Trainer, step: int, *others: Any, done: Callable[..., Any] = Trainer.step
    ) -> Any:
        scaled = trainer.optimizer.scaled

        def too_much(loss: torch.Tensor) -> torch.Tensor:
            loss = scaled(loss)
            loss.register_hook(lambda gradient: gradient * torch.inf)
            return loss

        if step in (1, 3):
            trainer.optimizer.scaled = too_much  # type: ignore[method-assign]
        result = done(trainer, step, *others)
        trainer.optimizer.scaled = scaled  # type: ignore[method-assign]
        return result

    monkeypatch.setattr(Trainer, "step", overflowing)
    run([*arguments, "--log-every", "6"], tmp_path / "run")
    told = [line["skipped_steps"] for line in lines(tmp_path / "run") if "loss" in line]
    assert told == [2, 0]
    assert state(tmp_path / "run")["scaler"]["scale"] == 2.0**14
    steps = {float(each["step"]) for each in state(tmp_path / "run")["optimizer"]["state"].values()}
    assert steps == {10}
