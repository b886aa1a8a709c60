import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import finetune
from common.cli import InputError
from tiny import tiny_model
from training import run_folder
from training.batches import MicroBatch
from training.distributed import Ranks
from training.monitor import TOPICS, Meter
from training.run_folder import Progress


def batch(width: int) -> MicroBatch:
    nothing = torch.empty(0, dtype=torch.int64)
    return MicroBatch(torch.zeros(2, width, dtype=torch.int64), nothing, nothing)


def test_a_line_of_metrics_is_the_mean_over_its_steps() -> None:
    progress = Progress()
    meter = Meter(progress, Ranks(), lengths=np.array([5, 3, 4]), supervised_tokens=np.array([4, 2, 3]))
    meter.add([0, 1], [batch(5)], torch.tensor(12.0), torch.tensor(1.0))
    meter.settle()  # a save between two lines changes nothing
    meter.add([2], [batch(4)], torch.tensor(3.0), torch.tensor(7.0))
    line = meter.line()
    assert line["loss"] == pytest.approx(15 / 9)
    assert line["gradient_norm"] == 7
    assert line["padding"] == pytest.approx(1 - 12 / 18)
    assert line["tokens_per_second"] > 0
    assert progress == Progress()


def test_the_first_step_that_is_not_finite_is_named() -> None:
    meter = Meter(Progress(), Ranks(), np.array([1, 1, 1]), np.array([1, 1, 1]))
    for step, (loss, norm) in enumerate([(1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)], start=1):
        meter.progress.step = step
        meter.add([step - 1], [], torch.tensor(loss), torch.tensor(norm))
    with pytest.raises(InputError, match=r"step 2: the gradient's norm is inf \(examples 1 of train\)"):
        meter.settle()


def test_a_run_shows_curves_stories_and_a_picture(
    checkpoint: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--tensorboard"]
    finetune.main([*given, "--epochs", "2", "--batch-size", "4", "--log-every", "2", "--stories", "2"])
    lines = run_folder.read_metrics(output)
    logged = [line for line in lines if "loss" in line]
    board = EventAccumulator(str(output / "tensorboard"))
    board.Reload()
    for name in ("loss", "lr", "gradient_norm", "tokens_per_second", "padding", "memory_gb"):
        points = [(event.step, event.value) for event in board.Scalars(name)]
        assert points == [(line["step"], pytest.approx(line[name])) for line in logged]
    validated = [line["step"] for line in lines if "validation_loss" in line]
    assert [event.step for event in board.Scalars("validation_loss")] == validated
    assert [event.step for event in board.Tensors("stories/text_summary")] == validated
    for step in validated:
        text = (output / "stories" / f"step_{step}.txt").read_text()
        for topic in TOPICS[:2]:
            assert f"--- {topic}  [happy]" in text
            assert f"--- {topic}  [sad]" in text
    assert imread(output / "loss.png").std() > 0
    printed = capsys.readouterr().out
    for line in lines:
        if "validation_loss" in line:
            assert f"| {line['epoch']} | {line['step']} |" in printed


def test_curves_go_on_where_a_run_goes_on(checkpoint: str, data: str, tmp_path: Path) -> None:
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(tmp_path / "run"), "--tensorboard"]
    given += ["--batch-size", "4", "--log-every", "1", "--stories", "0", "--resume"]
    finetune.main([*given, "--max-steps", "2"])
    finetune.main([*given, "--max-steps", "5"])
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5]


def test_a_context_too_short_for_the_topics_gets_one_clear_line(
    data: str, tmp_path: Path, complaint: Callable
) -> None:
    tiny_model(context_length=24).save_pretrained(tmp_path / "short")
    given = ["--checkpoint", tmp_path / "short", "--data", data, "--output", tmp_path / "run"]
    assert "--stories 0" in complaint(finetune.main, *given, "--max-steps", "1")
    assert not (tmp_path / "run" / "run.json").exists()
    finetune.main([*map(str, given), "--max-steps", "1", "--stories", "0"])
